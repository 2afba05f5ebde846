"""How work goes on after a response of the Responses API: what it waits for, and the request that answers it.

Nothing carries over but the context, so every setting is copied from what the platform shows of the response.
Where it shows something else than it takes is known from the SDK's types (openai 3.54) and recorded answers.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from worker.model import Answer

Json = dict[str, Any]

_COPIED = (
    "model",
    "instructions",
    "tools",
    "parallel_tool_calls",
    "reasoning",
    "text",
    "temperature",
    "top_p",
    "max_output_tokens",
    "truncation",
    "service_tier",
    "metadata",
    "prompt_cache_key",
    "safety_identifier",
)
_AS_IT_IS = {"parameters", "output_schema", "schema", "metadata"}
"""Not ours to tidy: in a JSON Schema a null may be meant."""

_NULL_IS_A_VALUE = {"parameters", "strict"}
"""The request's type demands these keys of a function, null or not."""

_ONLY_SHOWN = {"generate_summary"}
"""The old name of `reasoning.summary`: shown, and refused as unknown."""


# --------------------------------------------------------------------------------- what a response waits for


def waiting(items: Sequence[Json]) -> list[Json]:
    """The function calls that must be answered before anything else. An `async` one need not be."""
    return [item for item in _unanswered(items) if item["type"] == "function_call" and not item.get("async")]


def obstacle(response: Json, items: Sequence[Json]) -> str | None:
    """Why its calls cannot be answered from what the platform shows of the response; None when they can.

    `outra_chamada_pendente`: all outputs travel in one request, and one of them is not ours to give.
    `instrucoes_de_prompt`: a reusable prompt has made messages of the instructions; a request takes a text.
    """
    if response.get("store") is False:
        return "nao_armazenada"
    tools = response.get("tools")
    if isinstance(tools, list) and any(map(_keeps_secrets, tools)):
        return "credenciais_de_ferramenta"
    if isinstance(response.get("instructions"), list):
        return "instrucoes_de_prompt"
    return "outra_chamada_pendente" if any(map(_is_for_others, _unanswered(items))) else None


def _unanswered(items: Sequence[Json]) -> list[Json]:
    outputs = [item for item in items if str(item.get("type")).endswith("_output")]
    answered = [output["call_id"] for output in outputs if output.get("call_id") is not None]
    calls = [item for item in items if str(item.get("type")).endswith(("_call", "_approval_request"))]
    return [call for call in calls if call.get("call_id") not in answered]


def _is_for_others(call: Json) -> bool:
    """The platform's own tools have no `call_id`, or their output beside them."""
    return call["type"] == "mcp_approval_request" or (
        call["type"] != "function_call" and call.get("call_id") is not None
    )


def _keeps_secrets(tool: object) -> bool:
    """Any MCP server: neither its credentials nor its whole URL are shown, nor whether there are any."""
    match tool:
        case {"type": "mcp"}:
            return True
        case {"container": {"network_policy": policy}} | {"environment": {"network_policy": policy}}:
            return isinstance(policy, dict) and bool(policy.get("domain_secrets"))
    return False


# ------------------------------------------------------------------------------------------- the next request


def request(response: Json, goes_on: Json, answers: Sequence[Answer]) -> Json:
    """The body of the next `POST /responses`: the answers, what it `goes_on` from, and everything as it was.

    `tool_choice` becomes `auto` unless it was `none`: a forced call would be forced again, for ever.
    """
    return {
        **_settings(response),
        **goes_on,
        "tool_choice": "none" if response.get("tool_choice") == "none" else "auto",
        "background": True,
        "store": True,
        "input": [_output(answer) for answer in answers],
    }


def without_sampling(body: Json) -> Json:
    """The request as a model takes it that reasons: it shows both settings, and may refuse either."""
    match body:
        case {"reasoning": {"effort": effort}} if effort != "none":
            return {name: value for name, value in body.items() if name not in {"temperature", "top_p"}}
    return body


def _output(answer: Answer) -> Json:
    output = answer.output.reveal()
    return {"type": "function_call_output", "call_id": answer.platform_call_id, "output": output}


def _settings(response: Json) -> Json:
    """Its settings as a request takes them: only what was there."""
    tidy = {name: _tidied(response.get(name), name) for name in _COPIED}
    if tidy["service_tier"] == "scale":  # a tier one is served by: only `auto`, the default, leads there
        del tidy["service_tier"]
    return {name: value for name, value in tidy.items() if value not in (None, {}, [])}


def _tidied(value: Any, name: str = "") -> Any:
    """Without the nulls that stand for what nobody has set."""
    if name in _AS_IT_IS:
        return value
    if isinstance(value, Mapping):
        return {
            key: _tidied(each, key)
            for key, each in value.items()
            if key not in _ONLY_SHOWN and (each is not None or key in _NULL_IS_A_VALUE)
        }
    return [_tidied(each) for each in value] if isinstance(value, list) else value

"""Continuing a response of the Responses API: its pending calls, and the request that answers them.

Only the context carries over, so every setting is copied from the platform's response. The differences
between the fields of a response and of a request come from the SDK's types (openai 3.54) and recordings.
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
_UNTOUCHED = {"parameters", "output_schema", "schema", "metadata"}
"""Copied unchanged: in a JSON Schema a null may be intended."""

_NULLABLE = {"parameters", "strict"}
"""A request's function must have these keys, even with null."""

_READ_ONLY = {"generate_summary"}
"""The old name of `reasoning.summary`: present in responses, refused in requests."""


# --------------------------------------------------------------------------------- pending calls


def pending_calls(items: Sequence[Json]) -> list[Json]:
    """The function calls that the next request must answer. An `async` one may stay open."""
    return [item for item in _unanswered(items) if item["type"] == "function_call" and not item.get("async")]


def obstacle(response: Json, items: Sequence[Json]) -> str | None:
    """Why the calls of this response cannot be answered; None when they can.

    `outra_chamada_pendente`: all outputs travel in one request, and this worker cannot give one of them.
    `instrucoes_de_prompt`: a reusable prompt turned the instructions into messages; a request takes a text.
    """
    if response.get("store") is False:
        return "nao_armazenada"
    tools = response.get("tools")
    if isinstance(tools, list) and any(map(_has_hidden_credentials, tools)):
        return "credenciais_de_ferramenta"
    if isinstance(response.get("instructions"), list):
        return "instrucoes_de_prompt"
    return "outra_chamada_pendente" if any(map(_is_not_a_function_call, _unanswered(items))) else None


def _unanswered(items: Sequence[Json]) -> list[Json]:
    outputs = [item for item in items if str(item.get("type")).endswith("_output")]
    answered = [output["call_id"] for output in outputs if output.get("call_id") is not None]
    calls = [item for item in items if str(item.get("type")).endswith(("_call", "_approval_request"))]
    return [call for call in calls if call.get("call_id") not in answered]


def _is_not_a_function_call(call: Json) -> bool:
    """A pending call that this worker cannot answer. The platform answers its own tools itself."""
    return call["type"] == "mcp_approval_request" or (
        call["type"] != "function_call" and call.get("call_id") is not None
    )


def _has_hidden_credentials(tool: object) -> bool:
    """True for any MCP server: the response hides its credentials, their existence and its whole URL."""
    match tool:
        case {"type": "mcp"}:
            return True
        case {"container": {"network_policy": policy}} | {"environment": {"network_policy": policy}}:
            return isinstance(policy, dict) and bool(policy.get("domain_secrets"))
    return False


# ------------------------------------------------------------------------------------------- the next request


def request(response: Json, context: Json, answers: Sequence[Answer]) -> Json:
    """The body of the next `POST /responses`: the answers, the `context` to continue, the old settings.

    `tool_choice` becomes `auto` unless it was `none`: a forced call would be forced in every round.
    """
    return {
        **_settings(response),
        **context,
        "tool_choice": "none" if response.get("tool_choice") == "none" else "auto",
        "background": True,
        "store": True,
        "input": [_output(answer) for answer in answers],
    }


def without_sampling(body: Json) -> Json:
    """The request for a reasoning model, which may refuse the sampling settings of its own responses."""
    match body:
        case {"reasoning": {"effort": effort}} if effort != "none":
            return {name: value for name, value in body.items() if name not in {"temperature", "top_p"}}
    return body


def _output(answer: Answer) -> Json:
    output = answer.output.reveal()
    return {"type": "function_call_output", "call_id": answer.platform_call_id, "output": output}


def _settings(response: Json) -> Json:
    """The settings of the response as a request accepts them, without empty ones."""
    settings = {name: _without_nulls(response.get(name), name) for name in _COPIED}
    if (
        settings["service_tier"] == "scale"
    ):  # a request cannot name this tier: the default, `auto`, selects it
        del settings["service_tier"]
    return {name: value for name, value in settings.items() if value not in (None, {}, [])}


def _without_nulls(value: Any, name: str = "") -> Any:
    """The value without the nulls of unset fields."""
    if name in _UNTOUCHED:
        return value
    if isinstance(value, Mapping):
        return {
            key: _without_nulls(each, key)
            for key, each in value.items()
            if key not in _READ_ONLY and (each is not None or key in _NULLABLE)
        }
    return [_without_nulls(each) for each in value] if isinstance(value, list) else value

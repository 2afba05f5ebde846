"""The requests the Responses server accepts: what OpenAI's SDK names, and nothing else."""

from typing import Any, Literal
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field

from worker.simulator.assistants.bodies import Metadata
from worker.simulator.assistants.runs import new_id
from worker.simulator.responses.generation import Item, refusal

Json = dict[str, Any]

_PREFIXES = {"message": "msg", "function_call": "fc", "function_call_output": "fco"}
_NEEDED = {
    "message": ("role", "content"),
    "function_call": ("call_id", "name", "arguments"),
    "function_call_output": ("call_id", "output"),
}
_SERVED = {None: "default", "auto": "default", "fast": "priority"}
"""The tier that serves a request, where it is not the one asked for."""

_REASONING_MODELS = ("gpt-5", "gpt-6", "o")


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid")


class NewResponse(_Body):
    """`prompt`, `moderation` and the like are known by name only: this server has none of it."""

    model: str
    input: str | list[Json]
    instructions: str | None = None
    tools: list[Json] = []
    tool_choice: str | Json = "auto"
    parallel_tool_calls: bool | None = None
    reasoning: Json | None = None
    text: Json | None = None
    temperature: float | None = None
    top_p: float | None = None
    max_output_tokens: int | None = Field(default=None, ge=16)
    max_tool_calls: int | None = Field(default=None, ge=1)
    truncation: Literal["auto", "disabled"] | None = None
    service_tier: Literal["auto", "default", "flex", "priority", "fast"] | None = None
    metadata: Metadata = Field(default=None, max_length=16)
    prompt_cache_key: str | None = None
    safety_identifier: str | None = None
    user: str | None = None
    top_logprobs: int | None = None
    include: list[str] | None = None
    background: bool | None = None
    store: bool | None = None
    stream: Literal[False] | None = None
    conversation: str | Json | None = None
    previous_response_id: str | None = None

    @property
    def conversation_id(self) -> str | None:
        named = self.conversation
        return named.get("id") if isinstance(named, dict) else named

    def check(self) -> None:
        """Raises the refusal of what contradicts itself, or what this model does not take."""
        if self.conversation and self.previous_response_id:
            raise refusal(
                "Mutually exclusive parameters. Ensure you are only providing one of: "
                "'previous_response_id' or 'conversation'.",
                "previous_response_id",
                "mutually_exclusive_parameters",
            )
        for name, value in (("temperature", self.temperature), ("top_p", self.top_p)):
            if self._reasons and value not in {None, 1}:
                raise refusal(f"Unsupported parameter: '{name}' is not supported with this model.", name)

    @property
    def _reasons(self) -> bool:
        effort = (self.reasoning or {}).get("effort")
        return effort != "none" and self.model.startswith(_REASONING_MODELS)

    def items(self) -> list[Item]:
        """The input as an answer shows it."""
        given = [{"role": "user", "content": self.input}] if isinstance(self.input, str) else self.input
        return [shown_item(item) for item in given]

    def settings(self) -> Json:
        """What the answer shows of the request: its own settings, and what the platform made of the rest."""
        return {
            "model": self.model,
            "instructions": self.instructions,
            "tools": [_shown_tool(tool) for tool in self.tools],
            "tool_choice": self.tool_choice,
            "parallel_tool_calls": self.parallel_tool_calls is not False,
            "reasoning": self._shown_reasoning(),
            "text": {"format": {"type": "text"}, "verbosity": "medium", **(self.text or {})},
            "temperature": 1.0 if self.temperature is None else self.temperature,
            "top_p": self._shown_top_p(),
            "max_output_tokens": self.max_output_tokens,
            "max_tool_calls": self.max_tool_calls,
            "truncation": self.truncation or "disabled",
            "service_tier": _SERVED.get(self.service_tier, self.service_tier),
            "metadata": self.metadata or {},
            "prompt_cache_key": self.prompt_cache_key,
            "safety_identifier": self.safety_identifier,
            "user": self.user,
            "top_logprobs": self.top_logprobs or 0,
        }

    def _shown_reasoning(self) -> Json:
        effort = "medium" if self._reasons else None
        return {"effort": effort, "summary": None, **(self.reasoning or {})}

    def _shown_top_p(self) -> float:
        """A model that reasons shows a value here that it would refuse (seen on the real platform)."""
        if self._reasons:
            return 0.98
        return 1.0 if self.top_p is None else self.top_p


class Change(_Body):
    metadata: Metadata = None


class NewConversation(Change):
    items: list[Json] | None = Field(default=None, max_length=20)


class NewItems(_Body):
    items: list[Json] = Field(max_length=20)


def shown_item(given: Json) -> Item:
    """An item of a request as an answer shows it. Raises the refusal of one that lacks something."""
    kind = given.get("type", "message")
    for name in _NEEDED.get(kind, ()):
        if name not in given:
            raise refusal(f"Missing required parameter: '{name}'.", "input", "missing_required_parameter")
    item = {"id": new_id(_PREFIXES.get(kind, "item")), "status": "completed", **given, "type": kind}
    content = item.get("content")
    if kind == "message" and isinstance(content, str):
        part = "output_text" if item.get("role") == "assistant" else "input_text"
        item["content"] = [{"type": part, "text": content}]
    return item


def _shown_tool(tool: Json) -> Json:
    """Credentials are not given back, nor where exactly an MCP server lives."""
    if tool.get("type") == "function":
        return {"description": None, "strict": True, **tool}
    if tool.get("type") != "mcp":
        return tool
    shown = {"allowed_tools": None, "require_approval": "always", "server_description": None, **tool}
    shown.pop("authorization", None)
    if url := tool.get("server_url"):
        parts = urlsplit(url)
        shown["server_url"] = f"{parts.scheme}://{parts.netloc}/<redacted>"
    return {**shown, "headers": None}

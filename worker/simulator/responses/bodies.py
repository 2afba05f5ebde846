"""The request bodies that the Responses server accepts: only the fields of OpenAI's SDK."""

from typing import Any, Literal
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field

from worker.simulator.assistants.bodies import Metadata
from worker.simulator.assistants.runs import new_id
from worker.simulator.responses.generation import Item, invalid_parameter

Json = dict[str, Any]

_PREFIXES = {"message": "msg", "function_call": "fc", "function_call_output": "fco"}
_REQUIRED_KEYS = {
    "message": ("role", "content"),
    "function_call": ("call_id", "name", "arguments"),
    "function_call_output": ("call_id", "output"),
}
_SERVICE_TIERS = {None: "default", "auto": "default", "fast": "priority"}
"""The tier that serves a request, where it differs from the requested one."""

_REASONING_MODELS = ("gpt-5", "gpt-6", "o")


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid")


class NewResponse(_Body):
    """The body of a new response. Several fields are accepted and have no effect on this server."""

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
        conversation = self.conversation
        return conversation.get("id") if isinstance(conversation, dict) else conversation

    def check(self) -> None:
        """Raises `ApiError` for parameters that exclude each other or that this model does not support."""
        if self.conversation and self.previous_response_id:
            raise invalid_parameter(
                "Mutually exclusive parameters. Ensure you are only providing one of: "
                "'previous_response_id' or 'conversation'.",
                "previous_response_id",
                "mutually_exclusive_parameters",
            )
        for name, value in (("temperature", self.temperature), ("top_p", self.top_p)):
            if self._uses_reasoning and value not in {None, 1}:
                raise invalid_parameter(
                    f"Unsupported parameter: '{name}' is not supported with this model.", name
                )

    @property
    def _uses_reasoning(self) -> bool:
        effort = (self.reasoning or {}).get("effort")
        return effort != "none" and self.model.startswith(_REASONING_MODELS)

    def items(self) -> list[Item]:
        """The input as items in the shape of a response."""
        request_items = (
            [{"role": "user", "content": self.input}] if isinstance(self.input, str) else self.input
        )
        return [response_item(item) for item in request_items]

    def settings(self) -> Json:
        """The settings in the response: the request's own, and the platform's values for the others."""
        return {
            "model": self.model,
            "instructions": self.instructions,
            "tools": [_response_tool(tool) for tool in self.tools],
            "tool_choice": self.tool_choice,
            "parallel_tool_calls": self.parallel_tool_calls is not False,
            "reasoning": self._effective_reasoning(),
            "text": {"format": {"type": "text"}, "verbosity": "medium", **(self.text or {})},
            "temperature": 1.0 if self.temperature is None else self.temperature,
            "top_p": self._effective_top_p(),
            "max_output_tokens": self.max_output_tokens,
            "max_tool_calls": self.max_tool_calls,
            "truncation": self.truncation or "disabled",
            "service_tier": _SERVICE_TIERS.get(self.service_tier, self.service_tier),
            "metadata": self.metadata or {},
            "prompt_cache_key": self.prompt_cache_key,
            "safety_identifier": self.safety_identifier,
            "user": self.user,
            "top_logprobs": self.top_logprobs or 0,
        }

    def _effective_reasoning(self) -> Json:
        effort = "medium" if self._uses_reasoning else None
        return {"effort": effort, "summary": None, **(self.reasoning or {})}

    def _effective_top_p(self) -> float:
        """Like the real platform, a reasoning model's response has a value that its requests may not have."""
        if self._uses_reasoning:
            return 0.98
        return 1.0 if self.top_p is None else self.top_p


class Change(_Body):
    metadata: Metadata = None


class NewConversation(Change):
    items: list[Json] | None = Field(default=None, max_length=20)


class NewItems(_Body):
    items: list[Json] = Field(max_length=20)


def response_item(request_item: Json) -> Item:
    """A request's item in the shape of a response. Raises `ApiError` when a required key is missing."""
    kind = request_item.get("type", "message")
    for name in _REQUIRED_KEYS.get(kind, ()):
        if name not in request_item:
            raise invalid_parameter(
                f"Missing required parameter: '{name}'.", "input", "missing_required_parameter"
            )
    item = {"id": new_id(_PREFIXES.get(kind, "item")), "status": "completed", **request_item, "type": kind}
    content = item.get("content")
    if kind == "message" and isinstance(content, str):
        part = "output_text" if item.get("role") == "assistant" else "input_text"
        item["content"] = [{"type": part, "text": content}]
    return item


def _response_tool(tool: Json) -> Json:
    """The tool without credentials and without the path of an MCP server."""
    if tool.get("type") == "function":
        return {"description": None, "strict": True, **tool}
    if tool.get("type") != "mcp":
        return tool
    public = {"allowed_tools": None, "require_approval": "always", "server_description": None, **tool}
    public.pop("authorization", None)
    if url := tool.get("server_url"):
        parts = urlsplit(url)
        public["server_url"] = f"{parts.scheme}://{parts.netloc}/<redacted>"
    return {**public, "headers": None}

"""The request bodies about saved agents: only the fields of the SDK's types."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Discriminator, Field, Tag

Json = dict[str, Any]

Metadata = Annotated[
    dict[Annotated[str, Field(max_length=64)], Annotated[str, Field(max_length=512)]], Field(max_length=16)
]


class Body(BaseModel):
    """A body that refuses unknown fields."""

    model_config = ConfigDict(extra="forbid")


class FunctionTool(Body):
    """A function. There is no `strict`, and only `defer_loading` and `async` are optional."""

    type: Literal["function"]
    name: Annotated[str, Field(pattern=r"^[a-zA-Z0-9_-]{1,64}$")]
    description: str
    parameters: Json
    defer_loading: bool = False
    async_: bool | None = Field(default=None, alias="async")

    def stored_form(self) -> Json:
        """The form in an agent's response: always with `defer_loading`, with `async` only if it was set."""
        return self.model_dump(by_alias=True, exclude_none=True)


class OtherTool(BaseModel):
    """A tool that the platform runs itself."""

    model_config = ConfigDict(extra="allow")

    type: Literal[
        "tool_search", "programmatic_tool_calling", "mcp", "web_search", "computer_use", "automations"
    ]

    def stored_form(self) -> Json:
        """The tool unchanged."""
        return self.model_dump()


def _kind(tool: Any) -> str:
    return "function" if isinstance(tool, dict) and tool.get("type") == "function" else "other"


Tool = Annotated[
    Annotated[FunctionTool, Tag("function")] | Annotated[OtherTool, Tag("other")], Discriminator(_kind)
]


class SessionAgentChange(Body):
    """The part of its agent that a live session may change."""

    model: str = ""
    reasoning: Json | None = None
    service_tier: str | None = None
    tools: list[Tool] | None = None

    def changes(self) -> Json:
        """The fields that were supplied, in the shape of an agent's response."""
        changes = self.model_dump(exclude_unset=True, exclude={"tools"})
        if "tools" in self.model_fields_set:
            changes["tools"] = [tool.stored_form() for tool in self.tools or ()]
        return changes


class SessionAgent(SessionAgentChange):
    """An agent's configuration for one session, alone or over a saved agent's."""

    compaction: Json | None = None
    experimental: Json = {}
    instructions: str | None = None
    multi_agent: Json | None = None
    text: Json | None = None


class AgentChange(SessionAgent):
    """The update of a saved agent. Omitted fields stay."""

    metadata: Metadata | None = None
    name: str | None = None


class NewAgent(AgentChange):
    model: str


_DEFAULTS: Json = {
    "compaction": {"async": False},
    "experimental": {"time_awareness": False},
    "instructions": None,
    "metadata": {},
    "multi_agent": {"enabled": False, "max_concurrent_subagents": None},
    "name": None,
    "reasoning": {"effort": None, "summary": None},
    "service_tier": "auto",
    "text": {"format": {"type": "text"}, "verbosity": "medium"},
    "tools": [],
}


def configured(changes: Json, agent: Json = _DEFAULTS) -> Json:
    """`agent` with the changes. Null restores a default, objects are completed, `experimental` is merged."""
    merged = {"experimental": {**agent["experimental"], **changes.get("experimental", {})}}
    return {**agent, **{name: _with_defaults(name, value) for name, value in {**changes, **merged}.items()}}


def _with_defaults(name: str, value: Any) -> Any:
    default = _DEFAULTS.get(name)
    if value is None:
        return default
    return {**default, **value} if isinstance(default, dict) and isinstance(value, dict) else value

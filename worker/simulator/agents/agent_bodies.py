"""The requests about saved agents: what the SDK's types name, and nothing else."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Discriminator, Field, Tag

Json = dict[str, Any]

Metadata = Annotated[
    dict[Annotated[str, Field(max_length=64)], Annotated[str, Field(max_length=512)]], Field(max_length=16)
]


class Body(BaseModel):
    """A body that names nothing this platform does not know."""

    model_config = ConfigDict(extra="forbid")


class FunctionTool(Body):
    """There is no `strict` here, and nothing optional but how it is loaded and waited for."""

    type: Literal["function"]
    name: Annotated[str, Field(pattern=r"^[a-zA-Z0-9_-]{1,64}$")]
    description: str
    parameters: Json
    defer_loading: bool = False
    async_: bool | None = Field(default=None, alias="async")

    def kept(self) -> Json:
        """How an agent keeps it: `defer_loading` is always shown, `async` where it was given."""
        return self.model_dump(by_alias=True, exclude_none=True)


class OtherTool(BaseModel):
    """A tool the platform runs itself."""

    model_config = ConfigDict(extra="allow")

    type: Literal[
        "tool_search", "programmatic_tool_calling", "mcp", "web_search", "computer_use", "automations"
    ]

    def kept(self) -> Json:
        """As it came."""
        return self.model_dump()


def _kind(tool: Any) -> str:
    return "function" if isinstance(tool, dict) and tool.get("type") == "function" else "other"


Tool = Annotated[
    Annotated[FunctionTool, Tag("function")] | Annotated[OtherTool, Tag("other")], Discriminator(_kind)
]


class SessionAgentChange(Body):
    """What a live session lets change of its agent."""

    model: str = ""
    reasoning: Json | None = None
    service_tier: str | None = None
    tools: list[Tool] | None = None

    def changes(self) -> Json:
        """What was supplied, as an agent keeps it."""
        given = self.model_dump(exclude_unset=True, exclude={"tools"})
        if "tools" in self.model_fields_set:
            given["tools"] = [tool.kept() for tool in self.tools or ()]
        return given


class SessionAgent(SessionAgentChange):
    """An agent's configuration for one session: over a saved one, or by itself."""

    compaction: Json | None = None
    experimental: Json = {}
    instructions: str | None = None
    multi_agent: Json | None = None
    text: Json | None = None


class AgentChange(SessionAgent):
    """A saved agent's update; what is omitted stays."""

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
    """`agent` with the changes: null is the default, an object is filled up, `experimental` is merged."""
    merged = {"experimental": {**agent["experimental"], **changes.get("experimental", {})}}
    return {**agent, **{name: _filled(name, value) for name, value in {**changes, **merged}.items()}}


def _filled(name: str, value: Any) -> Any:
    default = _DEFAULTS.get(name)
    if value is None:
        return default
    return {**default, **value} if isinstance(default, dict) and isinstance(value, dict) else value

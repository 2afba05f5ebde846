"""The request bodies about sessions: only the fields of the SDK's types. There are no sandboxes."""

from typing import Annotated, Literal

from pydantic import Field, PositiveInt

from worker.simulator.agents.agent_bodies import Body, Json, Metadata, SessionAgent, SessionAgentChange
from worker.simulator.agents.session_items import Result


class InputText(Body):
    type: Literal["input_text"]
    text: str


class InputImage(Body):
    type: Literal["input_image"]
    image_url: str


Content = list[Annotated[InputText | InputImage, Field(discriminator="type")]]


class InputMessage(Body):
    role: Literal["user"]
    content: Content
    type: Literal["message"] = "message"

    def parts(self) -> list[Json]:
        """The content in the shape of a response."""
        return [part.model_dump() for part in self.content]


class NoEnvironment(Body):
    type: Literal["none"]


class SpendControl(Body):
    #: Cents.
    limit: PositiveInt | None


class NewSession(Body):
    environment: NoEnvironment
    input: str | list[InputMessage]
    agent_id: str | None = None
    agent: SessionAgent | None = None
    metadata: Metadata | None = None
    prompt_cache_options: Json | None = None
    review: Literal["none", "auto_review"] | None = None
    spend_control: SpendControl | None = None
    stream: Literal[False] | None = None
    vault_ids: list[str] | None = None

    def messages(self) -> list[list[Json]]:
        """The content of each of the customer's first messages."""
        if isinstance(self.input, str):
            return [[{"type": "input_text", "text": self.input}]]
        return [message.parts() for message in self.input]

    def settings(self) -> Json:
        """The settings that the session's response repeats unchanged."""
        return {
            "environment": self.environment.model_dump(),
            "metadata": self.metadata or {},
            "prompt_cache_options": self.prompt_cache_options,
            "review": self.review,
            "vault_ids": self.vault_ids or [],
        }


class SessionChange(Body):
    agent: SessionAgentChange | None = None
    metadata: Metadata | None = None
    prompt_cache_options: Json | None = None
    review: Literal["none", "auto_review"] | None = None
    spend_control: SpendControl | None = None

    def settings(self) -> Json:
        """The changed settings that the session's response repeats. Null clears one."""
        changes = self.model_dump(exclude_unset=True, include={"metadata", "prompt_cache_options", "review"})
        return changes | ({"metadata": self.metadata or {}} if "metadata" in changes else {})


class MessageEvent(Body):
    type: Literal["agent.session.input.message"]
    input: list[InputMessage]


class CancelEvent(Body):
    type: Literal["agent.session.input.cancel"]


class ToolResultEvent(Body):
    type: Literal["agent.session.input.tool_result"]
    turn_id: str
    call_id: str
    success: bool
    output: str | Content | None = None
    error: str | None = None

    def result(self) -> Result:
        return Result(self.success, self._output() if self.success else self.error or "")

    def _output(self) -> str:
        if self.output is None or isinstance(self.output, str):
            return self.output or ""
        return " ".join(part.text for part in self.output if isinstance(part, InputText))


class ApprovalEvent(Body):
    type: Literal[
        "agent.session.input.mcp_approval_request_result",
        "agent.session.input.computer_use_approval_request_result",
    ]
    request_id: str
    response: Json


class NewEvents(Body):
    """Events, applied in order. The first refused one ends the request; those before it stay applied."""

    events: Annotated[
        list[
            Annotated[
                MessageEvent | CancelEvent | ToolResultEvent | ApprovalEvent, Field(discriminator="type")
            ]
        ],
        Field(min_length=1, max_length=64),
    ]

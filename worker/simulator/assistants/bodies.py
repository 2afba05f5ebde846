"""The request bodies that the Assistants server accepts: only the fields of OpenAI's description."""

from typing import Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from worker.simulator.assistants.runs import invalid_request, text_part
from worker.simulator.faults import ApiError

Json = dict[str, Any]
Metadata = dict[str, str] | None


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid")


class NewMessage(_Body):
    role: Literal["user", "assistant"]
    content: str | list[Json]
    attachments: list[Json] | None = None
    metadata: Metadata = None

    def parts(self) -> list[Json]:
        """The content in the shape of a response."""
        if isinstance(self.content, str):
            return [text_part(self.content)]
        return [text_part(part["text"]) if part.get("type") == "text" else part for part in self.content]

    def images(self) -> list[str]:
        """The ids of its uploaded images. Raises `ApiError` for an image inside the message itself."""
        parts = self.content if isinstance(self.content, list) else []
        if any(part.get("image_url", {}).get("url", "").startswith("data:") for part in parts):
            raise invalid_request("Invalid 'image_url': expected an external URL.")
        return [part["image_file"]["file_id"] for part in parts if part.get("type") == "image_file"]


class NewThread(_Body):
    messages: list[NewMessage] = []
    tool_resources: Json | None = None
    metadata: Metadata = None


class _RunSettings(_Body):
    assistant_id: str
    model: str | None = None
    instructions: str | None = None
    tools: list[Json] | None = None
    metadata: Metadata = None
    temperature: float | None = None
    top_p: float | None = None
    stream: Literal[False] | None = None
    max_prompt_tokens: int | None = None
    max_completion_tokens: int | None = None
    truncation_strategy: Json | None = None
    tool_choice: str | Json | None = None
    parallel_tool_calls: bool = True
    response_format: str | Json | None = None

    def settings(self, assistant: Json) -> Json:
        """The settings in the run's response: its own ones over the assistant's current ones."""
        return {
            "model": self.model or assistant["model"],
            "instructions": self.instructions or assistant["instructions"] or "",
            "tools": assistant["tools"] if self.tools is None else self.tools,
            "metadata": self.metadata or {},
            "temperature": assistant["temperature"] if self.temperature is None else self.temperature,
            "top_p": assistant["top_p"] if self.top_p is None else self.top_p,
            "max_prompt_tokens": self.max_prompt_tokens,
            "max_completion_tokens": self.max_completion_tokens,
            "truncation_strategy": self.truncation_strategy or {"type": "auto", "last_messages": None},
            "tool_choice": self.tool_choice or "auto",
            "parallel_tool_calls": self.parallel_tool_calls,
            "response_format": self.response_format or assistant["response_format"],
        }


class NewRun(_RunSettings):
    additional_instructions: str | None = None
    additional_messages: list[NewMessage] | None = None
    reasoning_effort: str | None = None


class NewThreadAndRun(_RunSettings):
    thread: NewThread = NewThread()
    tool_resources: Json | None = None


class ToolOutput(_Body):
    tool_call_id: str
    output: str = ""


class ToolOutputs(_Body):
    tool_outputs: list[ToolOutput]
    stream: Literal[False] | None = None


class AssistantChange(_Body):
    model: str = "gpt-4o"
    name: str | None = None
    description: str | None = None
    instructions: str | None = None
    tools: list[Json] = []
    tool_resources: Json | None = None
    metadata: Metadata = {}
    temperature: float | None = 1.0
    top_p: float | None = 1.0
    response_format: str | Json | None = "auto"
    reasoning_effort: str | None = None


class NewAssistant(AssistantChange):
    model: str


Body = TypeVar("Body", bound=BaseModel)

_CODES: dict[str, tuple[str, str]] = {
    "missing": ("missing_required_parameter", "Missing required parameter: '{}'."),
    "extra_forbidden": ("unknown_parameter", "Unknown parameter: '{}'."),
    "json_invalid": ("", "We could not parse the JSON body of your request."),
}


def read(shape: type[Body], raw: bytes) -> Body:
    """The parsed body. Raises OpenAI's 400 for the first invalid field."""
    try:
        return shape.model_validate_json(raw or b"{}")
    except ValidationError as error:
        raise _refusal(error) from None


def _refusal(error: ValidationError) -> ApiError:
    first = error.errors(include_url=False, include_input=False)[0]
    code, message = _CODES.get(first["type"], ("invalid_type", "Invalid value for '{}'."))
    return invalid_request(message.format(".".join(str(part) for part in first["loc"])), code=code or None)

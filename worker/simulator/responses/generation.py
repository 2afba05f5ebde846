"""Responses and conversations of the Responses API: a state machine that callers advance to the current time.

No task runs in the background. Each access first applies, at their own times, the changes that are due.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from worker.simulator.assistants.runs import Timings, invalid_request, new_id
from worker.simulator.faults import ApiError
from worker.simulator.script import AnsweredCall, Call, CustomerMessage, Failure, FunctionCalls, Reply, Script

Item = dict[str, Any]
"""An item of input, output or a conversation, in the shape of a response."""

ACTIVE = frozenset({"queued", "in_progress"})
_UNSTORED_READABLE_S = 600.0
"""A background response with `store: false` can be read for this long."""


def invalid_parameter(message: str, param: str, code: str | None = None) -> ApiError:
    """OpenAI's 400, which names the invalid parameter."""
    error = {"message": message, "type": "invalid_request_error", "param": param, "code": code}
    return ApiError(400, {"error": error})


def conversation_locked() -> ApiError:
    """OpenAI's refusal while a response is being generated in the conversation."""
    message = "Another process is currently operating on this conversation. Please retry in a few seconds."
    return invalid_parameter(message, "conversation", "conversation_locked")


@dataclass
class Conversation:
    """A conversation. It has one active response at a time, whose items are added when it completes."""

    created_at: float
    metadata: dict[str, str] = field(default_factory=dict)
    items: list[Item] = field(default_factory=list)
    latest_response: "ModelResponse | None" = None
    id: str = field(default_factory=lambda: new_id("conv"))

    def check_unlocked(self, now: float) -> None:
        """Raises `ApiError` while a response is being generated in it."""
        if self.latest_response:
            self.latest_response.advance(now)
            if self.latest_response.active:
                raise conversation_locked()


@dataclass
class ModelResponse:
    """One response of the model."""

    #: Model, tools and the other settings, in the shape of its JSON.
    settings: Mapping[str, Any]
    #: The items before its own input.
    context: Sequence[Item]
    input: Sequence[Item]
    timings: Timings
    script: Script
    created_at: float
    on_end: Callable[["ModelResponse"], None]
    conversation: Conversation | None = None
    previous_id: str | None = None
    background: bool = False
    store: bool = True
    id: str = field(default_factory=lambda: new_id("resp"))
    status: str = "queued"
    output: list[Item] = field(default_factory=list)
    #: When the response entered its current status.
    entered_at: float = 0.0

    def __post_init__(self) -> None:
        self.entered_at = self.created_at
        if self.conversation:
            self.conversation.latest_response = self
        if not self.background:
            self._generate(self.created_at)

    @property
    def active(self) -> bool:
        return self.status in ACTIVE

    @property
    def history(self) -> list[Item]:
        """The context of a response that continues this one."""
        return [*self.context, *self.input, *self.output]

    def readable(self, now: float) -> bool:
        return self.store or (self.background and now < self.created_at + _UNSTORED_READABLE_S)

    def advance(self, now: float) -> None:
        """Apply the changes due until `now`, each at its own time."""
        durations = {"queued": self.timings.queued_s, "in_progress": self.timings.thinking_s}
        while self.active and (at := self.entered_at + durations[self.status]) <= now:
            if self.status == "queued":
                self._enter("in_progress", at)
            else:
                self._generate(at)

    def cancel(self, now: float) -> None:
        """Cancel a background response; others are refused. Cancelling again has no effect."""
        if not self.background:
            raise invalid_request("Only responses created with background=true can be cancelled.")
        if self.active:
            self._end("cancelled", now)
        elif self.status != "cancelled":
            raise invalid_request(f"Cannot cancel a {self.status} response.")

    def rounds(self) -> list[tuple[AnsweredCall, ...]]:
        """The calls answered since the customer's last message."""
        return _script_input([*self.context, *self.input])[1]

    def _generate(self, at: float) -> None:
        messages, rounds = _script_input([*self.context, *self.input])
        match self.script(messages, rounds):
            case FunctionCalls(calls):
                self.output = [self._call_item(call) for call in calls]
                self._end("completed", at)
            case Reply(text):
                self.output = [_message_item(text)]
                self._end("completed", at)
            case Failure(status):
                self._end(status, at)

    def _call_item(self, call: Call) -> Item:
        item = {"id": new_id("fc"), "type": "function_call", "status": "completed", "call_id": new_id("call")}
        item |= {"name": call.name, "arguments": call.arguments}
        is_async = any(
            tool.get("name") == call.name and tool.get("async") is True for tool in self.settings["tools"]
        )
        return {**item, "async": True} if is_async else item

    def _enter(self, status: str, at: float) -> None:
        self.status, self.entered_at = status, at

    def _end(self, status: str, at: float) -> None:
        self._enter(status, at)
        if self.conversation and status == "completed":
            self.conversation.items += [*self.input, *self.output]
        self.on_end(self)


def _message_item(text: str) -> Item:
    part = {"type": "output_text", "text": text, "annotations": [], "logprobs": []}
    return {
        "id": new_id("msg"),
        "type": "message",
        "role": "assistant",
        "status": "completed",
        "content": [part],
    }


# ----------------------------------------------------------------------------------- reading a list of items


def check_calls(context: Iterable[Item], new_items: Iterable[Item]) -> None:
    """Raises `ApiError` unless every call has an output, every output a call, and no item comes twice."""
    context = list(context)
    ids = {item["id"] for item in context}
    open_calls = dict(_open_calls(context))
    for item in new_items:
        if item["id"] in ids:
            message = f"Duplicate item found with id {item['id']}. Remove duplicate items from your input."
            raise invalid_parameter(message, "input")
        if item["type"] == "function_call":
            open_calls[item["call_id"]] = item
        elif item["type"] == "function_call_output" and open_calls.pop(item["call_id"], None) is None:
            message = f"No tool call found for function call output with call_id {item['call_id']}."
            raise invalid_parameter(message, "input")
    for call_id, call in open_calls.items():
        if not call.get("async"):
            raise invalid_parameter(f"No tool output found for function call {call_id}.", "input")


def _open_calls(items: Sequence[Item]) -> Iterator[tuple[str, Item]]:
    answered = {item["call_id"] for item in items if item["type"] == "function_call_output"}
    for item in items:
        if item["type"] == "function_call" and item["call_id"] not in answered:
            yield item["call_id"], item


def _script_input(items: Sequence[Item]) -> tuple[list[CustomerMessage], list[tuple[AnsweredCall, ...]]]:
    """The arguments of a script: the customer's messages, and the answered rounds since the last of them."""
    messages: list[CustomerMessage] = []
    rounds: list[dict[str, Call]] = []
    outputs: dict[str, str] = {}
    for item in items:
        match item:
            case {"type": "message", "role": "user", "content": parts}:
                messages.append(_customer_message(parts))
                rounds.clear()
            case {"type": "function_call", "call_id": call_id, "name": name, "arguments": arguments}:
                if not rounds or rounds[-1].keys() & outputs.keys():
                    rounds.append({})
                rounds[-1][call_id] = Call(name, arguments)
            case {"type": "function_call_output", "call_id": call_id, "output": output}:
                outputs[call_id] = _text(output)
    answered = [
        [AnsweredCall(call, outputs[key]) for key, call in calls.items() if key in outputs]
        for calls in rounds
    ]
    return messages, [tuple(answered_round) for answered_round in answered if answered_round]


def _customer_message(parts: Sequence[Mapping[str, Any]]) -> CustomerMessage:
    return CustomerMessage(_text(parts), image=any(part["type"] == "input_image" for part in parts))


def _text(content: str | Sequence[Mapping[str, Any]]) -> str:
    if isinstance(content, str):
        return content
    return " ".join(part["text"] for part in content if "text" in part)

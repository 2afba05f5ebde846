"""Responses and conversations of the Responses API: the state machine, advanced by the time passed in.

Nothing runs by itself. Every look first lets happen, at its own time, what was due by then.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from worker.simulator.assistants.runs import Timings, new_id, refused
from worker.simulator.faults import ApiError
from worker.simulator.script import Ask, Break, Call, Heard, Said, Say, Script

Item = dict[str, Any]
"""An item of input, output or a conversation, in the shape of an answer."""

ACTIVE = frozenset({"queued", "in_progress"})
_KEPT_UNSTORED_S = 600.0
"""What was made in the background with `store: false` can be read this long."""


def refusal(message: str, param: str, code: str | None = None) -> ApiError:
    """OpenAI's 400, naming the parameter at fault."""
    error = {"message": message, "type": "invalid_request_error", "param": param, "code": code}
    return ApiError(400, {"error": error})


def conversation_locked() -> ApiError:
    """OpenAI's answer while a response is being made in the conversation."""
    message = "Another process is currently operating on this conversation. Please retry in a few seconds."
    return refusal(message, "conversation", "conversation_locked")


@dataclass
class Conversation:
    """A conversation: one response at a time, whose items are added when it completes."""

    created_at: float
    metadata: dict[str, str] = field(default_factory=dict)
    items: list[Item] = field(default_factory=list)
    newest: "ModelResponse | None" = None
    id: str = field(default_factory=lambda: new_id("conv"))

    def check_unlocked(self, now: float) -> None:
        """Raises the refusal while a response is being made in it."""
        if self.newest:
            self.newest.advance(now)
            if self.newest.active:
                raise conversation_locked()


@dataclass
class ModelResponse:
    """One response; `settings` is what its answer shows of model, tools and the rest."""

    settings: Mapping[str, Any]
    context: Sequence[Item]
    input: Sequence[Item]
    timings: Timings
    script: Script
    created_at: float
    ended: Callable[["ModelResponse"], None]
    conversation: Conversation | None = None
    previous_id: str | None = None
    background: bool = False
    store: bool = True
    id: str = field(default_factory=lambda: new_id("resp"))
    status: str = "queued"
    output: list[Item] = field(default_factory=list)
    since: float = 0.0
    """When it entered its status."""

    def __post_init__(self) -> None:
        self.since = self.created_at
        if self.conversation:
            self.conversation.newest = self
        if not self.background:
            self._make(self.created_at)

    @property
    def active(self) -> bool:
        return self.status in ACTIVE

    @property
    def history(self) -> list[Item]:
        """What a response that goes on from this one begins with."""
        return [*self.context, *self.input, *self.output]

    def readable(self, now: float) -> bool:
        return self.store or (self.background and now < self.created_at + _KEPT_UNSTORED_S)

    def advance(self, now: float) -> None:
        """Let happen what was due by `now`, each at its own time."""
        lasts = {"queued": self.timings.queued_s, "in_progress": self.timings.thinking_s}
        while self.active and (at := self.since + lasts[self.status]) <= now:
            if self.status == "queued":
                self._enter("in_progress", at)
            else:
                self._make(at)

    def cancel(self, now: float) -> None:
        """Only what is made in the background; a second time changes nothing."""
        if not self.background:
            raise refused("Only responses created with background=true can be cancelled.")
        if self.active:
            self._end("cancelled", now)
        elif self.status != "cancelled":
            raise refused(f"Cannot cancel a {self.status} response.")

    def rounds(self) -> list[tuple[Heard, ...]]:
        """The calls answered since the customer's last message."""
        return _heard([*self.context, *self.input])[1]

    def _make(self, at: float) -> None:
        told, rounds = _heard([*self.context, *self.input])
        match self.script(told, rounds):
            case Ask(calls):
                self.output = [self._call_item(call) for call in calls]
                self._end("completed", at)
            case Say(text):
                self.output = [_message_item(text)]
                self._end("completed", at)
            case Break(status):
                self._end(status, at)

    def _call_item(self, call: Call) -> Item:
        item = {"id": new_id("fc"), "type": "function_call", "status": "completed", "call_id": new_id("call")}
        item |= {"name": call.name, "arguments": call.arguments}
        goes_on = any(
            tool.get("name") == call.name and tool.get("async") is True for tool in self.settings["tools"]
        )
        return {**item, "async": True} if goes_on else item

    def _enter(self, status: str, at: float) -> None:
        self.status, self.since = status, at

    def _end(self, status: str, at: float) -> None:
        self._enter(status, at)
        if self.conversation and status == "completed":
            self.conversation.items += [*self.input, *self.output]
        self.ended(self)


def _message_item(text: str) -> Item:
    part = {"type": "output_text", "text": text, "annotations": [], "logprobs": []}
    return {
        "id": new_id("msg"),
        "type": "message",
        "role": "assistant",
        "status": "completed",
        "content": [part],
    }


# ----------------------------------------------------------------------------------- what the items amount to


def check_calls(context: Iterable[Item], given: Iterable[Item]) -> None:
    """Every call is answered, every answer is to a call that waits, no item comes twice; or the refusal."""
    context = list(context)
    ids = {item["id"] for item in context}
    waiting = dict(_waiting(context))
    for item in given:
        if item["id"] in ids:
            message = f"Duplicate item found with id {item['id']}. Remove duplicate items from your input."
            raise refusal(message, "input")
        if item["type"] == "function_call":
            waiting[item["call_id"]] = item
        elif item["type"] == "function_call_output" and waiting.pop(item["call_id"], None) is None:
            message = f"No tool call found for function call output with call_id {item['call_id']}."
            raise refusal(message, "input")
    for call_id, call in waiting.items():
        if not call.get("async"):
            raise refusal(f"No tool output found for function call {call_id}.", "input")


def _waiting(items: Sequence[Item]) -> Iterator[tuple[str, Item]]:
    answered = {item["call_id"] for item in items if item["type"] == "function_call_output"}
    for item in items:
        if item["type"] == "function_call" and item["call_id"] not in answered:
            yield item["call_id"], item


def _heard(items: Sequence[Item]) -> tuple[list[Said], list[tuple[Heard, ...]]]:
    """What a script is shown: the customer's messages, and the answered rounds since the last of them."""
    told: list[Said] = []
    rounds: list[dict[str, Call]] = []
    outputs: dict[str, str] = {}
    for item in items:
        match item:
            case {"type": "message", "role": "user", "content": parts}:
                told.append(_said(parts))
                rounds.clear()
            case {"type": "function_call", "call_id": call_id, "name": name, "arguments": arguments}:
                if not rounds or rounds[-1].keys() & outputs.keys():
                    rounds.append({})
                rounds[-1][call_id] = Call(name, arguments)
            case {"type": "function_call_output", "call_id": call_id, "output": output}:
                outputs[call_id] = _text(output)
    answered = [
        [Heard(call, outputs[key]) for key, call in calls.items() if key in outputs] for calls in rounds
    ]
    return told, [tuple(heard) for heard in answered if heard]


def _said(parts: Sequence[Mapping[str, Any]]) -> Said:
    return Said(_text(parts), image=any(part["type"] == "input_image" for part in parts))


def _text(content: str | Sequence[Mapping[str, Any]]) -> str:
    if isinstance(content, str):
        return content
    return " ".join(part["text"] for part in content if "text" in part)

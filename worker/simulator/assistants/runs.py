"""Threads and runs of the Assistants v2 protocol: a state machine that callers advance to the current time.

No task runs in the background. Each access first applies, in order and at their own times, the changes that
are due.
"""

import secrets
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from pydantic import BaseModel, ConfigDict, NonNegativeFloat, PositiveInt

from worker.simulator.faults import ApiError
from worker.simulator.script import AnsweredCall, Call, CustomerMessage, Failure, FunctionCalls, Reply, Script


class Timings(BaseModel):
    """How long a run stays in each state (seconds), its lifetime, and the hint for the next poll."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    queued_s: NonNegativeFloat = 0.05
    thinking_s: NonNegativeFloat = 0.15
    cancelling_s: NonNegativeFloat = 0.1
    lifetime_s: PositiveInt = 600
    poll_after_ms: PositiveInt | None = 100


def new_id(prefix: str) -> str:
    """A random id, unique across restarts too."""
    return f"{prefix}_{secrets.token_hex(12)}"


def invalid_request(message: str, status: int = 400, code: str | None = None) -> ApiError:
    """A refusal with OpenAI's error body."""
    error = {"message": message, "type": "invalid_request_error", "param": None, "code": code}
    return ApiError(status, {"error": error})


@dataclass
class Message:
    """One message. `content` has the shape of a response."""

    thread_id: str
    role: str
    content: list[dict[str, Any]]
    created_at: float
    run_id: str | None = None
    assistant_id: str | None = None
    attachments: list[dict[str, Any]] = field(default_factory=list)
    metadata: dict[str, str] = field(default_factory=dict)
    id: str = field(default_factory=lambda: new_id("msg"))

    def customer_message(self) -> CustomerMessage:
        """The message as a script reads it."""
        text = " ".join(part["text"]["value"] for part in self.content if part["type"] == "text")
        return CustomerMessage(text, image=any(part["type"].startswith("image") for part in self.content))


@dataclass
class Step:
    """One step of a run: a round of calls, or a message."""

    created_at: float
    calls: dict[str, Call] = field(default_factory=dict)
    #: Outputs by call id; None until they are submitted.
    outputs: dict[str, str] | None = None
    message_id: str | None = None
    status: str = "in_progress"
    closed_at: float | None = None
    id: str = field(default_factory=lambda: new_id("step"))

    def close(self, status: str, at: float) -> None:
        self.status, self.closed_at = status, at

    def answered_calls(self) -> tuple[AnsweredCall, ...]:
        outputs = self.outputs or {}
        return tuple(AnsweredCall(call, outputs[call_id]) for call_id, call in self.calls.items())


ACTIVE = frozenset({"queued", "in_progress", "requires_action", "cancelling"})
_CAN_EXPIRE = ACTIVE - {"cancelling"}


@dataclass
class Thread:
    """A conversation. While one of its runs is active, it accepts no message and no other run."""

    created_at: float
    metadata: dict[str, str] = field(default_factory=dict)
    messages: list[Message] = field(default_factory=list)
    runs: list["Run"] = field(default_factory=list)
    id: str = field(default_factory=lambda: new_id("thread"))

    def advance(self, now: float) -> None:
        if self.runs:
            self.runs[-1].advance(now)

    def active_run(self, now: float) -> "Run | None":
        self.advance(now)
        return self.runs[-1] if self.runs and self.runs[-1].active else None

    def customer_messages(self) -> list[CustomerMessage]:
        return [message.customer_message() for message in self.messages if message.role == "user"]


@dataclass
class Run:
    """One run."""

    thread: Thread
    assistant_id: str
    #: Model, tools and the other settings, in the shape of its response.
    settings: Mapping[str, Any]
    timings: Timings
    script: Script
    created_at: float
    id: str = field(default_factory=lambda: new_id("run"))
    status: str = "queued"
    steps: list[Step] = field(default_factory=list)
    #: When the run last entered each state.
    times: dict[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.times["queued"] = self.created_at

    @property
    def expires_at(self) -> int:
        return int(self.created_at) + self.timings.lifetime_s

    @property
    def pending(self) -> Step | None:
        """The step whose calls wait for outputs."""
        return self.steps[-1] if self.status == "requires_action" else None

    @property
    def active(self) -> bool:
        """The run has not ended, and locks its thread."""
        return self.status in ACTIVE

    def advance(self, now: float) -> None:
        """Apply the changes due until `now`, each at its own time."""
        while due := min(self._due(), key=lambda change: change[0], default=None):
            at, change = due
            if at > now:
                return
            change(at)

    def submit(self, outputs: Sequence[tuple[str, str]], now: float) -> None:
        """Accept the outputs of all pending calls at once, or refuse them all."""
        step = self.pending
        if step is None:
            raise invalid_request(f'Runs in status "{self.status}" do not accept tool outputs.')
        expected, submitted = list(step.calls), [call_id for call_id, _ in outputs]
        if sorted(expected) != sorted(submitted):
            raise invalid_request(f"Expected tool outputs for call_ids {expected}, got {submitted}")
        step.outputs = dict(outputs)
        step.close("completed", now)
        self._enter("queued", now)

    def cancel(self, now: float) -> None:
        if self.status not in _CAN_EXPIRE:
            raise invalid_request(f"Cannot cancel run with status '{self.status}'.")
        self._enter("cancelling", now)

    def _due(self) -> Iterator[tuple[float, Callable[[float], None]]]:
        entered_at = self.times[self.status]
        if self.status in _CAN_EXPIRE:
            yield float(self.expires_at), self._end_as("expired")
        if self.status == "queued":
            yield entered_at + self.timings.queued_s, lambda at: self._enter("in_progress", at)
        elif self.status == "in_progress":
            yield entered_at + self.timings.thinking_s, self._move
        elif self.status == "cancelling":
            yield entered_at + self.timings.cancelling_s, self._end_as("cancelled")

    def _end_as(self, status: str) -> Callable[[float], None]:
        def end(at: float) -> None:
            if self.steps and self.steps[-1].status == "in_progress":
                self.steps[-1].close(status, at)
            self._enter(status, at)

        return end

    def _enter(self, status: str, at: float) -> None:
        self.status, self.times[status] = status, at
        if status == "in_progress":
            self.times.setdefault("started", at)

    def _move(self, at: float) -> None:
        rounds = [step.answered_calls() for step in self.steps]
        match self.script(self.thread.customer_messages(), rounds):
            case FunctionCalls(calls):
                self.steps.append(Step(at, calls={new_id("call"): call for call in calls}))
                self._enter("requires_action", at)
            case Reply(text):
                self._say(text, at)
                self._enter("completed", at)
            case Failure(status):
                self._enter(status, at)

    def _say(self, text: str, at: float) -> None:
        message = Message(
            self.thread.id, "assistant", [text_part(text)], at, run_id=self.id, assistant_id=self.assistant_id
        )
        self.thread.messages.append(message)
        step = Step(at, message_id=message.id)
        step.close("completed", at)
        self.steps.append(step)


def text_part(text: str) -> dict[str, Any]:
    """Text in the shape of a message's response."""
    return {"type": "text", "text": {"value": text, "annotations": []}}

"""Threads and runs of the Assistants v2 protocol: the state machine, advanced by the time that is passed in.

Nothing runs by itself. Every look first lets happen, in order and at its own time, what was due by then.
"""

import secrets
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from pydantic import BaseModel, ConfigDict, NonNegativeFloat, PositiveInt

from worker.simulator.faults import ApiError
from worker.simulator.script import Ask, Break, Call, Heard, Said, Say, Script


class Timings(BaseModel):
    """How long a run stays in each state (seconds), its lifetime, and the hint for the next look."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    queued_s: NonNegativeFloat = 0.05
    thinking_s: NonNegativeFloat = 0.15
    cancelling_s: NonNegativeFloat = 0.1
    lifetime_s: PositiveInt = 600
    poll_after_ms: PositiveInt | None = 100


def new_id(prefix: str) -> str:
    """Random, so that no id comes twice, after a restart neither."""
    return f"{prefix}_{secrets.token_hex(12)}"


def refused(message: str, status: int = 400, code: str | None = None) -> ApiError:
    """OpenAI's error body."""
    error = {"message": message, "type": "invalid_request_error", "param": None, "code": code}
    return ApiError(status, {"error": error})


@dataclass
class Message:
    """One message; `content` is in the answer's shape."""

    thread_id: str
    role: str
    content: list[dict[str, Any]]
    created_at: float
    run_id: str | None = None
    assistant_id: str | None = None
    attachments: list[dict[str, Any]] = field(default_factory=list)
    metadata: dict[str, str] = field(default_factory=dict)
    id: str = field(default_factory=lambda: new_id("msg"))

    def said(self) -> Said:
        """What a script sees of it."""
        text = " ".join(part["text"]["value"] for part in self.content if part["type"] == "text")
        return Said(text, image=any(part["type"].startswith("image") for part in self.content))


@dataclass
class Step:
    """One step of a run: a round of calls (`outputs` None until they were submitted), or a message."""

    created_at: float
    calls: dict[str, Call] = field(default_factory=dict)
    outputs: dict[str, str] | None = None
    message_id: str | None = None
    status: str = "in_progress"
    closed_at: float | None = None
    id: str = field(default_factory=lambda: new_id("step"))

    def close(self, status: str, at: float) -> None:
        self.status, self.closed_at = status, at

    def heard(self) -> tuple[Heard, ...]:
        outputs = self.outputs or {}
        return tuple(Heard(call, outputs[call_id]) for call_id, call in self.calls.items())


ACTIVE = frozenset({"queued", "in_progress", "requires_action", "cancelling"})
_EXPIRES = ACTIVE - {"cancelling"}


@dataclass
class Thread:
    """A conversation. While one of its runs is active it takes no message and no other run."""

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

    def told(self) -> list[Said]:
        return [message.said() for message in self.messages if message.role == "user"]


@dataclass
class Run:
    """One run; `settings` is what its answer shows of model, tools and the rest."""

    thread: Thread
    assistant_id: str
    settings: Mapping[str, Any]
    timings: Timings
    script: Script
    created_at: float
    id: str = field(default_factory=lambda: new_id("run"))
    status: str = "queued"
    steps: list[Step] = field(default_factory=list)
    times: dict[str, float] = field(default_factory=dict)
    """When it entered each state last."""

    def __post_init__(self) -> None:
        self.times["queued"] = self.created_at

    @property
    def expires_at(self) -> int:
        return int(self.created_at) + self.timings.lifetime_s

    @property
    def pending(self) -> Step | None:
        """The round that waits for outputs."""
        return self.steps[-1] if self.status == "requires_action" else None

    @property
    def active(self) -> bool:
        """Not ended: the thread is locked."""
        return self.status in ACTIVE

    def advance(self, now: float) -> None:
        """Let happen what was due by `now`, each at its own time."""
        while due := min(self._due(), key=lambda change: change[0], default=None):
            at, change = due
            if at > now:
                return
            change(at)

    def submit(self, outputs: Sequence[tuple[str, str]], now: float) -> None:
        """Take the outputs of every pending call at once, or refuse them all."""
        step = self.pending
        if step is None:
            raise refused(f'Runs in status "{self.status}" do not accept tool outputs.')
        expected, got = list(step.calls), [call_id for call_id, _ in outputs]
        if sorted(expected) != sorted(got):
            raise refused(f"Expected tool outputs for call_ids {expected}, got {got}")
        step.outputs = dict(outputs)
        step.close("completed", now)
        self._enter("queued", now)

    def cancel(self, now: float) -> None:
        if self.status not in _EXPIRES:
            raise refused(f"Cannot cancel run with status '{self.status}'.")
        self._enter("cancelling", now)

    def _due(self) -> Iterator[tuple[float, Callable[[float], None]]]:
        since = self.times[self.status]
        if self.status in _EXPIRES:
            yield float(self.expires_at), self._ends("expired")
        if self.status == "queued":
            yield since + self.timings.queued_s, lambda at: self._enter("in_progress", at)
        elif self.status == "in_progress":
            yield since + self.timings.thinking_s, self._move
        elif self.status == "cancelling":
            yield since + self.timings.cancelling_s, self._ends("cancelled")

    def _ends(self, status: str) -> Callable[[float], None]:
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
        rounds = [step.heard() for step in self.steps]
        match self.script(self.thread.told(), rounds):
            case Ask(calls):
                self.steps.append(Step(at, calls={new_id("call"): call for call in calls}))
                self._enter("requires_action", at)
            case Say(text):
                self._say(text, at)
                self._enter("completed", at)
            case Break(status):
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
    """Text as a message's answer shows it."""
    return {"type": "text", "text": {"value": text, "annotations": []}}

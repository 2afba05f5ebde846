"""Sessions and turns of the Agents API: the state machine, advanced by the time that is passed in.

Nothing runs by itself. Every look first lets happen, in order and at its own time, what was due by then.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from pydantic import BaseModel, ConfigDict, NonNegativeFloat

from worker.simulator.agents.session_items import History, Result
from worker.simulator.assistants.runs import new_id, refused
from worker.simulator.script import Ask, Break, Call, Heard, Say, Script

Json = dict[str, Any]


class SessionTimings(BaseModel):
    """How long a turn stays in each state (seconds), and the platform's two delays around a function call.

    `registering_s`: a call that is already shown is not yet known to the events endpoint. `applying_s`: an
    accepted result (202) is not yet applied, and its call still shown.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    queued_s: NonNegativeFloat = 0.05
    thinking_s: NonNegativeFloat = 0.15
    registering_s: NonNegativeFloat = 0.05
    applying_s: NonNegativeFloat = 0.1
    cancelling_s: NonNegativeFloat = 0.1


@dataclass
class Round:
    """Calls that a turn waits for side by side, and what else it requires; `others` by their request id."""

    asked_at: float
    calls: Mapping[str, Call]
    others: dict[str, Json]
    accepted: dict[str, tuple[float, Result]] = field(default_factory=dict)
    """When each result is applied; its call stays pending until then."""
    results: dict[str, Result] = field(default_factory=dict)

    @property
    def pending(self) -> dict[str, Call]:
        return {call_id: call for call_id, call in self.calls.items() if call_id not in self.results}

    def heard(self) -> tuple[Heard, ...]:
        """The calls with their results, in the calls' order."""
        results = self.results
        return tuple(Heard(call, results[key].text) for key, call in self.calls.items() if key in results)


@dataclass
class Session:
    """A conversation with one agent; `agent` is the copy made when it was created.

    `settings` is what its answer shows besides (metadata, environment and the like).
    """

    agent: Json
    settings: Json
    script: Script
    timings: SessionTimings
    created_at: float
    spend_limit: int | None = None
    also_requires: Sequence[Json] = ()
    """Actions of other kinds that every round of calls also waits for."""
    on_waiting: Callable[["Session"], None] = lambda _session: None
    id: str = field(default_factory=lambda: new_id("sess"))
    error: str | None = None
    spent: int = 0
    turns: list["Turn"] = field(default_factory=list)
    history: History = field(default_factory=History)
    keys: dict[str, bytes] = field(default_factory=dict)
    """Idempotency keys, and the bodies they came with."""

    def __post_init__(self) -> None:
        self.last_active_at = self.created_at

    @property
    def turn(self) -> "Turn | None":
        """The active turn: at most one, the newest."""
        return self.turns[-1] if self.turns and self.turns[-1].active else None

    @property
    def status(self) -> str:
        if self.error is not None:
            return "failed"
        if self.turn is None:
            return "idle"
        return {"waiting": "requires_action", "paused": "budget_reached"}.get(self.turn.status, "in_progress")

    def advance(self, now: float) -> None:
        if self.turn:
            self.turn.advance(now)

    def hear(self, content: Sequence[Json], now: float) -> None:
        """A message: it starts a turn, or steers the active one. A failed session takes none."""
        if self.error is not None:
            raise refused("The session has failed.")
        turn = self.turn
        if turn is None:
            turn = Turn(self, now)
            self.turns.append(turn)
        self.last_active_at = now
        self.history.user_said(turn.id, content)

    def accept(self, turn_id: str, call_id: str, result: Result, now: float) -> None:
        """Take a function's result. Refused unless the call is pending and known by now."""
        if self.turn is None or self.turn.id != turn_id or not self.turn.knows(call_id, now):
            raise refused(f"Unknown pending tool call: {call_id}", code="invalid_request_error")
        self.turn.accept(call_id, result, now)

    def decide(self, request_id: str, now: float) -> None:
        """Take the answer to an approval, whatever it says."""
        if self.turn is None or not self.turn.decide(request_id, now):
            raise refused(f"Unknown pending request: {request_id}", code="invalid_request_error")

    def cancel(self, now: float) -> None:
        """Cancel the active turn, if there is one."""
        if self.turn and self.turn.status != "cancelling":
            self.turn.enter("cancelling", now)

    def set_budget(self, limit: int | None, now: float) -> None:
        """Cents to spend in all, None: no limit. What paused for want of them goes on."""
        self.spend_limit = limit
        if self.turn and self.turn.status == "paused":
            self.turn.enter("in_progress", now)

    def spend(self) -> bool:
        """A move costs a cent; False when there is none left."""
        if self.spend_limit is not None and self.spent >= self.spend_limit:
            return False
        self.spent += 1
        return True


_ENDED = frozenset({"completed", "failed", "cancelled"})


@dataclass
class Turn:
    """One turn. Beside the protocol's own statuses it may be `cancelling`, or `paused` without budget."""

    session: Session
    created_at: float
    id: str = field(default_factory=lambda: new_id("turn"))
    status: str = "queued"
    rounds: list[Round] = field(default_factory=list)
    error: Json | None = None
    times: dict[str, float] = field(default_factory=dict)
    """When it entered each state last."""

    def __post_init__(self) -> None:
        self.timings = self.session.timings
        self.times["queued"] = self.created_at

    @property
    def active(self) -> bool:
        return self.status not in _ENDED

    @property
    def round(self) -> Round | None:
        """The round that waits."""
        return self.rounds[-1] if self.status == "waiting" else None

    def advance(self, now: float) -> None:
        """Let happen what was due by `now`, each at its own time."""
        while due := min(self._due(), key=lambda change: change[0], default=None):
            at, change = due
            if at > now:
                return
            change(at)

    def knows(self, call_id: str, now: float) -> bool:
        """The call is pending, and the events endpoint has heard of it."""
        waiting = self.round
        known = waiting is not None and now >= waiting.asked_at + self.timings.registering_s
        return known and waiting is not None and call_id in waiting.pending

    def accept(self, call_id: str, result: Result, now: float) -> None:
        """Take a result, to be applied later. An accepted one may be repeated, not replaced."""
        accepted = self.rounds[-1].accepted
        if accepted.setdefault(call_id, (now + self.timings.applying_s, result))[1] != result:
            raise refused(f"A different result was accepted for {call_id}.", 409)

    def decide(self, request_id: str, now: float) -> bool:
        """Whether there was such a request to be decided."""
        decided = self.round is not None and self.round.others.pop(request_id, None) is not None
        if decided:
            self._go_on(now)
        return decided

    def enter(self, status: str, at: float) -> None:
        self.status, self.times[status] = status, at
        self.session.last_active_at = at
        if status == "in_progress":
            self.times.setdefault("started", at)
        if status in _ENDED:
            self.times["ended"] = at

    def _due(self) -> Iterator[tuple[float, Callable[[float], None]]]:
        since = self.times[self.status]
        if self.status == "queued":
            yield since + self.timings.queued_s, lambda at: self.enter("in_progress", at)
        elif self.status == "in_progress":
            yield since + self.timings.thinking_s, self._move
        elif self.status == "cancelling":
            yield since + self.timings.cancelling_s, lambda at: self.enter("cancelled", at)
        elif self.round:
            yield from ((at, self._applies(call_id)) for call_id, (at, _) in self.round.accepted.items())

    def _applies(self, call_id: str) -> Callable[[float], None]:
        def apply(at: float) -> None:
            waiting = self.rounds[-1]
            _, waiting.results[call_id] = waiting.accepted.pop(call_id)
            self.session.history.given(self.id, call_id, waiting.results[call_id])
            self._go_on(at)

        return apply

    def _go_on(self, at: float) -> None:
        waiting = self.rounds[-1]
        if not waiting.pending and not waiting.others:
            self.enter("in_progress", at)

    def _move(self, at: float) -> None:
        session = self.session
        if not session.spend():
            self.enter("paused", at)
            return
        match session.script(session.history.told(), [each.heard() for each in self.rounds]):
            case Ask(calls):
                self._ask(calls, at)
            case Say(text):
                session.history.agent_said(self.id, text)
                self.enter("completed", at)
            case Break(status):
                self._break(at, with_session=status == "failed")

    def _ask(self, calls: Sequence[Call], at: float) -> None:
        named = {new_id("call"): call for call in calls}
        for call_id, call in named.items():
            self.session.history.called(self.id, call_id, call)
        others = {new_id("req"): action for action in self.session.also_requires}
        self.rounds.append(Round(at, named, others))
        self.enter("waiting", at)
        self.session.on_waiting(self.session)

    def _break(self, at: float, *, with_session: bool) -> None:
        """A turn may fail by itself (cut at a token limit, say), and its session be idle after that."""
        code = "internal_error" if with_session else "max_output_tokens"
        self.error = {"code": code, "message": "The turn could not be completed."}
        self.session.error = "The session could not continue." if with_session else None
        self.enter("failed", at)

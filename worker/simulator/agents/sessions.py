"""Sessions and turns of the Agents API: a state machine that callers advance to the current time.

No task runs in the background. Each access first applies, in order and at their own times, the changes that
are due.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from pydantic import BaseModel, ConfigDict, NonNegativeFloat

from worker.simulator.agents.session_items import History, Result
from worker.simulator.assistants.runs import invalid_request, new_id
from worker.simulator.script import AnsweredCall, Call, Failure, FunctionCalls, Reply, Script

Json = dict[str, Any]


class SessionTimings(BaseModel):
    """How long a turn stays in each state (seconds), and the platform's two delays around a function call."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    queued_s: NonNegativeFloat = 0.05
    thinking_s: NonNegativeFloat = 0.15
    #: For this long the session already shows a call that the events endpoint still refuses.
    registering_s: NonNegativeFloat = 0.05
    #: For this long the session still shows a call whose result was accepted (202).
    applying_s: NonNegativeFloat = 0.1
    cancelling_s: NonNegativeFloat = 0.1


@dataclass
class Round:
    """The calls that a turn waits for in parallel, and its other required actions."""

    requested_at: float
    calls: Mapping[str, Call]
    #: Required actions of other kinds, by request id.
    others: dict[str, Json]
    #: Accepted results with the time each is applied. The call stays pending until then.
    accepted: dict[str, tuple[float, Result]] = field(default_factory=dict)
    results: dict[str, Result] = field(default_factory=dict)

    @property
    def pending(self) -> dict[str, Call]:
        return {call_id: call for call_id, call in self.calls.items() if call_id not in self.results}

    def answered_calls(self) -> tuple[AnsweredCall, ...]:
        """The calls that have results, in the calls' order."""
        results = self.results
        return tuple(
            AnsweredCall(call, results[key].text) for key, call in self.calls.items() if key in results
        )


@dataclass
class Session:
    """A conversation with one agent."""

    #: A copy of the agent, made when the session was created.
    agent: Json
    #: Metadata, environment and the other fields that its response repeats.
    settings: Json
    script: Script
    timings: SessionTimings
    created_at: float
    #: Cents; None: no limit.
    spend_limit: int | None = None
    #: Actions of other kinds that every round of calls also waits for.
    also_requires: Sequence[Json] = ()
    on_waiting: Callable[["Session"], None] = lambda _session: None
    id: str = field(default_factory=lambda: new_id("sess"))
    error: str | None = None
    spent: int = 0
    turns: list["Turn"] = field(default_factory=list)
    history: History = field(default_factory=History)
    #: Request bodies by idempotency key.
    idempotency_keys: dict[str, bytes] = field(default_factory=dict)

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

    def add_message(self, content: Sequence[Json], now: float) -> None:
        """Add a message: it starts a turn, or joins the active one. A failed session accepts none."""
        if self.error is not None:
            raise invalid_request("The session has failed.")
        turn = self.turn
        if turn is None:
            turn = Turn(self, now)
            self.turns.append(turn)
        self.last_active_at = now
        self.history.add_user_message(turn.id, content)

    def accept(self, turn_id: str, call_id: str, result: Result, now: float) -> None:
        """Accept a function's result. Refused unless the call is pending and registered."""
        if self.turn is None or self.turn.id != turn_id or not self.turn.expects(call_id, now):
            raise invalid_request(f"Unknown pending tool call: {call_id}", code="invalid_request_error")
        self.turn.accept(call_id, result, now)

    def decide(self, request_id: str, now: float) -> None:
        """Accept an answer to an approval request, with any content."""
        if self.turn is None or not self.turn.decide(request_id, now):
            raise invalid_request(f"Unknown pending request: {request_id}", code="invalid_request_error")

    def cancel(self, now: float) -> None:
        """Cancel the active turn, if there is one."""
        if self.turn and self.turn.status != "cancelling":
            self.turn.enter("cancelling", now)

    def set_budget(self, limit: int | None, now: float) -> None:
        """Set the total limit in cents; None: no limit. A turn that paused at the limit continues."""
        self.spend_limit = limit
        if self.turn and self.turn.status == "paused":
            self.turn.enter("in_progress", now)

    def spend(self) -> bool:
        """Spend one cent on a move. False when the limit is reached."""
        if self.spend_limit is not None and self.spent >= self.spend_limit:
            return False
        self.spent += 1
        return True


_ENDED = frozenset({"completed", "failed", "cancelled"})


@dataclass
class Turn:
    """One turn. It has two statuses beside the protocol's: `cancelling`, and `paused` without budget."""

    session: Session
    created_at: float
    id: str = field(default_factory=lambda: new_id("turn"))
    status: str = "queued"
    rounds: list[Round] = field(default_factory=list)
    error: Json | None = None
    #: When the turn last entered each state.
    times: dict[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.timings = self.session.timings
        self.times["queued"] = self.created_at

    @property
    def active(self) -> bool:
        return self.status not in _ENDED

    @property
    def round(self) -> Round | None:
        """The round that waits for results."""
        return self.rounds[-1] if self.status == "waiting" else None

    def advance(self, now: float) -> None:
        """Apply the changes due until `now`, each at its own time."""
        while due := min(self._due(), key=lambda change: change[0], default=None):
            at, change = due
            if at > now:
                return
            change(at)

    def expects(self, call_id: str, now: float) -> bool:
        """The call is pending, and the events endpoint accepts its result."""
        current_round = self.round
        registered = (
            current_round is not None and now >= current_round.requested_at + self.timings.registering_s
        )
        return registered and current_round is not None and call_id in current_round.pending

    def accept(self, call_id: str, result: Result, now: float) -> None:
        """Accept a result, which is applied later. An accepted result may be repeated, not replaced."""
        accepted = self.rounds[-1].accepted
        if accepted.setdefault(call_id, (now + self.timings.applying_s, result))[1] != result:
            raise invalid_request(f"A different result was accepted for {call_id}.", 409)

    def decide(self, request_id: str, now: float) -> bool:
        """Remove the approval request. False when there was none of this id."""
        decided = self.round is not None and self.round.others.pop(request_id, None) is not None
        if decided:
            self._resume_if_complete(now)
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
            yield from ((at, self._apply_result(call_id)) for call_id, (at, _) in self.round.accepted.items())

    def _apply_result(self, call_id: str) -> Callable[[float], None]:
        def apply(at: float) -> None:
            current_round = self.rounds[-1]
            _, current_round.results[call_id] = current_round.accepted.pop(call_id)
            self.session.history.add_result(self.id, call_id, current_round.results[call_id])
            self._resume_if_complete(at)

        return apply

    def _resume_if_complete(self, at: float) -> None:
        current_round = self.rounds[-1]
        if not current_round.pending and not current_round.others:
            self.enter("in_progress", at)

    def _move(self, at: float) -> None:
        session = self.session
        if not session.spend():
            self.enter("paused", at)
            return
        match session.script(
            session.history.customer_messages(), [each.answered_calls() for each in self.rounds]
        ):
            case FunctionCalls(calls):
                self._ask(calls, at)
            case Reply(text):
                session.history.add_agent_message(self.id, text)
                self.enter("completed", at)
            case Failure(status):
                self._break(at, with_session=status == "failed")

    def _ask(self, calls: Sequence[Call], at: float) -> None:
        named = {new_id("call"): call for call in calls}
        for call_id, call in named.items():
            self.session.history.add_call(self.id, call_id, call)
        others = {new_id("req"): action for action in self.session.also_requires}
        self.rounds.append(Round(at, named, others))
        self.enter("waiting", at)
        self.session.on_waiting(self.session)

    def _break(self, at: float, *, with_session: bool) -> None:
        """Fail the turn. Without `with_session` (for example at a token limit) the session becomes idle."""
        code = "internal_error" if with_session else "max_output_tokens"
        self.error = {"code": code, "message": "The turn could not be completed."}
        self.session.error = "The session could not continue." if with_session else None
        self.enter("failed", at)

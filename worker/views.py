"""The values that the HTTP API, the dashboard and the commands read from the store.

Times are seconds since the epoch; names that end in `_s` are durations in seconds.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Generic, Literal, TypeVar

from worker.model import CallState, EventState, ReplySource, RunState
from worker.personal import Personal

_Item = TypeVar("_Item")


@dataclass(frozen=True, slots=True)
class ConversationView:
    """A conversation as the API shows it."""

    conversation_id: str
    thread_id: str | None
    assistant: str | None
    document: Personal | None
    contact: Personal | None
    attachment_url: Personal | None
    attachment_at: float | None
    created_at: float
    updated_at: float


@dataclass(frozen=True, slots=True)
class AttemptView:
    """One attempt of a call."""

    #: Its number, from 1.
    attempt: int
    begun_at: float
    ended_at: float | None
    #: `ok` or a short code (`http_503`); None while it is open.
    result: str | None
    #: The attempt opened nothing, for certain; None while it is open.
    certain: bool | None


class DismissReason(StrEnum):
    """Why a call or a run that did not succeed needs no person (contract §14)."""

    RESOLVIDO_POR_FORA = "resolvido_por_fora"
    CLIENTE_DESISTIU = "cliente_desistiu"
    DUPLICADO = "duplicado"
    OUTRO = "outro"


@dataclass(frozen=True, slots=True)
class Dismissal:
    """The decision that a call or a run needs no person: why, by whom and when."""

    reason: DismissReason
    by: str
    at: float


StepEvent = Literal["received", "attempt_begun", "attempt_ended", "finished", "answered", "submitted"]


@dataclass(frozen=True, slots=True)
class CallStep:
    """One step of a call's life."""

    at: float
    event: StepEvent
    #: The attempt's number; None where the step is not an attempt's.
    attempt: int | None = None
    #: How the attempt ended: `ok` or a short code.
    result: str | None = None


@dataclass(frozen=True, slots=True)
class CallView:
    """A call without its payload."""

    call_id: str
    platform_call_id: str
    run_id: str
    conversation_id: str
    tool: str
    state: CallState
    error: str | None
    protocolo: str | None
    setor: str | None
    motivo: str | None
    departamento: str | None
    attempts: tuple[AttemptView, ...]
    equal_to: str | None
    received_at: float
    answered_at: float | None
    finished_at: float | None
    submitted_at: float | None
    dismissal: Dismissal | None = None

    @property
    def timeline(self) -> list[CallStep]:
        """The oldest step first."""
        return sorted(self._steps(), key=lambda step: step.at)

    def _steps(self) -> Iterator[CallStep]:
        """In the order in which they happen, so that equal times keep it."""
        yield CallStep(self.received_at, "received")
        for each in self.attempts:
            yield CallStep(each.begun_at, "attempt_begun", each.attempt)
            if each.ended_at is not None:
                yield CallStep(each.ended_at, "attempt_ended", each.attempt, each.result)
        if self.finished_at is not None:
            yield CallStep(self.finished_at, "finished")
        if self.answered_at is not None:
            yield CallStep(self.answered_at, "answered")
        if self.submitted_at is not None:
            yield CallStep(self.submitted_at, "submitted")


@dataclass(frozen=True, slots=True)
class CallFilter:
    """Which calls are listed; None does not restrict. Times: from `since` to before `until`."""

    state: CallState | None = None
    since: float | None = None
    until: float | None = None
    conversation_id: str | None = None
    #: Also the second protocolo of a duplicate ticket.
    protocolo: str | None = None
    run_id: str | None = None
    #: The platform's id of the call, or what the log writes instead.
    platform_call_id: str | None = None
    tool: str | None = None
    setor: str | None = None
    motivo: str | None = None
    #: False: without dismissed ones.
    dismissed: bool = True


@dataclass(frozen=True, slots=True)
class CallPayload:
    """The personal values of a call, as stored."""

    document: Personal | None
    contact: Personal | None
    #: As the CRM receives it.
    resumo: Personal | None
    receipt: Personal | None


@dataclass(frozen=True, slots=True)
class RunSummary:
    """A run without its calls."""

    run_id: str
    conversation_id: str
    thread_id: str | None
    state: RunState
    platform_status: str | None
    reason: str | None
    #: The run that the conversation continues under, if its id changed.
    continues_as: str | None
    registered_at: float
    closed_at: float | None
    dismissal: Dismissal | None = None


@dataclass(frozen=True, slots=True)
class RunFilter:
    """Which runs are listed; None does not restrict. Times: registered from `since` to before `until`."""

    state: RunState | None = None
    reason: str | None = None
    since: float | None = None
    until: float | None = None
    conversation_id: str | None = None


@dataclass(frozen=True, slots=True)
class EventView:
    """An event for the bot."""

    event_id: str
    kind: str
    conversation_id: str
    state: EventState
    created_at: float
    #: The next try; None unless the event is pending.
    due: float | None
    #: Tries that have failed.
    tries: int
    #: How the last try ended: a short code.
    result: str | None
    delivered_at: float | None


@dataclass(frozen=True, slots=True)
class RunView:
    """A run with its calls."""

    run_id: str
    conversation_id: str
    thread_id: str | None
    state: RunState
    platform_status: str | None
    reason: str | None
    #: The run that the conversation continues under, if its id changed.
    continues_as: str | None
    calls: tuple[CallView, ...]


class HandoffState(StrEnum):
    REQUESTED = "requested"
    ACCEPTED = "accepted"
    CLOSED = "closed"
    #: The person is done, and the bot goes on with the conversation.
    RETURNED = "returned"


@dataclass(frozen=True, slots=True)
class HandoffView:
    """A hand-off."""

    handoff_id: str
    conversation_id: str
    call_id: str
    departamento: str
    state: HandoffState
    requested_at: float
    accepted_at: float | None
    closed_at: float | None
    waiting_s: float
    #: Payload: only the read of a single hand-off has it, and enters the access log.
    motivo: Personal | None = None
    returned_at: float | None = None
    #: When attendance resumes, as it stood when the request was made; None when it was open.
    opens_at: float | None = None
    #: By when a person must accept it; None without a deadline.
    due_at: float | None = None
    #: Nobody had accepted or closed it by its deadline.
    overdue: bool = False


@dataclass(frozen=True, slots=True)
class Waiting:
    """What waits for the bot and for people. Ages in seconds, 0 where nothing waits."""

    oldest_event_s: float = 0.0
    stuck_events: int = 0
    handoffs: int = 0
    oldest_handoff_s: float = 0.0
    #: Hand-offs that nobody accepted by their deadline, and that still wait.
    overdue_handoffs: int = 0


@dataclass(frozen=True, slots=True)
class Erasure:
    """What an erasure removed and what it kept, in numbers."""

    #: Values that were removed, up to `motivos`.
    documents: int = 0
    contacts: int = 0
    receipts: int = 0
    requests: int = 0
    answers: int = 0
    motivos: int = 0
    #: Requests of calls under way. They are removed with the outcome.
    in_flight: int = 0
    #: Answers that a run at work may ask for again. They are removed when it ends.
    replayable: int = 0
    #: Records that stay, without personal values.
    runs: int = 0
    calls: int = 0
    handoffs: int = 0
    events: int = 0
    replies: int = 0


@dataclass(frozen=True, slots=True)
class ReplyView:
    """The findings of a reply check, without the reply's text."""

    check_id: int
    conversation_id: str
    #: None: the bot did not say which run the reply is of.
    run_id: str | None
    source: ReplySource
    #: Empty when nothing was found.
    codes: tuple[str, ...]
    #: Seconds since the epoch.
    checked_at: float


@dataclass(frozen=True, slots=True)
class Happening:
    """One entry of a conversation's history."""

    at: float
    #: The id of the run, call, hand-off, event or check.
    key: str
    what: RunSummary | CallView | HandoffView | EventView | ReplyView


Cursor = tuple[float, str]
"""Where a newest-first list goes on: the last row's time and id."""


# ----------------------------------------------------------------------------------------------- dashboard

COUNTED_UP_TO = 1000
"""Counts stop here: nobody works through more, and counting further would cost a scan."""


@dataclass(frozen=True, slots=True)
class Hour:
    """The tickets requested in one hour, by outcome. Counted as the KPIs are (contract §7)."""

    #: When the hour begins.
    begin: float
    opened: int = 0
    failed: int = 0
    #: Sent, and no protocolo is known.
    unsure: int = 0
    #: The model was asked to correct its arguments.
    rejected: int = 0


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """A call that needs a person."""

    call_id: str
    conversation_id: str
    tool: str
    state: CallState
    error: str | None
    setor: str | None
    motivo: str | None
    received_at: float
    #: A person may ask for another try, or enter the protocolo.
    retriable: bool
    resolvable: bool


@dataclass(frozen=True, slots=True)
class OpenHandoff:
    """A hand-off that still waits, or that a person attends to."""

    handoff_id: str
    conversation_id: str
    departamento: str
    accepted: bool
    #: Seconds since it was requested or, once accepted, since then.
    for_s: float
    #: When attendance resumes, seconds since the epoch; None when it is open now.
    opens_at: float | None = None
    #: The deadline, seconds since the epoch; None without one, or once accepted.
    due_at: float | None = None
    #: Seconds past the deadline; 0 before it, and where there is none.
    late_s: float = 0.0


@dataclass(frozen=True, slots=True)
class StuckEvent:
    """An event that the bot did not accept in 72 h."""

    event_id: str
    kind: str
    conversation_id: str
    created_at: float
    #: How the last try ended: a short code.
    result: str | None


@dataclass(frozen=True, slots=True)
class Preview(Generic[_Item]):
    """The first items of a list, and how many it has (counted up to `COUNTED_UP_TO`)."""

    items: Sequence[_Item] = ()
    count: int = 0


@dataclass(frozen=True, slots=True)
class Backlog:
    """What waits for people and for the bot."""

    dead: Preview[DeadLetter] = Preview()
    requested: Preview[OpenHandoff] = Preview()
    accepted: Preview[OpenHandoff] = Preview()
    stuck: Preview[StuckEvent] = Preview()
    #: Lost within the last three days, and their conversations had no run since.
    lost: Preview[RunSummary] = Preview()
    #: Of the last 24 hours, the newest first.
    suspect: Preview[ReplyView] = Preview()
    #: Events on their way to the bot (counted up to `COUNTED_UP_TO`).
    events: int = 0
    #: Of the requested hand-offs, those past their deadline (counted up to `COUNTED_UP_TO`).
    overdue: int = 0
    #: How long the first customer in the queue has waited, seconds; 0 without any.
    longest_wait_s: float = 0.0


# ------------------------------------------------------------------------------------------------ daemons


@dataclass(frozen=True, slots=True)
class DaemonReport:
    """The state that a daemon reports every few seconds, for the commands."""

    owner: str
    version: str
    #: Keyed hashes of DATA_KEYS; the first key encrypts.
    keys: tuple[str, ...]
    breaker_open: bool
    #: The platform's last answer was a failure; None before the first request.
    platform_failing: bool | None


@dataclass(frozen=True, slots=True)
class LivingDaemon:
    """A daemon that reported lately."""

    report: DaemonReport
    started_at: float
    seen_at: float


@dataclass(frozen=True, slots=True)
class CrmOutcome:
    """How one of the last attempts to open a ticket ended: `ok` or a short code."""

    at: float
    result: str

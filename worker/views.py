"""What people and programs read and change of what is stored: the HTTP API and the commands ask for it here.

Times are seconds since the epoch unless they are called `…_s`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Generic, Protocol, TypeVar

from worker.kpis import Kpis
from worker.model import CallRecord, CallState, RunState
from worker.personal import Personal

_Item = TypeVar("_Item")


@dataclass(frozen=True, slots=True)
class ConversationView:
    """A conversation as the API shows it; times are seconds since the epoch."""

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
    """One attempt of a call. `result` is None while it is open, else a short code (`ok`, `http_503`)."""

    attempt: int
    begun_at: float
    ended_at: float | None
    result: str | None
    certain: bool | None


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


@dataclass(frozen=True, slots=True)
class RunView:
    """A run with its calls. `continues_as`: the id under which the conversation goes on, where it changes."""

    run_id: str
    conversation_id: str
    thread_id: str | None
    state: RunState
    platform_status: str | None
    reason: str | None
    continues_as: str | None
    calls: tuple[CallView, ...]


class HandoffState(StrEnum):
    REQUESTED = "requested"
    ACCEPTED = "accepted"
    CLOSED = "closed"


@dataclass(frozen=True, slots=True)
class HandoffView:
    """A hand-off. `motivo` is payload: only the single read fetches it, and that is put on record."""

    handoff_id: str
    conversation_id: str
    call_id: str
    departamento: str
    state: HandoffState
    requested_at: float
    accepted_at: float | None
    closed_at: float | None
    waiting_s: float
    motivo: Personal | None = None


@dataclass(frozen=True, slots=True)
class Waiting:
    """What waits for the bot and for people. Ages in seconds, 0 where nothing waits."""

    oldest_event_s: float = 0.0
    stuck_events: int = 0
    handoffs: int = 0
    oldest_handoff_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Erasure:
    """What an erasure took, and what it left, in numbers: the first six are gone.

    `in_flight`: requests of calls under way, which go with their outcome. `replayable`: answers that a run
    still at work may ask for again, which go with its end. The others are the record.
    """

    documents: int = 0
    contacts: int = 0
    receipts: int = 0
    requests: int = 0
    answers: int = 0
    motivos: int = 0
    in_flight: int = 0
    replayable: int = 0
    runs: int = 0
    calls: int = 0
    handoffs: int = 0
    events: int = 0


Cursor = tuple[float, str]
"""Where a newest-first list goes on: the last row's time and id."""


class Records(Protocol):
    """What the HTTP API and the commands ask of the store. Raises `RequestRefused` (contract §3)."""

    async def put_conversation(
        self, conversation_id: str, changes: Mapping[str, object]
    ) -> tuple[ConversationView, bool]:
        """Create or change; only the keys given change, None clears. Returns it and whether it is new.

        Keys: thread_id, assistant (str), client_document, contact, attachment_url (Personal), attachment_at
        (seconds since the epoch; ignored without attachment_url, now when absent). Raises `thread_em_uso`.
        """

    async def conversation(self, conversation_id: str, *, reader: str) -> ConversationView:
        """Contact and receipt are payload: who read them (`reader`) enters the access log.

        Raises `conversa_desconhecida`.
        """

    async def register_run(
        self, conversation_id: str, run_id: str, thread_id: str | None
    ) -> tuple[RunView, bool]:
        """Watch a run. Returns it, and True when it was not watched before (202), False when it was (200).

        Where it goes on under another id by now, the newest of these is watched.

        Raises `conversa_desconhecida`, `execucao_de_outra_conversa`, `thread_diferente`, `thread_ausente`.
        """

    async def run(self, run_id: str) -> RunView:
        """Raises `nao_encontrado`."""

    async def calls(
        self,
        *,
        state: CallState | None = None,
        since: float | None = None,
        conversation_id: str | None = None,
        limit: int = 50,
        cursor: Cursor | None = None,
    ) -> tuple[Sequence[CallView], Cursor | None]:
        """Newest first, with the cursor of the next page."""

    async def call(self, call_id: str) -> CallView:
        """Raises `nao_encontrado`."""

    async def handoffs(
        self, *, state: HandoffState | None = None, limit: int = 50, cursor: Cursor | None = None
    ) -> tuple[Sequence[HandoffView], Cursor | None]:
        """Newest first, with the cursor of the next page; without `motivo`."""

    async def handoff(self, handoff_id: str, *, reader: str) -> HandoffView:
        """One hand-off with its `motivo`; who read it (`reader`) enters the access log."""

    async def kpis(self, since: float, until: float | None) -> Kpis:
        """Of what came in from `since` to before `until` (None: to now), in seconds since the epoch."""

    async def waiting(self) -> Waiting:
        """What waits for the bot and for people."""

    async def ready(self) -> bool:
        """The database can be written, and its schema is this version's."""


class Operators(Protocol):
    """What a person may change of a call. Raises `RequestRefused` with codes of contract §3."""

    async def retryable(self, call_id: str) -> CallRecord: ...

    async def retry(self, call_id: str) -> None: ...

    async def resolve(self, call_id: str, protocolo: str) -> None: ...


class Handoffs(Protocol):
    """What people do with a hand-off, told to the bot. Raises `RequestRefused`: `nao_encontrado`."""

    async def accept(self, handoff_id: str) -> HandoffView:
        """Take it: the customer waits no longer. Raises `estado_incompativel`: somebody was quicker."""

    async def close(self, handoff_id: str) -> HandoffView:
        """Nothing is left to do, accepted or not; closing what is closed changes nothing."""


class Erasures(Protocol):
    """Payload that goes on request: at once over HTTP, by the daemon for the commands (contract §1, §3)."""

    async def erase_conversation(self, conversation_id: str, *, by: str) -> Erasure:
        """Raises `conversa_desconhecida`."""

    async def process_next(self) -> bool:
        """Carry out the oldest request of a command; False when there is none."""

    async def outcome(self, erasure_id: str) -> Erasure | None: ...


# ----------------------------------------------------------------------------------------------- dashboard

COUNTED_UP_TO = 1000
"""Nobody works through more, and counting further would cost a scan: this many means "so many, or more"."""


@dataclass(frozen=True, slots=True)
class Hour:
    """What became of the tickets asked for in the hour that begins at `begin`.

    `unsure`: sent, and no protocolo is known; `rejected`: the model was told to correct its arguments. The
    others count as the KPIs do (contract §7).
    """

    begin: float
    opened: int = 0
    failed: int = 0
    unsure: int = 0
    rejected: int = 0


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """A call that goes no further by itself. `retriable`, `resolvable`: what a person may do about it."""

    call_id: str
    conversation_id: str
    tool: str
    state: CallState
    error: str | None
    setor: str | None
    motivo: str | None
    received_at: float
    retriable: bool
    resolvable: bool


@dataclass(frozen=True, slots=True)
class OpenHandoff:
    """A hand-off that is not closed. `for_s`: since when it waits or, once accepted, is attended to."""

    handoff_id: str
    conversation_id: str
    departamento: str
    accepted: bool
    for_s: float


@dataclass(frozen=True, slots=True)
class StuckEvent:
    """An event that the bot did not take in 72 h. `result`: how the last try ended."""

    event_id: str
    kind: str
    conversation_id: str
    created_at: float
    result: str | None


@dataclass(frozen=True, slots=True)
class Preview(Generic[_Item]):
    """The first of a list, and how many there are (counted up to `COUNTED_UP_TO`)."""

    items: Sequence[_Item] = ()
    count: int = 0


@dataclass(frozen=True, slots=True)
class Backlog:
    """What waits for somebody. `events`: on their way to the bot (counted up to `COUNTED_UP_TO`)."""

    dead: Preview[DeadLetter] = Preview()
    requested: Preview[OpenHandoff] = Preview()
    accepted: Preview[OpenHandoff] = Preview()
    stuck: Preview[StuckEvent] = Preview()
    events: int = 0


class Board(Protocol):
    """Implemented by the store."""

    async def hours(self, since: float) -> Sequence[Hour]:
        """The hours from `since` to now in which calls came in, in order; whole hours from `since` on."""

    async def backlog(self, limit: int) -> Backlog:
        """At most `limit` of each kind: dead letters newest first, hand-offs the one that waits longest."""

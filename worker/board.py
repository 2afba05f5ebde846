"""What the dashboard asks of the store beside `worker.records`: tickets over time, and what waits.

Nothing here is payload. Times are seconds since the epoch unless they are called `…_s`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

from worker.model import CallState

_Item = TypeVar("_Item")

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
class Some(Generic[_Item]):
    """The first of a list, and how many there are (counted up to `COUNTED_UP_TO`)."""

    items: Sequence[_Item] = ()
    count: int = 0


@dataclass(frozen=True, slots=True)
class Backlog:
    """What waits for somebody. `events`: on their way to the bot (counted up to `COUNTED_UP_TO`)."""

    dead: Some[DeadLetter] = Some()
    requested: Some[OpenHandoff] = Some()
    accepted: Some[OpenHandoff] = Some()
    stuck: Some[StuckEvent] = Some()
    events: int = 0


class Board(Protocol):
    """Implemented by the store."""

    async def hours(self, since: float) -> Sequence[Hour]:
        """The hours from `since` to now in which calls came in, in order; whole hours from `since` on."""

    async def backlog(self, limit: int) -> Backlog:
        """At most `limit` of each kind: dead letters newest first, hand-offs the one that waits longest."""

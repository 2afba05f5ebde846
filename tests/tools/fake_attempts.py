"""One call's side of the ledger, in memory."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from worker.model import CallRecord, Sent


async def nothing() -> None:
    """What usually happens while a call waits to settle."""


@dataclass
class FakeAttempts:
    """Implements `ports.Attempts`. What was sent settles only when that is awaited, after `meanwhile`."""

    first_at: float = 0.0
    used: int = 0
    settled_now: bool = False
    held: tuple[str, ...] = ()
    meanwhile: Callable[[], Awaitable[None]] = nothing
    refuses: Exception | None = None
    waits: int = 0
    ends: list[tuple[bool, str]] = field(default_factory=list)
    first: CallRecord | None = None

    def alive(self) -> bool:
        return True

    async def begin(self) -> None:
        if self.refuses:
            raise self.refuses
        self.used += 1
        self.settled_now = False

    async def end(self, *, certain: bool, detail: str) -> None:
        self.ends.append((certain, detail))

    async def sent(self) -> Sent:
        return Sent(self.first_at, 0.0 if self.settled_now else 30.0)

    async def settled(self) -> None:
        self.waits += 1
        await self.meanwhile()
        self.settled_now = True

    async def held_by_another(self, protocolo: str) -> bool:
        return protocolo in self.held

    async def first_try(self) -> CallRecord:
        assert self.first
        return self.first

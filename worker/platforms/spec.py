"""What the product asks of a platform besides serving runs: each adapter's module has a `SPEC`."""

from collections.abc import Callable
from dataclasses import dataclass

from worker.platforms.definitions import Envelope, Stored
from worker.ports import Platform
from worker.settings import Settings


@dataclass(frozen=True, slots=True)
class PlatformSpec:
    """One platform, as configuration, commands and the HTTP API need it."""

    #: Builds the adapter. Raises `ConfigError` when Entra tokens are configured and cannot be had.
    connect: Callable[[Settings], Platform]
    #: How its tools hold a function.
    envelope: Envelope
    #: A cheap GET: the `Date` of its response is the platform's clock.
    clock_path: str
    #: Opens its stored assistants; None where the bot sends the tools with each request.
    stored: Callable[[Settings], Stored] | None = None
    #: Live sessions have a copy of their assistant's functions (`sync-schema --sessions`).
    has_sessions: bool = False
    #: Type of the webhook that says that a run may need an answer; None where it sends none.
    wake_event: str | None = None
    #: Runs can be found that were not announced.
    discovers: bool = True

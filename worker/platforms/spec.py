"""What the product needs of a platform besides its adapter: each adapter's module has a `SPEC`."""

from collections.abc import Callable
from dataclasses import dataclass

from worker.platforms.definitions import Envelope, Stored
from worker.ports import Platform
from worker.settings import Settings


@dataclass(frozen=True, slots=True)
class PlatformSpec:
    """One platform, as configuration, commands and the HTTP API need it."""

    #: Builds the adapter. Raises `ConfigError` when Entra tokens are configured and unavailable.
    connect: Callable[[Settings], Platform]
    #: The form in which its tools contain a function.
    envelope: Envelope
    #: A cheap GET: the `Date` of its response is the platform's clock.
    clock_path: str
    #: Opens its stored assistants; None where the bot sends the tools with each request.
    stored: Callable[[Settings], Stored] | None = None
    #: Live sessions have a copy of their assistant's functions (`sync-schema --sessions`).
    has_sessions: bool = False
    #: Type of the webhook for a run that may need an answer; None where the platform sends none.
    wake_event: str | None = None
    #: Discovery can find runs that were not announced.
    discovers: bool = True

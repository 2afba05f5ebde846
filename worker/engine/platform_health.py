"""Whether the platform answers, judged by what says something about the platform and not about one run."""

import time
from dataclasses import dataclass, field
from enum import Enum, StrEnum

from worker import logs, metrics
from worker.errors import PlatformError, RunGone
from worker.ports import Clock

_FORGOTTEN_S = 60.0
"""An outage of submits alone has ended when none failed for so long: they are repeated sooner."""

_SILENCE_S = 30.0
"""Answers that cannot be read are an outage when nothing was answered for so long."""

_REPEATED_S = 60.0
"""An outage of the same cause that begins again sooner than this is not logged again."""


class Request(StrEnum):
    """A kind of request; each may fail while the other is answered."""

    POLL = "poll"
    SUBMIT = "submit"


class _Verdict(Enum):
    OUTAGE = "outage"
    DOUBTFUL = "doubtful"
    ABOUT_ONE_RUN = "about one run"


@dataclass(slots=True)
class PlatformHealth:
    """Logs the beginning, each new cause and the end of an outage once, and keeps the metrics."""

    clock: Clock
    #: Kinds of requests that fail, and when the last one did, by the clock's monotonic seconds.
    _failing: dict[Request, float] = field(default_factory=dict)
    _answered_at: float = field(init=False)
    #: Cause of the outage, `""` without one: an HTTP status, or `none` where there was no answer.
    _cause: str = ""
    #: When the outage began, seconds since the epoch; it goes on while its cause changes.
    _since: float = 0.0
    #: Cause and time of the last line that an outage began with.
    _logged: tuple[str, float] = ("", float("-inf"))
    #: The outage that goes on was logged, so its end is as well.
    _end_is_news: bool = False

    def __post_init__(self) -> None:
        self._answered_at = self.clock.monotonic()
        metrics.platform_outage.clear()

    def failed(self, request: Request, error: PlatformError) -> None:
        """A request brought an error."""
        metrics.platform_errors.labels(_status(error)).inc()
        verdict = _verdict(error)
        if verdict is _Verdict.ABOUT_ONE_RUN:
            self.answered(request)
            return
        now = self.clock.monotonic()
        if verdict is _Verdict.OUTAGE or now - self._answered_at > _SILENCE_S:
            self._failing[request] = now
            if self._cause != _status(error):
                self._began(error, now)

    def answered(self, request: Request) -> None:
        """A request was answered."""
        now = self._answered_at = self.clock.monotonic()
        if not self._failing:
            metrics.platform_up.set(1)
            return
        self._failing.pop(request, None)
        if now - self._failing.get(Request.SUBMIT, now) > _FORGOTTEN_S:
            del self._failing[Request.SUBMIT]
        if not self._failing:
            self._ended()

    def _began(self, error: PlatformError, now: float) -> None:
        if not self._cause:
            self._since = time.time()
        self._cause = _status(error)
        metrics.platform_up.set(0)
        metrics.platform_outage.clear()
        metrics.platform_outage.labels(self._cause).set(self._since)
        cause, logged_at = self._logged
        if cause != self._cause or now - logged_at > _REPEATED_S:
            self._logged, self._end_is_news = (self._cause, now), True
            logs.failure("plataforma não atende", error)

    def _ended(self) -> None:
        self._cause = ""
        metrics.platform_up.set(1)
        metrics.platform_outage.clear()
        if self._end_is_news:
            self._end_is_news = False
            logs.event("✅ plataforma voltou a atender")


def _status(error: PlatformError) -> str:
    return "none" if error.status is None else str(error.status)


def _verdict(error: PlatformError) -> _Verdict:
    """A refused key, no answer, an overloaded or broken server are outages.

    What cannot be read may be about one run, or a proxy's. Everything else is said of one run's state.
    """
    status = error.status
    if status in {None, 401, 403, 408, 429} or (status is not None and status >= 500):
        return _Verdict.OUTAGE
    if status is not None and (status < 400 or status == 404) and not isinstance(error, RunGone):
        return _Verdict.DOUBTFUL
    return _Verdict.ABOUT_ONE_RUN

"""What says something about the platform, and what only about one run."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from tests.engine.harness import Harness
from tests.fakes import COMPLETED, EXPIRED, WORKING, JumpingClock, asks, call, until
from worker import metrics
from worker.engine.platform_health import PlatformHealth, Request
from worker.errors import PlatformError, PlatformRefused, PlatformUnavailable, RunGone
from worker.logs import sinks
from worker.store.store import Store

POLL, SUBMIT = Request.POLL, Request.SUBMIT
FAILS, RECOVERS = "plataforma não atende", "plataforma voltou a atender"


@pytest.fixture
async def harness(store: Store) -> AsyncIterator[Harness]:
    made = Harness(store)
    await made.conversation()
    yield made
    metrics.platform_up.set(1)
    metrics.platform_outage.clear()


class Log:
    """The lines about the platform, since the last look."""

    def __init__(self, capfd: pytest.CaptureFixture[str]) -> None:
        self._capfd = capfd

    def lines(self) -> tuple[int, int]:
        text = self._capfd.readouterr().err
        return text.count(FAILS), text.count(RECOVERS)


@pytest.fixture
def log(capfd: pytest.CaptureFixture[str]) -> Log:
    sinks.forget_repetitions()  # of the test before
    return Log(capfd)


async def test_a_run_cancelled_while_its_ticket_is_opened_is_no_outage(harness: Harness, log: Log) -> None:
    harness.platform.script("run_1", asks(call(1)), EXPIRED)
    harness.platform.submit_faults.append((PlatformRefused(400), True))
    await harness.announce()
    await harness.worker().run_until_idle()
    assert log.lines() == (0, 0)


async def test_an_outage_and_its_end_are_logged_once_whichever_run_sees_the_end(
    harness: Harness, log: Log
) -> None:
    faults = [PlatformUnavailable(503)] * 4
    harness.platform.script("run_1", *faults, COMPLETED)
    await harness.announce()
    await harness.worker().run_until_idle()
    assert log.lines() == (1, 1)
    assert metrics.vitals().platform_outage is None


@pytest.mark.parametrize("error", [PlatformRefused(401), PlatformRefused(403), PlatformUnavailable()])
def test_what_says_something_about_the_platform_is_an_outage(error: PlatformError, log: Log) -> None:
    health = PlatformHealth(JumpingClock())
    health.failed(POLL, error)
    health.failed(POLL, error)
    assert log.lines() == (1, 0)
    outage = metrics.vitals().platform_outage
    assert outage is not None
    assert outage[0] == ("none" if error.status is None else str(error.status))
    health.answered(POLL)
    assert log.lines() == (0, 1)
    assert metrics.vitals().platform_outage is None


@pytest.mark.parametrize(
    "error", [PlatformRefused(400), PlatformUnavailable(400), PlatformUnavailable(409), RunGone(404)]
)
def test_what_is_said_of_one_run_is_none_and_shows_that_the_platform_works(
    error: PlatformError, log: Log
) -> None:
    health = PlatformHealth(JumpingClock())
    health.failed(SUBMIT, error)
    assert log.lines() == (0, 0)
    health.failed(POLL, PlatformUnavailable(500))
    health.failed(POLL, error)
    assert log.lines() == (1, 1)


def test_a_changed_cause_is_logged(log: Log) -> None:
    health = PlatformHealth(JumpingClock())
    for status in (503, 503, 401, 401):
        health.failed(POLL, PlatformRefused(status) if status == 401 else PlatformUnavailable(status))
    assert log.lines() == (2, 0)
    outage = metrics.vitals().platform_outage
    assert outage is not None
    assert outage[0] == "401"


def test_an_outage_goes_on_while_its_cause_changes(monkeypatch: pytest.MonkeyPatch) -> None:
    health = PlatformHealth(JumpingClock())
    for now, status in ((1000.0, 503), (1060.0, 500), (1120.0, 503)):
        monkeypatch.setattr("time.time", lambda now=now: now)
        health.failed(POLL, PlatformUnavailable(status))
    assert metrics.vitals().platform_outage == ("503", 1000.0)
    health.answered(POLL)
    health.failed(POLL, PlatformUnavailable(500))
    assert metrics.vitals().platform_outage == ("500", 1120.0)


def test_answers_nobody_can_read_are_an_outage_only_when_none_is_readable(log: Log) -> None:
    clock = JumpingClock()
    health = PlatformHealth(clock)
    health.failed(POLL, PlatformUnavailable(200))
    health.failed(POLL, PlatformUnavailable(404))
    assert log.lines() == (0, 0)
    clock.ahead_s += 31
    health.failed(POLL, PlatformUnavailable(200))
    assert log.lines() == (1, 0)


def test_an_outage_of_submits_alone_is_not_over_because_polls_are_answered(log: Log) -> None:
    clock = JumpingClock()
    health = PlatformHealth(clock)
    health.failed(SUBMIT, PlatformUnavailable(503))
    health.answered(POLL)
    health.failed(SUBMIT, PlatformUnavailable(503))
    assert log.lines() == (1, 0)
    clock.ahead_s += 61
    health.answered(POLL)
    assert log.lines() == (0, 1)


def test_an_outage_that_comes_and_goes_is_logged_once_a_minute(log: Log) -> None:
    clock = JumpingClock()
    health = PlatformHealth(clock)
    for _ in range(10):
        health.failed(POLL, PlatformUnavailable(500))
        health.answered(POLL)
    assert log.lines() == (1, 1)
    clock.ahead_s += 61
    sinks.forget_repetitions()  # the log's own clock is the machine's
    health.failed(POLL, PlatformUnavailable(500))
    assert log.lines() == (1, 0)


def test_errors_are_counted_by_status() -> None:
    counted = metrics.platform_errors.labels("503")
    before = counted._value.get()
    PlatformHealth(JumpingClock()).failed(POLL, PlatformUnavailable(503))
    assert counted._value.get() == before + 1


async def test_the_status_that_people_see_is_that_of_the_last_poll(harness: Harness) -> None:
    harness.platform.script("run_1", asks(call(1)), WORKING)
    await harness.announce()
    worker = harness.worker()
    serving = asyncio.create_task(worker.run())
    await until(lambda: len(harness.platform.looks) > 3)
    await worker._record_statuses()
    assert (await harness.store.records.run("run_1")).platform_status == "in_progress"
    worker.stop()
    await serving

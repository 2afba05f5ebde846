"""When a run is looked at next: within the bounds, under the budget, and at the right time."""

import random
from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.pacing.computed import FIXED_S, fixed, fixed_with_reads
from bench.pacing.durations import times
from bench.pacing.overload import overload
from bench.pacing.played import learned
from tests.engine.harness import Harness
from tests.fakes import COMPLETED, FakePlatform, asks, call
from worker.engine.pacing import Pace, Wait, wait_for
from worker.errors import PlatformUnavailable
from worker.model import Answer, Run, RunRef, RunSnapshot, RunStatus
from worker.store.store import Store

SECONDS = st.floats(0.0, 5000.0)


def claimed(*, rounds: int = 0, known_s: float = 0.0) -> Run:
    return Run(RunRef("run_1", None), "c1", epoch=1, rounds=rounds, known_s=known_s)


def familiar(lasts: float = 4.0) -> Pace:
    """Has seen many runs take this long."""
    pace = Pace(0.25, 5.0, random.Random(1))
    for first in (True, False):
        for _ in range(200):
            pace.found(Wait(0.0, first=first, looked=lasts - 0.1), lasts + 0.1)
    return pace


@settings(max_examples=80, deadline=None)
@given(
    st.floats(0.001, 5.0),
    st.floats(1.0, 20.0),
    st.lists(st.tuples(SECONDS, SECONDS).map(sorted), max_size=10),
    SECONDS,
    st.none() | st.floats(0.0, 300.0),
)
def test_a_delay_is_within_the_bounds_and_never_below_what_the_platform_wishes(
    minimum: float, ratio: float, seen: list[list[float]], age: float, hint: float | None
) -> None:
    maximum = minimum * ratio
    pace = Pace(minimum, maximum, random.Random(1))
    for after, by in seen:
        pace.found(Wait(0.0, first=True, looked=after), by)
    delay = pace.delay(Wait(0.0, first=True), age, hint)
    floor = min(hint or 0.0, 60.0)
    assert max(minimum, floor) <= delay <= max(maximum, floor)
    assert 0.0 <= pace.first_delay(Wait(0.0, first=True), age) <= maximum


def test_what_was_waited_for_is_learned_from_once() -> None:
    pace = familiar(4.0)
    wait = Wait(0.0, first=True, over=True)
    for _ in range(500):
        pace.found(wait, 1.0)
    assert pace.delay(Wait(0.0, first=True), 0.0) > 3.0


def test_a_run_is_first_looked_at_when_it_is_likely_to_want_something() -> None:
    pace = familiar(4.0)
    assert pace.first_delay(wait_for(claimed(), 100.0), 100.0) > 3.0
    assert pace.first_delay(wait_for(claimed(known_s=3.0), 100.0), 100.0) < 2.0
    assert pace.first_delay(wait_for(claimed(known_s=60.0), 100.0), 100.0) == 0.0


def test_a_run_answered_by_a_process_that_is_gone_is_looked_at_at_once_and_teaches_nothing() -> None:
    pace = familiar(4.0)
    wait = wait_for(claimed(rounds=1, known_s=30.0), 100.0)
    assert pace.first_delay(wait, 100.0) == 0.0
    assert wait.over
    assert pace.delay(wait, 100.0) > 3.0


def test_a_run_that_goes_on_under_a_new_id_is_awaited_like_an_answered_one() -> None:
    pace = Pace(0.25, 5.0, random.Random(1))
    for _ in range(200):
        pace.found(Wait(0.0, first=False, looked=3.9), 4.1)
    assert pace.first_delay(wait_for(claimed(rounds=1, known_s=0.01), 100.0), 100.0) > 3.0
    assert pace.first_delay(wait_for(claimed(), 100.0), 100.0) < 1.0


def test_where_webhooks_tell_the_first_look_is_at_once() -> None:
    """One may have come before the run was watched."""
    pace = Pace(0.25, 5.0, random.Random(1), told=True)
    assert pace.first_delay(wait_for(claimed(), 100.0), 100.0) == 0.0


@given(st.integers(0, 5000), st.none() | st.floats(0.0, 1e6))
def test_delays_after_failures_grow_to_a_minute_and_no_further(failures: int, wish: float | None) -> None:
    pace = Pace(0.25, 5.0, random.Random(1))
    assert min(wish or 0.0, 60.0) <= pace.delay_after_failure(failures, wish) <= 60.0


# -------------------------------------------------------------------------------- what the loop tells of runs


class Listening(Pace):
    """Keeps what it was taught."""

    def __init__(self) -> None:
        super().__init__(0.001, 0.01, random.Random(1))
        self.heard: list[tuple[str | None, bool, bool]] = []

    def found(self, wait: Wait, now: float) -> None:
        if not wait.over:
            assert 0.0 <= wait.looked <= now - wait.since
            self.heard.append((wait.assistant, wait.first, wait.looked > 0.0))
        super().found(wait, now)


async def played(store: Store, platform: FakePlatform, *looks: RunSnapshot | Exception) -> Listening:
    harness, pace = Harness(store), Listening()
    harness.platform = platform
    platform.script("run_1", *looks)
    await harness.conversation()
    await harness.announce()
    worker = harness.worker()
    worker._driver._pace = worker._watched._pace = pace
    await worker.run_until_idle()
    return pace


WORKING = RunSnapshot(RunStatus.WORKING, "in_progress", assistant="asst_1")


async def test_each_wait_teaches_once_when_it_asks_and_when_it_ends(store: Store) -> None:
    pace = await played(store, FakePlatform(), WORKING, asks(call(1)), WORKING, COMPLETED)
    assert pace.heard == [("asst_1", True, True), ("asst_1", False, True)]


async def test_a_failed_submit_teaches_nothing_more(store: Store) -> None:
    platform = FakePlatform()
    platform.submit_faults.append((PlatformUnavailable(500), False))
    pace = await played(store, platform, WORKING, asks(call(1)), WORKING, COMPLETED)
    assert pace.heard == [("asst_1", True, True), ("asst_1", False, True)]


async def test_a_submit_found_taken_later_begins_a_wait_of_unknown_age(store: Store) -> None:
    platform = FakePlatform()
    platform.submit_faults.append((PlatformUnavailable(500), True))
    pace = await played(store, platform, WORKING, asks(call(1)), WORKING, COMPLETED)
    assert pace.heard == [("asst_1", True, True)]


async def test_an_answered_call_that_is_still_shown_is_not_taken_for_a_new_one(store: Store) -> None:
    class Slow(FakePlatform):
        """Takes every answer, and shows the call for one more look."""

        async def inspect(self, ref: RunRef) -> RunSnapshot:
            looks = self.scripts[ref.run_id]
            look = looks.popleft() if len(looks) > 1 else looks[0]
            assert isinstance(look, RunSnapshot)
            return look

        async def submit(self, ref: RunRef, answers: Sequence[Answer], *, again: bool = False) -> None:
            pass

    pace = await played(store, Slow(), WORKING, asks(call(1)), asks(call(1)), WORKING, COMPLETED)
    assert pace.heard == [("asst_1", True, True), ("asst_1", False, True)]


async def test_a_look_that_failed_is_no_look_that_found_nothing(store: Store) -> None:
    pace = await played(store, FakePlatform(), PlatformUnavailable(500), COMPLETED)
    assert pace.heard == [(None, True, False)]


def test_when_webhooks_stop_runs_are_looked_at_as_often_as_before() -> None:
    pace = Pace(0.25, 5.0, random.Random(1), told=True)
    wait = Wait(since=0.0, first=True)
    eager = pace.delay(wait, 0.0)
    pace.learn(told=True)
    assert pace.delay(wait, 0.0) >= 4.0
    for _ in range(9):
        pace.learn(told=False)
    assert pace.delay(wait, 0.0) >= 4.0
    pace.learn(told=False)
    assert pace.delay(wait, 0.0) < 1.0 > eager
    pace.learn(told=False)
    assert pace.delay(wait, 0.0) < 1.0


# ------------------------------------------------------------------------------- what comes of it, in numbers


@pytest.mark.untraced
@pytest.mark.parametrize("name", ["tight", "long tail", "two kinds", "drifting", "memoryless"])
def test_no_fixed_interval_has_both_less_lag_and_fewer_reads(name: str) -> None:
    durations = times(name, 2000)
    ours = learned(durations)
    for interval in FIXED_S:
        theirs = fixed(durations[500:], interval)
        assert ours.mean < theirs.mean or ours.reads < theirs.reads


@pytest.mark.untraced
@pytest.mark.parametrize(("name", "less"), [("tight", 0.5), ("two kinds", 0.3), ("drifting", 0.4)])
def test_as_many_reads_find_sooner_than_at_a_fixed_interval(name: str, less: float) -> None:
    durations = times(name, 2000)
    ours = learned(durations)
    assert ours.mean < (1 - less) * fixed_with_reads(durations[500:], ours.reads).mean


@pytest.mark.untraced
@pytest.mark.parametrize("times_too_many", [2, 5])
async def test_too_many_runs_are_all_looked_at_later_by_the_same(times_too_many: int) -> None:
    wish = (await overload(1e9, runs=60, seconds=60.0)).reads_a_second
    load = await overload(wish / times_too_many, runs=60, seconds=60.0)
    assert load.reads_a_second == pytest.approx(wish / times_too_many, rel=0.02)
    assert load.unevenness < 1.15
    assert load.gini < 0.03

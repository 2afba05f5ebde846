"""When a run is polled next: as often as the read budget allows, in turn, and at once after a wake-up."""

import random
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from worker.engine.pacing import Agenda, Pace, TokenBucket, just_announced
from worker.model import Run, RunRef

SECONDS = st.floats(0.0, 5000.0)


class VirtualClock:
    """Time passes only by waiting for it."""

    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        self.now += max(0.0, seconds)


def claimed(
    *, rounds: int = 0, known_s: float = 0.0, thread: str | None = "thread_1", wake_count: int = 0
) -> Run:
    return Run(RunRef("run_1", thread), "c1", epoch=1, rounds=rounds, known_s=known_s, wake_count=wake_count)


def default_pace(*, webhooks: bool = False) -> Pace:
    return Pace(0.25, 5.0, random.Random(1), webhooks=webhooks)


def relying_on_webhooks() -> Pace:
    pace = default_pace(webhooks=True)
    pace.record_source(wake_up=True)
    return pace


@settings(max_examples=80, deadline=None)
@given(st.floats(0.001, 5.0), SECONDS, st.floats(0.0, 20.0), st.none() | st.floats(0.0, 300.0))
def test_the_next_poll_comes_a_minimum_after_the_last_and_never_before_the_hint(
    minimum: float, polled_at: float, took: float, hint: float | None
) -> None:
    now = polled_at + took
    due = Pace(minimum, 5.0).next_poll(polled_at, now, hint)
    floor = now + min(hint or 0.0, 60.0)
    assert floor <= due + 1e-9
    assert due == pytest.approx(floor) or due == pytest.approx(polled_at + minimum, abs=0.051)


def test_the_time_a_poll_takes_is_part_of_the_interval() -> None:
    """Counted from its answer, each poll would add the platform's latency to the customer's wait."""
    assert default_pace().next_poll(100.0, 100.2) == pytest.approx(100.25)


@given(st.floats(0.0, 10_000.0))
def test_the_first_poll_of_a_new_run_comes_within_the_first_interval(now: float) -> None:
    assert now <= default_pace().first_poll(claimed(), now) <= now + 0.25


def test_runs_that_begin_together_are_polled_apart() -> None:
    pace = default_pace()
    dues = [pace.first_poll(claimed(), 0.0) for _ in range(1000)]
    per_tick = Counter(int(due / 0.05) for due in dues)
    assert max(per_tick.values()) < 300


@pytest.mark.parametrize("pace", [default_pace(), relying_on_webhooks()])
def test_a_run_that_was_announced_long_ago_is_polled_at_once(pace: Pace) -> None:
    """Its process may have been killed while the run waited for an answer."""
    assert pace.first_poll(claimed(known_s=60.0), 100.0) == 100.0


@pytest.mark.parametrize(
    ("rounds", "known_s", "expected"), [(0, 60.0, True), (1, 0.1, True), (1, 60.0, False)]
)
def test_only_a_run_without_rounds_or_with_a_fresh_announcement_is_just_announced(
    rounds: int, known_s: float, expected: bool
) -> None:
    assert just_announced(claimed(rounds=rounds, known_s=known_s)) is expected


@given(st.integers(0, 5000), st.none() | st.floats(0.0, 1e6))
def test_delays_after_failures_grow_to_a_minute_and_no_further(
    failures: int, retry_after: float | None
) -> None:
    delay = default_pace().delay_after_failure(failures, retry_after)
    assert min(retry_after or 0.0, 60.0) <= delay <= 60.0


# -------------------------------------------------------------------------------------------------- webhooks


def test_while_webhooks_arrive_polls_are_only_the_safety_net() -> None:
    pace = relying_on_webhooks()
    assert pace.next_poll(100.0, 100.1) == pytest.approx(105.0)
    assert pace.first_poll(claimed(), 100.0) == pytest.approx(105.0)


def test_a_webhook_that_comes_after_a_poll_found_the_call_is_relied_on_as_well() -> None:
    """Else polls would win every time, and go on for ever."""
    pace = default_pace(webhooks=True)
    for _ in range(20):
        pace.record_source(wake_up=False)
        pace.webhook_arrived()
    assert pace.next_poll(100.0, 100.0) == pytest.approx(105.0)


def test_a_webhook_that_came_before_the_claim_is_not_waited_for() -> None:
    assert relying_on_webhooks().first_poll(claimed(wake_count=1), 100.0) == 100.0


def test_a_run_without_a_thread_is_polled_soon_although_webhooks_arrive() -> None:
    """Its webhook is lost if it comes before the announcement: nothing connects it with a conversation."""
    assert relying_on_webhooks().first_poll(claimed(thread=None), 100.0) <= 100.25
    continued = claimed(thread=None, rounds=1)
    assert relying_on_webhooks().first_poll(continued, 100.0) == pytest.approx(105.0)


def test_when_webhooks_stop_runs_are_polled_as_often_as_without_them() -> None:
    pace = relying_on_webhooks()
    for _ in range(9):
        pace.record_source(wake_up=False)
    assert pace.next_poll(100.0, 100.0) == pytest.approx(105.0)
    pace.record_source(wake_up=False)
    assert pace.next_poll(100.0, 100.0) == pytest.approx(100.25)
    pace.record_source(wake_up=False)
    assert pace.next_poll(100.0, 100.0) == pytest.approx(100.25)


def test_an_announcement_alone_makes_no_process_rely_on_webhooks_it_does_not_receive() -> None:
    pace = default_pace(webhooks=False)
    pace.record_source(wake_up=True)
    assert pace.next_poll(100.0, 100.0) == pytest.approx(100.25)


# ---------------------------------------------------------------------------------------- sharing the budget


class Polls:
    """The loop's polling, in virtual time: `counts` and `latest` by run."""

    def __init__(self, runs: int, rate: float) -> None:
        self.clock = VirtualClock()
        self.agenda, self.bucket = Agenda(self.clock), TokenBucket(rate, self.clock)
        self.pace = default_pace()
        self.counts: Counter[str] = Counter()
        self.gaps: list[float] = []
        self._latest: dict[str, float] = {}
        for number in range(runs):
            self.agenda.schedule(f"run_{number}", self.pace.first_poll(claimed(), self.clock.now))

    async def one(self) -> str | None:
        await self.agenda.ready()
        await self.bucket.take()
        run_id = self.agenda.pop()
        if run_id is not None:
            now = self.clock.now
            self.counts[run_id] += 1
            self.gaps.append(now - self._latest.get(run_id, now))
            self._latest[run_id] = now
            self.agenda.schedule(run_id, self.pace.next_poll(now, now))
        return run_id

    async def go_on(self, seconds: float) -> None:
        end = self.clock.now + seconds
        while self.clock.now < end:
            await self.one()


async def test_while_the_budget_is_not_used_up_every_run_is_polled_each_minimum() -> None:
    polls = Polls(runs=20, rate=200.0)
    await polls.go_on(10.0)
    assert set(polls.counts.values()) <= {39, 40, 41}
    assert max(polls.gaps) < 0.3


@pytest.mark.parametrize(("runs", "interval_s"), [(300, 1.5), (1000, 5.0), (3000, 15.0)])
async def test_beyond_the_budget_all_runs_wait_proportionally_longer(runs: int, interval_s: float) -> None:
    """Also beyond POLL_MAX_S, which the read budget overrides (contract §2)."""
    polls = Polls(runs, rate=200.0)
    await polls.go_on(4 * interval_s)
    assert polls.counts.total() == pytest.approx(200.0 * 4 * interval_s, rel=0.03)
    assert max(polls.counts.values()) - min(polls.counts.values()) <= 1
    assert max(polls.gaps) == pytest.approx(interval_s, rel=0.1)


async def test_a_wake_up_is_polled_next_however_many_runs_are_overdue() -> None:
    polls = Polls(runs=1000, rate=200.0)
    await polls.go_on(10.0)
    woken = min(polls.counts, key=polls.counts.__getitem__)
    polls.agenda.schedule_first(woken)
    assert await polls.one() == woken


async def test_a_cancelled_poll_does_not_happen() -> None:
    polls = Polls(runs=3, rate=200.0)
    polls.agenda.cancel("run_1")
    await polls.go_on(2.0)
    assert polls.counts.keys() == {"run_0", "run_2"}

"""Replies are read and checked after a run has ended, behind every poll (contract §10)."""

import asyncio
import contextlib
from collections.abc import AsyncIterator

import pytest

from tests.engine.harness import Harness
from tests.fakes import COMPLETED, FakePlatform, until
from tests.store.harness import Rig
from worker import metrics
from worker.engine.pacing import TokenBucket
from worker.engine.reply_check import WAITING, EndedReplies
from worker.errors import PlatformUnavailable, RunGone
from worker.model import ReplySource, Run, RunRef
from worker.personal import Personal
from worker.store.store import Store

LIE = "Abri seu chamado!"


class Time:
    """A clock that is moved by waiting on it."""

    def __init__(self) -> None:
        self.now = 0.0

    def monotonic(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        self.now += seconds
        await asyncio.sleep(0)


def unread() -> float:
    return metrics.registry.get_sample_value("ticket_worker_replies_total", {"verdict": "unread"}) or 0.0


def a_run(run_id: str = "run_1") -> Run:
    return Run(RunRef(run_id, "thread_c1"), "c1", epoch=1, rounds=0, known_s=0.0)


@contextlib.asynccontextmanager
async def serving(store: Store, platform: FakePlatform) -> AsyncIterator[EndedReplies]:
    clock = Time()
    replies = EndedReplies(platform, store.replies, TokenBucket(100.0, clock), clock)
    task = asyncio.create_task(replies.run())
    try:
        yield replies
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


async def checks(rig: Rig, count: int = 1) -> list[tuple[str | None, str, str]]:
    """The stored checks, once there are so many: run, source, codes."""
    async with asyncio.timeout(10):
        while len(rows := await rig.rows("reply_checks")) < count:  # noqa: ASYNC110  # no event to wait for
            await asyncio.sleep(0.01)
    return [(row.run_id, row.source, row.codes) for row in rows]


async def test_what_was_said_in_an_ended_run_is_read_once_and_checked(rig: Rig) -> None:
    await rig.conversation()
    platform = FakePlatform()
    platform.said["run_1"] = LIE
    async with serving(rig.store, platform) as replies:
        replies.add(a_run(), None)
        assert await checks(rig) == [("run_1", "run", "ticket_nao_aberto")]
    assert platform.reads == ["run_1"]


async def test_a_reply_that_the_run_itself_holds_costs_no_read(rig: Rig) -> None:
    await rig.conversation()
    platform = FakePlatform()
    async with serving(rig.store, platform) as replies:
        replies.add(a_run(), Personal("Até logo!"))
        assert await checks(rig) == [("run_1", "run", "")]
    assert platform.reads == []


async def test_a_run_whose_reply_the_bot_had_checked_is_not_read(rig: Rig) -> None:
    await rig.conversation()
    await rig.run()
    await rig.store.replies.record("c1", "run_1", ReplySource.API, [])
    platform = FakePlatform()
    platform.said["run_2"] = LIE
    async with serving(rig.store, platform) as replies:
        replies.add(a_run(), None)
        replies.add(a_run("run_2"), None)
        assert (await checks(rig, 2))[1:] == [("run_2", "run", "ticket_nao_aberto")]
    assert platform.reads == ["run_2"]


@pytest.mark.parametrize("said", [PlatformUnavailable(503), RunGone(404), TypeError("odd"), None, "  "])
async def test_a_reply_that_cannot_be_read_is_counted_and_the_next_one_is_checked(
    rig: Rig, said: str | Exception | None
) -> None:
    await rig.conversation()
    platform = FakePlatform()
    platform.said |= {"run_2": LIE} | ({} if said is None else {"run_1": said})
    before = unread()
    async with serving(rig.store, platform) as replies:
        replies.add(a_run(), None)
        replies.add(a_run("run_2"), None)
        assert await checks(rig) == [("run_2", "run", "ticket_nao_aberto")]
    assert unread() == before + 1


async def test_a_conversation_erased_meanwhile_is_skipped(rig: Rig) -> None:
    await rig.store.erasures.erase_conversation(await rig.conversation(), by="test")
    platform = FakePlatform()
    platform.said["run_1"] = LIE
    before = unread()
    async with serving(rig.store, platform) as replies:
        replies.add(a_run(), None)
        await until(lambda: unread() > before)
    assert await rig.rows("reply_checks") == []


async def test_nothing_is_read_when_it_is_switched_off(rig: Rig) -> None:
    clock = Time()
    replies = EndedReplies(FakePlatform(), rig.store.replies, TokenBucket(1.0, clock), clock, enabled=False)
    replies.add(a_run(), Personal(LIE))
    assert replies.waiting == 0


async def test_of_too_many_replies_the_oldest_are_given_up(rig: Rig) -> None:
    clock = Time()
    replies = EndedReplies(FakePlatform(), rig.store.replies, TokenBucket(1.0, clock), clock)
    before = unread()
    for number in range(WAITING + 3):
        replies.add(a_run(f"run_{number}"), None)
    assert (replies.waiting, unread() - before) == (WAITING, 3)


async def test_a_read_of_a_reply_waits_behind_polls_and_makes_none_wait() -> None:
    clock = Time()
    bucket = TokenBucket(10.0, clock)
    await bucket.take()  # the burst is one
    await bucket.take()
    polled_at = clock.now
    await bucket.take_spare()
    assert clock.now == pytest.approx(polled_at + 0.1)
    began = clock.now
    await bucket.take()
    assert clock.now == pytest.approx(began + 0.1)


async def test_a_worker_checks_a_run_it_has_seen_end(rig: Rig) -> None:
    """End to end in one process: the loop closes the run, then its reply is read."""
    harness = Harness(rig.store)
    await harness.conversation()
    await harness.announce()
    harness.platform.script("run_1", COMPLETED)
    harness.platform.said["run_1"] = LIE
    worker = harness.worker(head_start_s=0.0)
    async with asyncio.timeout(20), asyncio.TaskGroup() as tasks:
        tasks.create_task(worker.run())
        assert await checks(rig) == [("run_1", "run", "ticket_nao_aberto")]
        worker.stop()
    assert (await rig.row("runs")).state == "ended"

"""Event delivery between a real outbox and a real socket: delivered once, in order, or tried again."""

import asyncio
import contextlib
import json
import socket
import time
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from standardwebhooks import Webhook, WebhookVerificationError

from tests.fakes import until
from tests.raw_server import Act, Exchange, Gate, RawServer, reply, reset, say
from tests.store.harness import Rig
from worker import logs, metrics
from worker.background.event_delivery import BotHealth, EventDelivery
from worker.errors import StoreError
from worker.model import Event, EventState
from worker.settings import Settings
from worker.store.ledger.outbox import Outbox
from worker.store.store import Store

SECRET = "whsec_c2VncmVkbyBkbyBib3Q="
HOUR_S = 3600.0
PENDING, DELIVERED, STUCK = EventState.PENDING, EventState.DELIVERED, EventState.STUCK


class Idle(Exception):
    """Nothing was left to deliver."""


class UntilIdle:
    """A clock that ends the delivery's work instead of waiting."""

    def monotonic(self) -> float:
        raise AssertionError("event delivery goes by the database's clock")

    async def sleep(self, seconds: float) -> None:
        raise Idle


class Idles:
    """A clock that waits for nothing, and lets the others run."""

    def monotonic(self) -> float:
        raise AssertionError("event delivery goes by the database's clock")

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(0)


@pytest.fixture
async def rig(make_settings: Callable[..., Settings], database_file: str) -> AsyncIterator[Rig]:
    """A store whose bot wants events."""
    store = await Store.open(make_settings(BOT_WEBHOOK_URL="http://127.0.0.1/"), "assistants", owner=True)
    yield Rig(store)
    await store.close()


async def put(rig: Rig, *numbers: int, conversation: str = "c1") -> None:
    """Events of one conversation, each with its number."""
    async with rig.store.database.write() as connection:
        for number in numbers:
            await rig.store.outbox.put(connection, conversation, "ticket.opened", {"number": number})


async def states(rig: Rig) -> list[str]:
    return [row.state for row in await rig.rows("outbox")]


async def reached(rig: Rig, *expected: str) -> None:
    """Wait until the events are in these states."""
    async with asyncio.timeout(20):
        while await states(rig) != list(expected):  # noqa: ASYNC110  # a database has no event to wait for
            await asyncio.sleep(0.005)


async def due_again(rig: Rig) -> None:
    """As if every wait were over."""
    await rig.change("outbox", {"due": 0.0})


async def burst(
    rig: Rig, url: str, *, timeout_s: float = 5.0, owner: str = "me", health: BotHealth | None = None
) -> bool:
    """Deliver until nothing is due; False when event delivery has stopped by itself."""
    delivery = EventDelivery(
        rig.store.outbox, owner, url, SECRET, UntilIdle(), timeout_s=timeout_s, health=health
    )
    try:
        await delivery.run()
    except Idle:
        return True
    return False


@contextlib.asynccontextmanager
async def delivering(delivery: EventDelivery) -> AsyncIterator[asyncio.Task[None]]:
    """A delivery at work beside the test."""
    task = asyncio.create_task(delivery.run())
    try:
        yield task
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


@contextlib.asynccontextmanager
async def a_bot(*acts: Act, default: Act | None = None) -> AsyncIterator[RawServer]:
    async with RawServer(*acts, default=default).running() as server:
        yield server


def numbers(bot: RawServer) -> list[int]:
    """The events that the bot received, in order."""
    return [json.loads(request.body)["data"]["number"] for request in bot.requests]


# -------------------------------------------------------------------------------------------- what is sent


async def test_an_event_arrives_as_it_was_written_and_is_delivered_once(rig: Rig) -> None:
    await put(rig, 1)
    async with a_bot() as bot:
        assert await burst(rig, bot.url)
        assert await burst(rig, bot.url)
        (request,) = bot.requests
    row = await rig.row("outbox")
    assert (row.state, row.result, row.owner) == (DELIVERED, "http_200", None)
    assert row.delivered_at
    assert request.body.decode() == row.body
    assert json.loads(request.body).keys() == {"type", "timestamp", "data"}
    assert request.head.startswith("POST ")
    assert request.headers["content-type"] == "application/json; charset=utf-8"
    assert request.headers["webhook-id"] == row.event_id


async def test_the_bot_can_verify_who_tells(rig: Rig) -> None:
    await put(rig, 1)
    async with a_bot() as bot:
        await burst(rig, bot.url)
        (request,) = bot.requests
    assert Webhook(SECRET).verify(request.body, request.headers)
    with pytest.raises(WebhookVerificationError):
        Webhook("whsec_b3V0cm8=").verify(request.body, request.headers)


@pytest.mark.parametrize("status", [200, 201, 202, 299])
async def test_any_2xx_is_delivered(rig: Rig, status: int) -> None:
    await put(rig, 1)
    async with a_bot(reply(status, b"<html>")) as bot:
        await burst(rig, bot.url)
    assert await states(rig) == [DELIVERED]


async def says_yes_and_hangs(exchange: Exchange) -> bool:
    await exchange.write(b"HTTP/1.1 200 X\r\nContent-Length: 100\r\n\r\n")
    await asyncio.Event().wait()
    return False


@pytest.mark.parametrize(
    ("act", "timeout_s"),
    [
        (says_yes_and_hangs, 2.0),
        (say(b"HTTP/1.1 204 X\r\n\r\n"), 30.0),
        (say(b"HTTP/1.1 200 X\r\nContent-Length: 100\r\n\r\n{"), 30.0),
        (reply(200, b"lixo", Content_Encoding="gzip"), 30.0),
    ],
)
async def test_what_follows_a_2xx_does_not_matter(rig: Rig, act: Act, timeout_s: float) -> None:
    await put(rig, 1)
    async with a_bot(act) as bot:
        await burst(rig, bot.url, timeout_s=timeout_s)
    assert await states(rig) == [DELIVERED]


async def test_events_share_a_connection(rig: Rig) -> None:
    await put(rig, 1, 2, 3)
    async with a_bot(default=reply(200, b'{"ok": true}')) as bot:
        await burst(rig, bot.url)
        assert (numbers(bot), bot.connections) == ([1, 2, 3], 1)


async def test_events_to_a_bot_on_this_machine_bypass_the_proxy(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    await put(rig, 1)
    async with a_bot(default=reply(500)) as proxy, a_bot() as bot:
        for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
            monkeypatch.setenv(name, proxy.url.removesuffix("/abrir_ticket"))
        for name in ("no_proxy", "NO_PROXY"):
            monkeypatch.delenv(name, raising=False)
        await burst(rig, bot.url)
        assert (len(bot.requests), len(proxy.requests)) == (1, 0)


# ------------------------------------------------------------------------------------------ tried once more


@pytest.mark.parametrize(
    ("act", "result"),
    [
        *((reply(status), f"http_{status}") for status in (300, 304, 400, 401, 404, 409, 429, 500, 503)),
        (reply(302, Location="/outro"), "http_302"),
        (reset(), "reset"),
        (say(b""), "eof"),
        (say(b"lixo\r\n\r\n"), "eof"),
    ],
)
async def test_anything_else_is_tried_again_later(rig: Rig, act: Act, result: str) -> None:
    await put(rig, 1)
    async with a_bot(act) as bot:
        assert await burst(rig, bot.url)
        assert len(bot.requests) == 1
        row = await rig.row("outbox")
        assert (row.state, row.result, row.tries, row.owner) == (PENDING, result, 1, None)
        await due_again(rig)
        assert await burst(rig, bot.url)
    assert (await states(rig), len(bot.requests)) == ([DELIVERED], 2)


async def test_a_bot_that_is_not_there_is_tried_again_later(rig: Rig) -> None:
    await put(rig, 1)
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        assert await burst(rig, f"http://127.0.0.1:{unused.getsockname()[1]}/")
    assert (await rig.row("outbox")).result == "connect"


async def test_a_bot_that_hangs_is_tried_again_later(rig: Rig) -> None:
    await put(rig, 1)
    async with a_bot(Gate(reply())) as bot:
        assert await burst(rig, bot.url, timeout_s=0.1)
    assert (await rig.row("outbox")).result == "timeout"


async def test_an_address_that_httpx_cannot_use_does_not_end_the_daemon(rig: Rig) -> None:
    await put(rig, 1)
    assert await burst(rig, "http://[::1")
    assert (await rig.row("outbox")).tries == 1


async def test_every_try_has_the_events_own_id_and_bytes(rig: Rig) -> None:
    await put(rig, 1)
    async with a_bot(reply(500), reset()) as bot:
        for _ in range(3):
            await burst(rig, bot.url)
            await due_again(rig)
        assert len(bot.requests) == 3
        assert len({(request.headers["webhook-id"], request.body) for request in bot.requests}) == 1
        assert all(Webhook(SECRET).verify(each.body, each.headers) for each in bot.requests)


# ------------------------------------------------------------------------------------------------ the waits


@dataclass
class Paper:
    """An outbox that holds one event once, and remembers how it ended."""

    tries: int = 0
    became: list[tuple[str, str, float | None]] = field(default_factory=list)
    fails: bool = False

    async def claim(self, owner: str, limit: int, lease_s: float) -> Sequence[Event]:
        return [] if self.became else [Event("msg_1", '{"data": {}}', self.tries, owner)]

    async def delivered(self, event: Event, result: str) -> None:
        if self.fails:
            raise StoreError
        self.became.append(("delivered", result, None))

    async def retry(self, event: Event, result: str, wait_s: float) -> None:
        self.became.append(("retry", result, wait_s))

    async def give_up(self, event: Event, result: str) -> None:
        self.became.append(("give_up", result, None))


async def on_paper(outbox: Outbox, act: Act) -> None:
    async with a_bot(act) as bot:
        with contextlib.suppress(Idle):
            await EventDelivery(outbox, "me", bot.url, SECRET, UntilIdle(), timeout_s=5.0).run()


@pytest.mark.parametrize(
    ("tries", "wait_s"),
    [(0, 5), (1, 10), (2, 20), (9, 2560), (10, 3600), (11, 3600), (80, 3600)],
)
async def test_waits_double_from_five_seconds_to_an_hour(tries: int, wait_s: float) -> None:
    outbox = Paper(tries)
    await on_paper(outbox, reply(503))
    assert outbox.became == [("retry", "http_503", wait_s)]


@pytest.mark.parametrize(
    ("tries", "act", "became"),
    [
        (80, reply(503), ("retry", "http_503", 3600.0)),
        (81, reply(503), ("give_up", "http_503", None)),
        (81, reply(200), ("delivered", "http_200", None)),
    ],
)
async def test_an_event_is_tried_until_the_waits_come_to_72_hours(
    tries: int, act: Act, became: tuple[str, str, float | None]
) -> None:
    outbox = Paper(tries)
    await on_paper(outbox, act)
    assert outbox.became == [became]


async def test_time_in_which_no_daemon_ran_does_not_count(rig: Rig) -> None:
    await put(rig, 1)
    await rig.ago(80 * HOUR_S, "outbox", "created_at")
    async with a_bot(reply(503), reply(503)) as bot:
        for _ in range(3):
            await burst(rig, bot.url)
            await due_again(rig)
    assert await states(rig) == [DELIVERED]


async def test_a_database_that_cannot_record_ends_the_delivery() -> None:
    with pytest.RaisesGroup(StoreError):
        await on_paper(Paper(fails=True), reply())


async def test_an_event_that_is_given_up_is_kept_and_reported_to_the_operator_and_the_next_one_goes(
    rig: Rig, tmp_path: Path
) -> None:
    await put(rig, 1, 2)
    old = (await rig.rows("outbox"))[0]
    await rig.change("outbox", {"tries": 81}, event_id=old.event_id)
    async with a_bot(reply(500)) as bot:
        lines = await logged(tmp_path, burst(rig, bot.url))
        assert numbers(bot) == [1, 2]
    assert await states(rig) == [STUCK, DELIVERED]
    assert lines == [
        "! o bot não recebe os eventos; eles esperam | code=http_500",
        "! evento não entregue em 72 h: precisa de uma pessoa | code=http_500",
        "✅ o bot voltou a receber eventos",
    ]


async def logged(folder: Path, work: Any) -> list[str]:
    """The messages that this work writes to the log."""
    path = logs.setup(directory=folder, fmt="json")
    assert path
    try:
        await work
    finally:
        logs.shutdown()
    return [json.loads(line)["message"] for line in path.read_text("utf-8").splitlines()]


async def test_a_bot_that_refuses_for_hours_is_one_line_and_one_for_a_new_cause_and_for_its_return(
    rig: Rig, tmp_path: Path
) -> None:
    await put(rig, 1)
    refused = metrics.bot_errors.labels("http_503")._value.get()
    async with a_bot(reply(503), reply(503), reply(500), reply()) as bot:

        async def work() -> None:
            for since, outage in ((True, "http_503"), (True, "http_503"), (True, "http_500"), (False, None)):
                await due_again(rig)
                await burst(rig, bot.url, health=health)
                shown = metrics.vitals().bot_outage
                assert (shown is not None and time.time() - shown[1] < 60) is since
                assert (shown[0] if shown else None) == outage

        health = BotHealth()
        lines = await logged(tmp_path, work())
    assert lines == [
        "! o bot não recebe os eventos; eles esperam | code=http_503",
        "! o bot não recebe os eventos; eles esperam | code=http_500",
        "✅ o bot voltou a receber eventos",
    ]
    assert metrics.bot_errors.labels("http_503")._value.get() == refused + 2


# -------------------------------------------------------------------------------------------------- the 410


async def test_a_410_turns_delivery_off_until_restart(rig: Rig, tmp_path: Path) -> None:
    await put(rig, 1, 2)
    await put(rig, 3, conversation="c2")
    async with a_bot(default=reply(410)) as bot:
        stopped: list[bool] = []

        async def work() -> None:
            stopped.append(not await burst(rig, bot.url))

        lines = await logged(tmp_path, work())
        assert stopped == [True]
        assert sorted(numbers(bot)) == [1, 3]
        assert lines == [
            "! o bot não recebe os eventos; eles esperam | code=http_410",
            "! o bot respondeu 410: entrega de eventos desligada até reiniciar",
        ]
        assert await states(rig) == [PENDING] * 3
        await due_again(rig)
        bot.default = reply()
        bot.requests.clear()
        assert await burst(rig, bot.url)
        assert await states(rig) == [DELIVERED] * 3


# ---------------------------------------------------------------------------------- order, and not in the way


async def test_the_events_of_a_conversation_go_in_order_whatever_fails(rig: Rig) -> None:
    await put(rig, 1, 2, 3)
    async with a_bot(reply(500)) as bot:
        await burst(rig, bot.url)
        assert numbers(bot) == [1]
        await due_again(rig)
        await burst(rig, bot.url)
        assert numbers(bot) == [1, 1, 2, 3]


async def test_what_fails_for_one_conversation_does_not_hold_up_another(rig: Rig) -> None:
    await put(rig, 1, 2, conversation="c1")
    await put(rig, 11, 12, conversation="c2")

    async def dislikes_one(exchange: Exchange) -> bool:
        bad = json.loads(exchange.body)["data"]["number"] == 1
        return await reply(500 if bad else 200)(exchange)

    async with a_bot(default=dislikes_one) as bot:
        await burst(rig, bot.url)
        assert sorted(numbers(bot)) == [1, 11, 12]
    assert await states(rig) == [PENDING, PENDING, DELIVERED, DELIVERED]


async def test_a_bot_that_is_slow_about_one_event_gets_the_others_meanwhile(rig: Rig) -> None:
    await put(rig, 1, conversation="c1")
    await put(rig, 11, conversation="c2")
    slow = Gate(reply())

    async def slow_about_one(exchange: Exchange) -> bool:
        first = json.loads(exchange.body)["data"]["number"] == 1
        return await (slow if first else reply())(exchange)

    async with a_bot(default=slow_about_one) as bot:
        delivery = EventDelivery(rig.store.outbox, "me", bot.url, SECRET, Idles(), timeout_s=20.0)
        async with delivering(delivery):
            await reached(rig, PENDING, DELIVERED)
            slow.opened.set()
            await reached(rig, DELIVERED, DELIVERED)


async def test_events_that_come_later_wait_for_a_slow_one_no_longer_than_its_limit(rig: Rig) -> None:
    await put(rig, 1, conversation="c1")
    hangs = Gate(reply())
    async with a_bot(hangs) as bot:
        delivery = EventDelivery(rig.store.outbox, "me", bot.url, SECRET, Idles(), timeout_s=0.2)
        async with delivering(delivery):
            await hangs.arrived.acquire()
            await put(rig, 11, conversation="c2")
            await until(lambda: len(bot.requests) == 2)
        assert numbers(bot) == [1, 11]


# ------------------------------------------------------------------------------------------ other processes


async def test_an_event_that_another_process_took_is_left_to_it_while_it_lives(rig: Rig) -> None:
    await put(rig, 1, 2)
    assert len(await rig.store.outbox.claim("other", 10, 30.0)) == 1
    async with a_bot() as bot:
        await burst(rig, bot.url)
        assert bot.requests == []
        await rig.ago(1.0, "outbox", "lease_until", owner="other")
        await burst(rig, bot.url)
        assert numbers(bot) == [1, 2]


async def test_two_processes_share_the_events_and_keep_each_conversations_order(rig: Rig) -> None:
    for conversation in range(10):
        await put(rig, conversation, 100 + conversation, conversation=f"c{conversation}")
    async with a_bot() as bot:
        deliveries = [
            EventDelivery(rig.store.outbox, name, bot.url, SECRET, Idles(), timeout_s=5.0)
            for name in ("a", "b")
        ]
        async with delivering(deliveries[0]), delivering(deliveries[1]):
            await reached(rig, *[DELIVERED] * 20)
        received = numbers(bot)
    assert sorted(received) == [*range(10), *range(100, 110)]
    assert all(received.index(number) < received.index(100 + number) for number in range(10))


async def test_a_delivery_that_is_cancelled_hangs_up_and_leaves_its_event_pending(rig: Rig) -> None:
    await put(rig, 1)
    hangs = Gate(reply())
    async with a_bot(hangs) as bot:
        delivery = EventDelivery(rig.store.outbox, "me", bot.url, SECRET, Idles(), timeout_s=20.0)
        task = asyncio.create_task(delivery.run())
        await hangs.arrived.acquire()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert delivery._http.is_closed
        assert await states(rig) == [PENDING]
        await rig.ago(1.0, "outbox", "lease_until")
        assert await burst(rig, bot.url)
        assert numbers(bot) == [1, 1]
    assert await states(rig) == [DELIVERED]


async def test_an_idle_delivery_asks_again_every_second(rig: Rig) -> None:
    slept: list[float] = []

    class Counts(Idles):
        async def sleep(self, seconds: float) -> None:
            slept.append(seconds)
            await put(rig, 1)
            if len(slept) == 2:
                raise Idle

    async with a_bot() as bot:
        with pytest.raises(Idle):
            await EventDelivery(rig.store.outbox, "me", bot.url, SECRET, Counts(), timeout_s=5.0).run()
        assert (slept, len(bot.requests)) == ([1.0, 1.0], 1)

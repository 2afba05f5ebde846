"""The guard over real sockets: what each failure means for the ticket, and how often a POST is sent."""

import asyncio
import contextlib
import gzip
import logging
import re
import socket
import ssl
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from pathlib import Path

import httpx
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tests.raw_server import Act, Gate, RawServer, answer, reply, reset, say, trickle
from worker.errors import StoreError, Withdrawn
from worker.outbound import client
from worker.outbound import guard as guard_module
from worker.outbound import post as posting
from worker.outbound.guard import Guard, GuardPolicy, Undelivered
from worker.outbound.post import Delivered, Failed

BODY = '{"documento": "52998224725", "resumo": "Ação: Ç"}'.encode()
HEADERS = {"Content-Type": "application/json; charset=utf-8", "Idempotency-Key": "tw-1"}

ONCE = GuardPolicy(
    timeout_s=5,
    max_attempts=1,
    backoff_base_s=0.001,
    backoff_max_s=0.001,
    breaker_failures=1_000,
    breaker_reset_s=30,
    concurrency=32,
    resend_ambiguous=False,
)
THRICE = replace(ONCE, max_attempts=3)
RESENDING = replace(THRICE, resend_ambiguous=True)
TOUCHY = replace(ONCE, breaker_failures=2)
LONG_BACKOFF = replace(THRICE, backoff_base_s=3_600, backoff_max_s=3_600)

REFUSED_FOR_GOOD = Undelivered(refused=True, certain=True)
CERTAIN = Undelivered(refused=False, certain=True)
AMBIGUOUS = Undelivered(refused=False, certain=False)


class Clock:
    """A clock that a test sets."""

    def __init__(self) -> None:
        self.now = 0.0

    def monotonic(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        raise AssertionError("the guard waits by backoff")


class Permits:
    """The ledger's side of one call, remembered in order."""

    def __init__(self, used: int = 0) -> None:
        self.used = used
        self.owned = True
        self.begun = 0
        self.ends: list[tuple[bool, str]] = []
        self.refuses: Exception | None = None
        self.wait: asyncio.Event | None = None
        self.ended = asyncio.Event()

    def alive(self) -> bool:
        return self.owned

    async def begin(self) -> None:
        if self.wait:
            await self.wait.wait()
        if self.refuses:
            raise self.refuses
        self.used += 1
        self.begun += 1

    async def end(self, *, certain: bool, detail: str) -> None:
        self.ends.append((certain, detail))
        self.ended.set()


@contextlib.asynccontextmanager
async def guarding(policy: GuardPolicy = ONCE, clock: Clock | None = None) -> AsyncIterator[Guard]:
    guard = Guard(policy, clock or Clock())
    try:
        yield guard
    finally:
        await guard.aclose()


@contextlib.asynccontextmanager
async def crm(*acts: Act, default: Act | None = None) -> AsyncIterator[RawServer]:
    async with RawServer(*acts, default=default).running() as server:
        yield server


async def post(guard: Guard, url: str, permits: Permits | None = None) -> Delivered | Undelivered:
    return await guard.post(url, BODY, HEADERS, permits or Permits())


def closed_port() -> str:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{probe.getsockname()[1]}/abrir_ticket"


# ------------------------------------------------------------------------------------ what an answer means


@pytest.mark.parametrize("status", [200, 201, 202])
async def test_a_2xx_is_delivered_with_its_whole_body_and_is_left_open_in_the_ledger(status: int) -> None:
    permits = Permits()
    async with crm(reply(status, b"<html>qualquer coisa")) as server, guarding() as guard:
        assert await post(guard, server.url, permits) == Delivered(status, b"<html>qualquer coisa")
    assert (permits.begun, permits.ends) == (1, [])


async def test_a_204_is_delivered_without_a_body() -> None:
    async with crm(say(b"HTTP/1.1 204 X\r\n\r\n")) as server, guarding() as guard:
        assert await post(guard, server.url) == Delivered(204, b"")


async def test_the_crm_gets_the_callers_bytes_and_headers_by_http_1_1() -> None:
    async with crm() as server, guarding() as guard:
        await post(guard, server.url)
    (request,) = server.requests
    assert request.body == BODY
    assert request.head.startswith("POST /abrir_ticket HTTP/1.1\r\n")
    assert request.headers["content-type"] == "application/json; charset=utf-8"
    assert request.headers["idempotency-key"] == "tw-1"


@pytest.mark.parametrize("status", [300, 301, 302, 303, 304, 307, 308, 400, 401, 403, 404, 409, 422, 499])
async def test_a_3xx_or_another_4xx_is_a_refusal_and_is_never_sent_again(status: int) -> None:
    permits = Permits()
    async with crm(default=reply(status, b"")) as server, guarding(RESENDING) as guard:
        assert await post(guard, server.url, permits) == REFUSED_FOR_GOOD
        assert len(server.requests) == 1
    assert permits.ends == [(True, f"http_{status}")]


async def test_a_redirect_is_not_followed() -> None:
    async with crm() as target, crm(reply(307, Location=target.url)) as server, guarding() as guard:
        assert await post(guard, server.url) == REFUSED_FOR_GOOD
        assert target.requests == []


@pytest.mark.parametrize("location", ["http://[", "http://x:porta/", "ftp://x/", "\x7f"])
async def test_a_redirect_to_nonsense_is_the_same_refusal(location: str) -> None:
    async with crm(reply(302, Location=location)) as server, guarding() as guard:
        assert await post(guard, server.url) == REFUSED_FOR_GOOD


@pytest.mark.parametrize("status", [425, 429])
async def test_too_early_and_too_many_are_certain_and_sent_again(status: int) -> None:
    permits = Permits()
    async with crm(reply(status), reply(200, b"ok")) as server, guarding(THRICE) as guard:
        assert await post(guard, server.url, permits) == Delivered(200, b"ok")
    assert permits.ends == [(True, f"http_{status}")]


@pytest.mark.parametrize("status", [408, 500, 502, 503, 504, 599, 700])
async def test_408_and_every_5xx_are_ambiguous(status: int) -> None:
    permits = Permits()
    async with crm(default=reply(status)) as server, guarding(THRICE) as guard:
        assert await post(guard, server.url, permits) == AMBIGUOUS
        assert len(server.requests) == 1
    assert permits.ends == [(False, f"http_{status}")]


async def test_an_answer_that_switches_protocols_is_ambiguous() -> None:
    permits = Permits()
    act = say(b"HTTP/1.1 101 X\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n")
    async with crm(act) as server, guarding() as guard:
        assert await post(guard, server.url, permits) == AMBIGUOUS
    assert [certain for certain, _ in permits.ends] == [False]


# --------------------------------------------------------------------------- failures before the first byte


async def test_a_refused_connection_is_certain_and_tried_again() -> None:
    permits = Permits()
    async with guarding(THRICE) as guard:
        assert await post(guard, closed_port(), permits) == CERTAIN
    assert permits.ends == [(True, "connect")] * 3


async def test_a_name_that_does_not_resolve_is_certain(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_such_name(*_: object, **__: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "not known")

    monkeypatch.setattr(socket, "getaddrinfo", no_such_name)
    permits = Permits()
    async with guarding() as guard:
        assert await post(guard, "http://crm.invalid/", permits) == CERTAIN
    assert permits.ends == [(True, "dns")]


async def test_a_server_that_speaks_no_tls_is_certain() -> None:
    permits = Permits()

    async def plain(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(64)
        writer.write(answer(400))
        writer.close()

    server = await asyncio.start_server(plain, "127.0.0.1", 0)
    async with server, guarding() as guard:
        url = f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
        assert await post(guard, url, permits) == CERTAIN
    assert permits.ends == [(True, "tls")]


async def test_a_handshake_that_never_ends_is_a_certain_timeout_and_leaves_no_connection_behind() -> None:
    permits = Permits()
    left = asyncio.Event()

    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(-1)
        writer.close()
        left.set()

    server = await asyncio.start_server(silent, "127.0.0.1", 0)
    async with server, guarding(replace(ONCE, timeout_s=0.2)) as guard:
        url = f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
        assert await post(guard, url, permits) == CERTAIN
        await left.wait()
    assert permits.ends == [(True, "timeout")]


async def test_a_certificate_of_an_unknown_authority_is_certain_and_gets_no_byte(tls: ssl.SSLContext) -> None:
    permits = Permits()
    async with RawServer().running(tls) as server, guarding() as guard:
        assert await post(guard, server.url, permits) == CERTAIN
        assert server.requests == []
    assert permits.ends == [(True, "tls")]


async def test_the_operators_own_authority_is_trusted(trusted_tls: ssl.SSLContext) -> None:
    async with RawServer().running(trusted_tls) as server, guarding() as guard:
        assert await post(guard, server.url) == Delivered(200, b"[]")


async def test_a_closed_guard_sends_nothing_and_says_so() -> None:
    permits = Permits()
    async with crm() as server:
        async with guarding() as guard:
            pass
        assert await post(guard, server.url, permits) == CERTAIN
        assert server.requests == []
    assert permits.ends == [(True, "RuntimeError")]


# ------------------------------------------------------------------------------------------------- proxies


def by_proxy(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"):
        monkeypatch.setenv(name, url.removesuffix("/abrir_ticket"))
    for name in ("no_proxy", "NO_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)


async def test_a_proxy_that_refuses_the_tunnel_is_certain(monkeypatch: pytest.MonkeyPatch) -> None:
    permits = Permits()
    async with crm(reply(502)) as proxy:
        by_proxy(monkeypatch, proxy.url)
        async with guarding() as guard:
            assert await post(guard, "https://crm.invalid/", permits) == CERTAIN
        assert proxy.requests[0].head.startswith("CONNECT crm.invalid:443")
    assert permits.ends == [(True, "proxy")]


async def test_a_crm_on_this_machine_is_reached_without_the_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    async with crm(reply(500)) as proxy, crm() as server:
        by_proxy(monkeypatch, proxy.url)
        async with guarding() as guard:
            assert await post(guard, server.url) == Delivered(200, b"[]")
        assert proxy.requests == []


# --------------------------------------------------------------------------- failures after the first byte

CUT_SHORT = b"HTTP/1.1 200 X\r\nContent-Length: 50\r\n\r\n[{"
NO_LENGTH = b"HTTP/1.1 200 X\r\n\r\n[1]"
CUT_CHUNK = b"HTTP/1.1 200 X\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n[{\r\n"


@pytest.mark.parametrize(
    ("act", "detail"),
    [
        pytest.param(reset(), "reset", id="reset before the answer"),
        pytest.param(reset(CUT_SHORT), "reset", id="reset in the body"),
        pytest.param(say(b""), "eof", id="EOF before the status"),
        pytest.param(say(b"HTTP/1.1 200 X\r\nContent-"), "eof", id="EOF in the head"),
        pytest.param(say(CUT_SHORT), "eof", id="body shorter than promised"),
        pytest.param(say(CUT_CHUNK), "eof", id="chunks cut off"),
        pytest.param(reset(NO_LENGTH), "reset", id="reset in a body without length"),
        pytest.param(say(b"+OK POP3 ready\r\n\r\n"), "eof", id="no HTTP at all"),
    ],
)
async def test_an_answer_that_breaks_off_is_ambiguous_and_counts_for_the_breaker(
    act: Act, detail: str
) -> None:
    permits = Permits()
    async with crm(act) as server, guarding(replace(THRICE, breaker_failures=1)) as guard:
        assert await post(guard, server.url, permits) == AMBIGUOUS
        assert len(server.requests) == 1
        assert guard.breaker_state == "open"
    assert permits.ends == [(False, detail)]


@pytest.mark.parametrize(
    ("act", "body"),
    [
        pytest.param(say(NO_LENGTH), b"[1]", id="a body that ends with its connection"),
        pytest.param(reset(answer(200, b"[1]")), b"[1]", id="reset after the whole answer"),
        pytest.param(reply(200, b"[1]", X_Politica="x" * 20_000), b"[1]", id="a long header"),
    ],
)
async def test_an_answer_that_is_odd_and_whole_is_delivered(act: Act, body: bytes) -> None:
    async with crm(act) as server, guarding() as guard:
        assert await post(guard, server.url) == Delivered(200, body)


async def test_no_answer_in_time_is_an_ambiguous_timeout() -> None:
    permits = Permits()
    gate = Gate(reply())
    async with crm(gate) as server, guarding(replace(ONCE, timeout_s=0.2)) as guard:
        assert await post(guard, server.url, permits) == AMBIGUOUS
        assert gate.reached == 1
    assert permits.ends == [(False, "timeout")]


async def test_an_answer_that_trickles_is_cut_off_at_the_limit_of_the_whole_attempt() -> None:
    permits = Permits()
    async with (
        crm(trickle(answer(200, b"x" * 10_000), 0.01)) as server,
        guarding(replace(ONCE, timeout_s=0.2)) as guard,
    ):
        assert await post(guard, server.url, permits) == AMBIGUOUS
    assert permits.ends == [(False, "timeout")]


async def test_the_time_the_ledger_takes_to_begin_is_part_of_the_limit() -> None:
    permits = Permits()
    permits.wait = asyncio.Event()
    async with crm() as server, guarding(replace(ONCE, timeout_s=0.05)) as guard:
        posting = asyncio.create_task(post(guard, server.url, permits))
        asyncio.get_running_loop().call_later(0.1, permits.wait.set)
        assert await posting == CERTAIN
        assert server.requests == []
    assert permits.ends == [(True, "timeout")]


async def test_a_body_without_end_is_ambiguous_and_no_fault_of_the_crms_health() -> None:
    permits = Permits()
    async with (
        crm(reply(200, b"x" * (client.BODY_LIMIT + 1))) as server,
        guarding(replace(ONCE, breaker_failures=1)) as guard,
    ):
        assert await post(guard, server.url, permits) == AMBIGUOUS
        assert guard.breaker_state == "closed"
    assert permits.ends == [(False, "body_too_large")]


async def test_a_body_of_exactly_the_limit_is_delivered() -> None:
    body = b"x" * client.BODY_LIMIT
    async with crm(reply(200, body)) as server, guarding() as guard:
        assert await post(guard, server.url) == Delivered(200, body)


async def test_a_compressed_answer_is_read() -> None:
    async with crm(reply(200, gzip.compress(b"[1]"), Content_Encoding="gzip")) as server, guarding() as guard:
        assert await post(guard, server.url) == Delivered(200, b"[1]")


async def test_losing_the_race_for_an_idle_connection_is_ambiguous() -> None:
    permits = Permits()
    async with crm(reply(), say(b"")) as server, guarding() as guard:
        assert isinstance(await post(guard, server.url), Delivered)
        assert await post(guard, server.url, permits) == AMBIGUOUS
        assert [request.connection for request in server.requests] == [1, 1]
    assert permits.ends == [(False, "eof")]


async def test_a_connection_the_crm_has_closed_is_not_used_again() -> None:
    async with crm(reply(close=True), reply()) as server, guarding() as guard:
        assert isinstance(await post(guard, server.url), Delivered)
        await server.closed.acquire()
        assert isinstance(await post(guard, server.url), Delivered)
        assert [request.connection for request in server.requests] == [1, 2]


# ------------------------------------------------------------------------------------------- sending again


async def test_ambiguous_attempts_are_sent_again_only_when_the_policy_says_so() -> None:
    permits = Permits()
    async with crm(reply(503), say(b""), reply(200, b"ok")) as server, guarding(RESENDING) as guard:
        assert await post(guard, server.url, permits) == Delivered(200, b"ok")
    assert permits.ends == [(False, "http_503"), (False, "eof")]


async def test_every_attempt_carries_the_same_bytes_and_the_same_key() -> None:
    async with crm(default=reply(503)) as server, guarding(RESENDING) as guard:
        await post(guard, server.url)
        assert len(server.requests) == 3
        assert {(request.body, request.head) for request in server.requests} == {
            (BODY, server.requests[0].head)
        }


async def test_one_ambiguous_attempt_among_certain_ones_makes_the_whole_ambiguous() -> None:
    async with crm(reply(503), reply(429), reply(429)) as server, guarding(RESENDING) as guard:
        assert await post(guard, server.url) == AMBIGUOUS


async def test_a_refusal_after_an_ambiguous_attempt_is_a_refusal_that_is_not_certain() -> None:
    async with crm(reply(503), reply(409)) as server, guarding(RESENDING) as guard:
        assert await post(guard, server.url) == Undelivered(refused=True, certain=False)


async def test_attempts_made_before_a_restart_count() -> None:
    permits = Permits(used=2)
    async with crm(default=reply(429)) as server, guarding(THRICE) as guard:
        assert await post(guard, server.url, permits) == CERTAIN
        assert len(server.requests) == 1


async def test_when_all_attempts_are_used_nothing_is_sent() -> None:
    permits = Permits(used=3)
    async with crm() as server, guarding(THRICE) as guard:
        assert await post(guard, server.url, permits) == CERTAIN
        assert server.requests == []
    assert (permits.begun, permits.ends) == (0, [])


async def test_no_cookie_of_one_customers_answer_goes_out_with_the_next_ticket() -> None:
    async with crm(reply(Set_Cookie="sessao=1; Path=/")) as server, guarding() as guard:
        await post(guard, server.url)
        await post(guard, server.url)
        assert ["cookie" in request.headers for request in server.requests] == [False, False]


async def test_nothing_of_a_ticket_is_logged_at_any_level(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    reported = b'{"erro": "documento 52998224725"}'
    async with crm(reply(503, reported), reply(200, reported)) as server, guarding(RESENDING) as guard:
        delivered = await post(guard, server.url)
    assert "52998224725" not in caplog.text + repr(delivered)
    assert not [record for record in caplog.records if record.name == "backoff"]


# ----------------------------------------------------------------------------------------------- Retry-After


async def test_retry_after_wins_over_the_backoff() -> None:
    async with crm(reply(429, Retry_After="0"), reply()) as server, guarding(LONG_BACKOFF) as guard:
        assert isinstance(await post(guard, server.url), Delivered)


async def test_a_retry_after_date_is_judged_by_the_crms_own_clock() -> None:
    then = "Tue, 01 Jan 2030 10:00:00 GMT"
    async with (
        crm(reply(429, Retry_After=then, Date=then), reply()) as server,
        guarding(LONG_BACKOFF) as guard,
    ):
        assert isinstance(await post(guard, server.url), Delivered)


async def test_a_crm_that_asks_for_more_than_a_minute_is_not_asked_again() -> None:
    permits = Permits()
    async with crm(default=reply(429, Retry_After="61")) as server, guarding(THRICE) as guard:
        assert await post(guard, server.url, permits) == CERTAIN
        assert len(server.requests) == 1
    assert permits.ends == [(True, "http_429")]


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, None),
        ({"Retry-After": "7"}, 7.0),
        ({"Retry-After": " 0 "}, 0.0),
        ({"Retry-After": "Tue, 01 Jan 2030 10:00:09 GMT", "Date": "Tue, 01 Jan 2030 10:00:00 GMT"}, 9.0),
        ({"Retry-After": "Tue, 01 Jan 2030 10:00:09 -0000", "Date": "Tue, 01 Jan 2030 07:00:00 -0300"}, 9.0),
        ({"Retry-After": "Tue, 01 Jan 2030 10:00:00 GMT", "Date": "Tue, 01 Jan 2030 10:00:09 GMT"}, 0.0),
        ({"Retry-After": "Tue, 01 Jan 2019 10:00:00 GMT", "Date": "ontem"}, 0.0),
        ({"Retry-After": "-5"}, 0.0),
        ({"Retry-After": "1.5"}, 1.5),
        ({"Retry-After": "logo mais"}, None),
        ({"Retry-After": "Tue, 01 Jan 99999999999999999999 10:00:00 GMT"}, None),
    ],
)
def test_retry_after_is_read_as_seconds_or_as_a_date(headers: dict[str, str], seconds: float | None) -> None:
    assert posting._retry_after_s(httpx.Headers(headers)) == seconds


_DATES = st.from_regex(rb"([A-Z][a-z]{2}, )?\d+ (Jan|Dec) \d+ \d+:\d+:\d+ (GMT|[+-]\d{4,})", fullmatch=True)


@given(st.binary() | _DATES, st.binary() | _DATES)
@example("²".encode("latin-1"), b"")
def test_no_retry_after_can_break_the_guard(retry_after: bytes, date: bytes) -> None:
    seconds = posting._retry_after_s(httpx.Headers([(b"Retry-After", retry_after), (b"Date", date)]))
    assert seconds is None or seconds >= 0


def failed(retry_after_s: float | None = None) -> Failed:
    return Failed("http_503", certain=False, retry_after_s=retry_after_s)


def test_the_waits_are_jittered_within_a_growing_and_bounded_range() -> None:
    policy = replace(ONCE, backoff_base_s=0.5, backoff_max_s=3)
    waits = guard_module._waits(policy)
    next(waits)
    bounds = [0.5, 1, 2, 3, 3]
    drawn = [waits.send(failed()) for _ in bounds]
    assert all(0 <= wait <= bound for wait, bound in zip(drawn, bounds, strict=True))
    assert len(set(drawn)) == len(bounds)


def test_what_the_crm_asks_for_replaces_one_wait_and_too_much_ends_them() -> None:
    waits = guard_module._waits(replace(ONCE, backoff_base_s=0.5, backoff_max_s=3))
    next(waits)
    assert waits.send(failed(60)) == 60
    assert waits.send(failed()) <= 1
    with pytest.raises(StopIteration):
        waits.send(failed(60.5))


async def test_no_slot_is_held_while_waiting_to_send_again() -> None:
    policy = replace(THRICE, concurrency=1)
    permits = Permits()
    async with crm(reply(429, Retry_After="60"), reply(200, b"ok")) as server, guarding(policy) as guard:
        waiting = asyncio.create_task(post(guard, server.url, permits))
        await permits.ended.wait()
        assert await post(guard, server.url) == Delivered(200, b"ok")
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
    assert permits.begun == 1


# ------------------------------------------------------------------------------------- the ledger's guard


async def test_without_the_lease_nothing_is_written_and_the_call_is_withdrawn() -> None:
    permits = Permits()
    permits.owned = False
    async with crm() as server, guarding(THRICE) as guard:
        with pytest.raises(Withdrawn):
            await post(guard, server.url, permits)
        assert server.requests == []
    assert (permits.begun, permits.ends) == (1, [(True, "sem_posse")])


async def test_a_lease_lost_before_the_body_is_written_withdraws_the_call_and_is_not_certain() -> None:
    class UntilTheHead(Permits):
        def alive(self) -> bool:
            self.owned, before = False, self.owned
            return before

    permits = UntilTheHead()
    async with crm() as server, guarding(replace(RESENDING, breaker_failures=1)) as guard:
        with pytest.raises(Withdrawn):
            await post(guard, server.url, permits)
        assert server.requests == []
        assert guard.breaker_state == "closed"
    assert (permits.begun, permits.ends) == (1, [(False, "sem_posse")])


@pytest.mark.parametrize(
    "complete",
    [
        answer(200, b"ok") + b"<!-- 3 ms -->",
        answer(200, b"ok") + answer(200, b"outro"),
        answer(200, b"ok", {"Content-Encoding": "gzip"}),
    ],
)
async def test_a_complete_2xx_is_not_sent_again(complete: bytes) -> None:
    permits = Permits()
    async with crm(say(complete)) as server, guarding(RESENDING) as guard:
        assert await post(guard, server.url, permits) == Delivered(200, b"ok")
        assert len(server.requests) == 1
    assert permits.ends == []


async def test_an_attempt_whose_time_is_up_writes_nothing_and_has_surely_opened_nothing() -> None:
    """A process that was frozen while it connected goes on before it hears of the time-out."""

    class Freezing(Permits):
        def alive(self) -> bool:
            time.sleep(0.2)
            return True

    permits = Freezing()
    async with crm() as server, guarding(replace(ONCE, timeout_s=0.1)) as guard:
        assert await post(guard, server.url, permits) == CERTAIN
        assert server.requests == []
    assert permits.ends == [(True, "timeout")]


async def test_the_lease_is_checked_after_connecting_and_again_for_each_attempt() -> None:
    permits = Permits()

    async def lose_the_lease(exchange: object) -> bool:
        permits.owned = False
        return await reply(429)(exchange)  # type: ignore[arg-type]  # the server's own exchange

    async with crm(lose_the_lease) as server, guarding(THRICE) as guard:
        with pytest.raises(Withdrawn):
            await post(guard, server.url, permits)
        assert len(server.requests) == 1
    assert permits.ends == [(True, "http_429"), (True, "sem_posse")]


@pytest.mark.parametrize("error", [Withdrawn("parando"), StoreError("disco cheio")])
async def test_what_the_ledger_raises_at_the_beginning_ends_it_and_nothing_is_sent(error: Exception) -> None:
    permits = Permits()
    permits.refuses = error
    async with crm() as server, guarding(replace(THRICE, breaker_failures=1)) as guard:
        with pytest.raises(type(error)):
            await post(guard, server.url, permits)
        assert server.requests == []
        assert guard.breaker_state == "closed"
    assert permits.ends == []


async def test_a_withdrawal_neither_counts_nor_clears_what_the_breaker_has_counted() -> None:
    fenced = Permits()
    fenced.owned = False
    async with crm(default=reply(500)) as server, guarding(TOUCHY) as guard:
        await post(guard, server.url)
        with pytest.raises(Withdrawn):
            await post(guard, server.url, fenced)
        assert guard.breaker_state == "closed"
        await post(guard, server.url)
        assert guard.breaker_state == "open"


async def test_a_cancelled_attempt_stays_open_in_the_ledger_and_gives_its_slot_back() -> None:
    permits = Permits()
    gate = Gate(reply())
    async with crm(gate) as server, guarding(replace(ONCE, concurrency=1)) as guard:
        posting = asyncio.create_task(post(guard, server.url, permits))
        await gate.arrived.acquire()
        posting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await posting
        assert isinstance(await post(guard, server.url), Delivered)
    assert (permits.begun, permits.ends) == (1, [])


async def test_no_more_requests_than_slots_are_under_way_and_the_rest_have_not_begun() -> None:
    permits = [Permits() for _ in range(10)]
    gate = Gate(reply())
    async with crm(default=gate) as server, guarding(replace(ONCE, concurrency=3)) as guard:
        posts = [asyncio.create_task(post(guard, server.url, each)) for each in permits]
        for _ in range(3):
            await gate.arrived.acquire()
        assert (gate.reached, sum(each.begun for each in permits)) == (3, 3)
        gate.opened.set()
        assert all(isinstance(each, Delivered) for each in await asyncio.gather(*posts))


# --------------------------------------------------------------------------------------------- the breaker


async def broken(guard: Guard, url: str) -> None:
    """Fail until the breaker is open."""
    while guard.breaker_state != "open":
        await post(guard, url)


async def test_an_open_breaker_begins_nothing() -> None:
    permits = Permits()
    async with crm(default=reply(500)) as server, guarding(TOUCHY) as guard:
        await broken(guard, server.url)
        assert len(server.requests) == 2
        assert await post(guard, server.url, permits) == CERTAIN
        assert len(server.requests) == 2
    assert (permits.begun, permits.ends) == (0, [])


@pytest.mark.parametrize("status", [200, 409])
async def test_a_line_says_when_the_breaker_opens_and_one_when_it_closes(
    status: int, capsys: pytest.CaptureFixture[str]
) -> None:
    clock = Clock()
    async with crm(reply(500), reply(500), default=reply(status)) as server, guarding(TOUCHY, clock) as guard:
        await broken(guard, server.url)
        assert await post(guard, server.url) == CERTAIN
        (opened,) = [line for line in capsys.readouterr().err.splitlines() if "envios" in line]
        assert opened.endswith("! envios pausados: falhas seguidas | name=crm seconds=30")
        clock.now = 10
        assert guard.paused_s == 20
        clock.now = 30
        await post(guard, server.url)
        await post(guard, server.url)
        assert guard.paused_s == 0
    (closed,) = [line for line in capsys.readouterr().err.splitlines() if "envios" in line]
    assert closed.endswith("✅ envios retomados | name=crm")


async def test_the_failure_that_opens_the_breaker_is_judged_by_what_happened() -> None:
    permits = Permits()
    async with (
        crm(default=reply(503)) as server,
        guarding(replace(RESENDING, breaker_failures=2)) as guard,
    ):
        assert await post(guard, server.url, permits) == AMBIGUOUS
        assert len(server.requests) == 2
    assert permits.ends == [(False, "http_503")] * 2


async def test_the_failure_that_opens_the_breaker_is_the_last_without_waiting_first() -> None:
    policy = replace(LONG_BACKOFF, breaker_failures=1)
    async with crm(default=reply(429)) as server, guarding(policy) as guard:
        assert await post(guard, server.url) == CERTAIN
        assert len(server.requests) == 1


@pytest.mark.parametrize("status", [408, 429, 500, 503])
async def test_the_breaker_counts_what_says_the_crm_is_unwell(status: int) -> None:
    async with crm(default=reply(status)) as server, guarding(TOUCHY) as guard:
        await post(guard, server.url)
        assert guard.breaker_state == "closed"
        await post(guard, server.url)
        assert guard.breaker_state == "open"


async def test_the_breaker_counts_connections_that_fail() -> None:
    async with guarding(TOUCHY) as guard:
        await broken(guard, closed_port())


@pytest.mark.parametrize("status", [200, 302, 400, 404, 409, 422, 425])
async def test_the_breaker_does_not_count_what_a_healthy_crm_may_say(status: int) -> None:
    async with crm(default=reply(status)) as server, guarding(replace(ONCE, breaker_failures=1)) as guard:
        await post(guard, server.url)
        assert guard.breaker_state == "closed"


@pytest.mark.parametrize("status", [200, 409])
async def test_an_answer_between_two_failures_starts_the_count_again(status: int) -> None:
    async with crm(reply(500), reply(status), reply(500)) as server, guarding(TOUCHY) as guard:
        for _ in range(3):
            await post(guard, server.url)
        assert guard.breaker_state == "closed"


@pytest.fixture(params=["America/Sao_Paulo", "Asia/Tokyo", "UTC"])
def time_zone(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("TZ", request.param)
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


@pytest.mark.usefixtures("time_zone")
async def test_the_breaker_closes_again_after_its_time_in_any_time_zone() -> None:
    clock = Clock()
    async with crm(reply(500), reply(500), default=reply()) as server, guarding(TOUCHY, clock) as guard:
        await broken(guard, server.url)
        clock.now = 29.9
        assert await post(guard, server.url) == CERTAIN
        clock.now = 30
        assert isinstance(await post(guard, server.url), Delivered)
        assert guard.breaker_state == "closed"


@pytest.mark.usefixtures("time_zone")
async def test_a_trial_that_fails_opens_the_breaker_for_another_full_time() -> None:
    clock = Clock()
    async with crm(default=reply(500)) as server, guarding(TOUCHY, clock) as guard:
        await broken(guard, server.url)
        clock.now = 40
        assert await post(guard, server.url) == AMBIGUOUS
        clock.now = 69.9
        assert await post(guard, server.url) == CERTAIN
        clock.now = 70
        assert await post(guard, server.url) == AMBIGUOUS
        assert len(server.requests) == 4


@pytest.mark.parametrize(
    ("status", "state", "sent", "outcome"),
    [(200, "closed", 10, Delivered(200, b"[]")), (409, "closed", 10, None), (500, "open", 1, CERTAIN)],
)
async def test_a_half_open_breaker_sends_one_of_ten_and_the_others_wait_for_its_verdict(
    status: int, state: str, sent: int, outcome: Delivered | Undelivered | None
) -> None:
    clock = Clock()
    gate = Gate(reply(status))
    acts = reply(500), reply(500), gate
    async with crm(*acts, default=reply(status)) as server, guarding(TOUCHY, clock) as guard:
        await broken(guard, server.url)
        clock.now = 30
        permits = [Permits() for _ in range(10)]
        posts = [asyncio.create_task(post(guard, server.url, each)) for each in permits]
        await gate.arrived.acquire()
        assert guard.breaker_state == "half_open"
        done, _ = await asyncio.wait(posts, timeout=0)
        assert (done, sum(each.begun for each in permits)) == (set(), 1)
        gate.opened.set()
        first, *others = await asyncio.gather(*posts)
        assert guard.breaker_state == state
        assert sum(each.begun for each in permits) == len(server.requests) - 2 == sent
        assert others == [outcome or first] * 9


async def test_ten_at_once_are_all_let_in_while_the_breaker_is_closed_and_open_it_together() -> None:
    gate = Gate(reply(500))
    permits = [Permits() for _ in range(10)]
    async with crm(default=gate) as server, guarding(TOUCHY) as guard:
        posts = [asyncio.create_task(post(guard, server.url, each)) for each in permits]
        for _ in posts:
            await gate.arrived.acquire()
        gate.opened.set()
        assert await asyncio.gather(*posts) == [AMBIGUOUS] * 10
        assert guard.breaker_state == "open"
    assert [each.ends for each in permits] == [[(False, "http_500")]] * 10


async def test_an_attempt_that_waited_for_its_slot_asks_the_breaker_when_it_has_it() -> None:
    gate = Gate(reply(500))
    policy = replace(ONCE, concurrency=1, breaker_failures=1)
    waiting = Permits()
    async with crm(gate, default=reply()) as server, guarding(policy) as guard:
        first = asyncio.create_task(post(guard, server.url))
        await gate.arrived.acquire()
        second = asyncio.create_task(post(guard, server.url, waiting))
        await asyncio.sleep(0)
        gate.opened.set()
        assert await asyncio.gather(first, second) == [AMBIGUOUS, CERTAIN]
        assert guard.breaker_state == "open"
        assert len(server.requests) == 1
    assert (waiting.begun, waiting.ends) == (0, [])


async def test_an_attempt_that_was_let_in_is_sent_even_when_others_open_the_breaker() -> None:
    slow = Permits()
    slow.wait = asyncio.Event()
    async with crm(reply(500), reply(500), reply(200, b"ok")) as server, guarding(TOUCHY) as guard:
        posting = asyncio.create_task(post(guard, server.url, slow))
        await asyncio.sleep(0)
        await broken(guard, server.url)
        slow.wait.set()
        assert await posting == Delivered(200, b"ok")
        assert guard.breaker_state == "open"


async def test_a_cancelled_trial_leaves_its_place_to_the_next_call() -> None:
    clock = Clock()
    gate = Gate(reply())
    async with crm(reply(500), reply(500), gate) as server, guarding(TOUCHY, clock) as guard:
        await broken(guard, server.url)
        clock.now = 30
        trial = asyncio.create_task(post(guard, server.url))
        await gate.arrived.acquire()
        waiting = asyncio.create_task(post(guard, server.url))
        await asyncio.sleep(0)
        trial.cancel()
        await asyncio.gather(trial, return_exceptions=True)
        assert isinstance(await waiting, Delivered)
        assert guard.breaker_state == "closed"


@pytest.mark.parametrize("when", ["at the beginning", "before writing"])
async def test_a_withdrawn_trial_leaves_its_place_to_the_next_call(when: str) -> None:
    clock = Clock()
    permits = Permits()
    permits.owned = when != "before writing"
    permits.refuses = Withdrawn() if when == "at the beginning" else None
    async with crm(reply(500), reply(500)) as server, guarding(TOUCHY, clock) as guard:
        await broken(guard, server.url)
        clock.now = 30
        with pytest.raises(Withdrawn):
            await post(guard, server.url, permits)
        assert guard.breaker_state == "half_open"
        assert isinstance(await post(guard, server.url), Delivered)
        assert guard.breaker_state == "closed"


async def test_a_straggler_that_reopens_the_breaker_admits_no_second_trial() -> None:
    clock = Clock()
    late, trying = Gate(reply(500)), Gate(reply())
    acts = late, reply(500), reply(500), trying
    async with crm(*acts) as server, guarding(TOUCHY, clock) as guard:
        straggler = asyncio.create_task(post(guard, server.url))
        await late.arrived.acquire()
        await broken(guard, server.url)
        clock.now = 30
        trial = asyncio.create_task(post(guard, server.url))
        await trying.arrived.acquire()
        late.opened.set()
        await straggler
        assert guard.breaker_state == "open"
        clock.now = 90
        assert await post(guard, server.url) == CERTAIN
        trying.opened.set()
        assert isinstance(await trial, Delivered)
        assert guard.breaker_state == "closed"


def test_only_the_guard_knows_backoff_and_aiobreaker() -> None:
    package = Path(guard_module.__file__).parent.parent
    users = {
        path.relative_to(package).as_posix()
        for path in package.rglob("*.py")
        if re.search(r"^\s*(import|from) (backoff|aiobreaker)\b", path.read_text("utf-8"), re.MULTILINE)
    }
    assert users == {"outbound/guard.py"}

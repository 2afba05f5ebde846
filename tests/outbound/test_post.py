"""One POST over real sockets: what is on the wire, and that `certain` is the truth of it."""

import asyncio
import contextlib
import gzip
import socket
import ssl
import time
import tracemalloc
import zlib
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any

import httpx
import pytest

from tests.raw_server import Act, Exchange, Gate, RawServer, answer, reply, tunnelling
from worker.errors import ConfigError
from worker.outbound import client
from worker.outbound.post import Delivered, Failed, LeaseLost, Sender

pytestmark = pytest.mark.usefixtures("no_proxies")

BODY = b'{"documento": "52998224725"}'


def allowed() -> None:
    """The check of a process that may send."""


@pytest.fixture
def no_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


@contextlib.asynccontextmanager
async def sending(timeout_s: float = 5) -> AsyncIterator[Sender]:
    sender = Sender(timeout_s)
    try:
        yield sender
    finally:
        await sender.aclose()


async def post(
    sender: Sender,
    url: str,
    headers: Mapping[str, str] | None = None,
    before_send: Callable[[], None] = allowed,
) -> Delivered:
    return await sender.post(url, BODY, headers or {}, before_send, time.monotonic() + 5)


async def some_turns() -> None:
    """Lets what is on its way on this loop arrive."""
    for _ in range(100):
        await asyncio.sleep(0)


class Listener:
    """Takes what comes on each connection and answers nothing; with `leaves`, hangs up at once."""

    def __init__(self, *, leaves: bool = False) -> None:
        self.got: list[bytes] = []
        self.ended = asyncio.Semaphore(0)
        self._leaves = leaves

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[str]:
        server = await asyncio.start_server(self._listen, "127.0.0.1", 0)
        async with server:
            yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/"

    async def _listen(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        number = len(self.got)
        self.got.append(b"")
        try:
            while not self._leaves and (some := await reader.read(1 << 16)):
                self.got[number] += some
        except OSError:
            pass  # the client left
        finally:
            writer.close()
            self.ended.release()


class Lease:
    """Allows so many checks, then has lost the lease."""

    def __init__(self, checks: int) -> None:
        self.left = checks

    def check(self) -> None:
        if not self.left:
            raise LeaseLost
        self.left -= 1


# -------------------------------------------------------------------------------- the check before sending


async def test_without_the_lease_not_one_byte_is_on_the_wire() -> None:
    """It pins what the fence rests upon: httpx calls `trace` before it writes."""
    listener = Listener()
    async with listener.running() as url, sending() as sender:
        with pytest.raises(LeaseLost) as lost:
            await post(sender, url, before_send=Lease(0).check)
        await listener.ended.acquire()
    assert listener.got == [b""]
    assert lost.value.certain


async def test_a_lease_lost_between_head_and_body_stops_the_body_and_is_not_certain() -> None:
    listener = Listener()
    async with listener.running() as url, sending() as sender:
        with pytest.raises(LeaseLost) as lost:
            await post(sender, url, before_send=Lease(1).check)
        await listener.ended.acquire()
    assert listener.got[0].endswith(b"\r\n\r\n")
    assert not lost.value.certain


async def test_a_check_that_breaks_stops_the_request_for_certain() -> None:
    def broken() -> None:
        raise OSError

    async with RawServer().running() as server, sending() as sender:
        with pytest.raises(Failed) as failure:
            await post(sender, server.url, before_send=broken)
        assert server.requests == []
    assert failure.value.certain


async def test_the_loop_does_not_turn_between_a_check_and_its_write() -> None:
    """A process that is frozen in between would write after another one has taken over."""
    loop = asyncio.get_running_loop()
    arrived: list[bytes] = []
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def arrived_now() -> None:
            with contextlib.suppress(BlockingIOError):
                arrived.append(peer.recv(1 << 16, socket.MSG_PEEK))

        def check() -> None:
            nonlocal peer
            peer = peer or listening.accept()[0]
            peer.setblocking(False)
            loop.call_soon(arrived_now)

        peer: Any = None
        async with sending() as sender:
            url = f"http://127.0.0.1:{listening.getsockname()[1]}/"
            with pytest.raises(Failed, match="timeout"):
                await sender.post(url, BODY, {}, check, time.monotonic() + 0.3)
        peer.close()
    head, whole = arrived
    assert head.startswith(b"POST / HTTP/1.1\r\n")
    assert head.endswith(b"\r\n\r\n")
    assert whole == head + BODY


async def test_the_check_is_made_after_connecting() -> None:
    connections: list[int] = []
    async with RawServer().running() as server, sending() as sender:
        await post(sender, server.url)  # so that the next one finds it connected
        await post(sender, server.url, before_send=lambda: connections.append(server.connections))
    assert connections == [1, 1]


@pytest.mark.parametrize("turns", range(12))
async def test_cut_off_at_any_turn_what_is_certain_was_not_written_and_never_is(turns: int) -> None:
    checks: list[str] = []
    async with RawServer(reply(), default=Gate(reply())).running() as server, sending() as sender:
        await post(sender, server.url)
        posting = asyncio.create_task(
            sender.post(server.url, BODY, {}, lambda: checks.append("check"), time.monotonic() + 0.2)
        )
        for _ in range(turns):
            await asyncio.sleep(0)
        posting.cancel()
        await asyncio.gather(posting, return_exceptions=True)
        await some_turns()
        assert len(server.requests) <= 1 + bool(checks)


@pytest.mark.parametrize("used_before", [False, True])
@pytest.mark.parametrize("turns", range(24))
async def test_a_post_cut_off_at_any_turn_keeps_no_later_one_from_being_sent(
    turns: int, used_before: bool
) -> None:
    async with RawServer().running() as server, sending() as sender:
        if used_before:
            await post(sender, server.url)
        posting = asyncio.create_task(post(sender, server.url))
        for _ in range(turns):
            await asyncio.sleep(0)
        posting.cancel()
        await asyncio.gather(posting, return_exceptions=True)
        assert (await sender.post(server.url, BODY, {}, allowed, time.monotonic() + 1)).status == 200


async def test_a_post_cut_off_in_its_tls_handshake_leaves_no_connection_behind() -> None:
    listener = Listener()
    async with listener.running() as url, sending() as sender:
        posting = asyncio.create_task(post(sender, url.replace("http://", "https://")))
        while not any(listener.got):  # noqa: ASYNC110  # what arrives sets no event
            await asyncio.sleep(0)
        posting.cancel()
        await asyncio.gather(posting, return_exceptions=True)
        async with asyncio.timeout(5):
            await listener.ended.acquire()


async def test_a_deadline_that_has_passed_sends_nothing_for_certain() -> None:
    async with RawServer().running() as server, sending() as sender:
        await post(sender, server.url)
        with pytest.raises(Failed) as failure:
            await sender.post(server.url, BODY, {}, allowed, time.monotonic() - 1)
        await some_turns()
        assert len(server.requests) == 1
    assert (failure.value.code, failure.value.certain) == ("timeout", True)


# ------------------------------------------------------------------------- one answer after another


async def test_an_answer_that_came_before_its_request_belongs_to_no_request() -> None:
    """Taken for the next customer's it would show another one's protocolo."""
    go_on = asyncio.Event()

    async def twice(exchange: Exchange) -> bool:
        await exchange.write(answer(200, b"um"))
        await go_on.wait()
        await exchange.write(answer(200, b"outra vez"))
        return True

    async with RawServer(twice, reply(200, b"dois")).running() as server, sending() as sender:
        assert (await post(sender, server.url)).body == b"um"
        go_on.set()
        await some_turns()
        assert (await post(sender, server.url)).body == b"dois"
        assert [request.connection for request in server.requests] == [1, 2]


TICKET = answer(200, b'[{"data": 1}]')
CHUNKED = b"HTTP/1.1 200 X\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n[]\r\n0\r\n\r\n"
ANOTHERS = answer(200, b"outro protocolo")
COUNTED_IN_CHARACTERS = 'HTTP/1.1 200 X\r\nContent-Length: 6\r\n\r\n["ção"]'.encode()


def stays(*parts: bytes) -> Act:
    """Write these parts, each by itself, and keep the connection."""

    async def act(exchange: Exchange) -> bool:
        for part in parts:
            await exchange.write(part)
            await asyncio.sleep(0)
        return True

    return act


FOLLOWED = [
    pytest.param((TICKET + b"<!-- 3 ms -->",), b'[{"data": 1}]', id="a comment"),
    pytest.param((TICKET, b"<!-- 3 ms -->"), b'[{"data": 1}]', id="a comment in a packet of its own"),
    pytest.param((TICKET + b"\n",), b'[{"data": 1}]', id="one byte"),
    pytest.param((TICKET + ANOTHERS,), b'[{"data": 1}]', id="a second answer"),
    pytest.param((TICKET, ANOTHERS), b'[{"data": 1}]', id="a second answer in a packet of its own"),
    pytest.param((CHUNKED + ANOTHERS,), b"[]", id="a second answer behind chunks"),
    pytest.param((COUNTED_IN_CHARACTERS,), '["ção'.encode()[:6], id="a length counted in characters"),
    pytest.param((b"HTTP/1.1 204 X\r\nContent-Length: 2\r\n\r\nok",), b"", id="a 204 with a body"),
    pytest.param((b"HTTP/1.1 204 X\r\n\r\nok",), b"", id="a 204 with a body and no length"),
]


@pytest.mark.parametrize(("parts", "body"), FOLLOWED)
async def test_a_complete_2xx_is_delivered_and_what_follows_it_is_no_part_of_the_next_answer(
    parts: tuple[bytes, ...], body: bytes
) -> None:
    async with RawServer(stays(*parts), reply(200, b"dois")).running() as server, sending() as sender:
        assert (await post(sender, server.url)).body == body
        assert (await post(sender, server.url)).body == b"dois"
        assert [request.connection for request in server.requests] == [1, 2]


@pytest.mark.parametrize("parts", [(TICKET + ANOTHERS,), (TICKET, ANOTHERS)])
async def test_bytes_behind_an_answer_are_no_part_of_the_next_one_by_tls(
    parts: tuple[bytes, ...], trusted_tls: ssl.SSLContext
) -> None:
    tls = RawServer(stays(*parts), reply(200, b"dois")).running(trusted_tls)
    async with tls as server, sending() as sender:
        assert (await post(sender, server.url)).body == b'[{"data": 1}]'
        assert (await post(sender, server.url)).body == b"dois"
        assert [request.connection for request in server.requests] == [1, 2]


@pytest.mark.parametrize("length", [1 << 16, 1 << 18])
async def test_bytes_behind_an_answer_as_long_as_a_buffer_are_no_part_of_the_next_one(length: int) -> None:
    body = bytes(length - len(answer(200, bytes(length))) + length)
    whole = answer(200, body)
    assert len(whole) == length
    parts = stays(whole + ANOTHERS)
    async with RawServer(parts, reply(200, b"dois")).running() as server, sending() as sender:
        assert (await post(sender, server.url)).body == body
        assert (await post(sender, server.url)).body == b"dois"


@pytest.mark.parametrize("whole", [TICKET, CHUNKED, b"HTTP/1.1 204 X\r\n\r\n"])
async def test_a_connection_whose_answer_nothing_follows_is_used_again(
    whole: bytes, trusted_tls: ssl.SSLContext
) -> None:
    for tls in (None, trusted_tls):
        async with RawServer(default=stays(whole)).running(tls) as server, sending() as sender:
            for _ in range(3):
                await post(sender, server.url)
            assert server.connections == 1


async def test_the_connection_that_was_used_last_is_used_first() -> None:
    gate = Gate(reply())
    async with RawServer(gate, gate, default=reply()).running() as server, sending() as sender:
        both = [asyncio.create_task(post(sender, server.url)) for _ in range(2)]
        for _ in both:
            await gate.arrived.acquire()
        gate.opened.set()
        await asyncio.gather(*both)
        last = {(await post(sender, server.url)) and server.requests[-1].connection for _ in range(3)}
        assert server.connections == 2
    assert len(last) == 1


async def test_a_packed_answer_is_unpacked_no_further_than_the_limit() -> None:
    bomb = gzip.compress(b"0" * (64 * client.BODY_LIMIT))
    assert len(bomb) < client.BODY_LIMIT
    async with RawServer(reply(200, bomb, Content_Encoding="gzip")).running() as server, sending() as sender:
        tracemalloc.start()
        with pytest.raises(Failed, match="body_too_large") as failure:
            await post(sender, server.url)
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    assert not failure.value.certain
    assert peak < 8 * client.BODY_LIMIT


@pytest.mark.parametrize(
    ("encoding", "packed"),
    [
        ("deflate", zlib.compress(b"[1]")),
        ("deflate", zlib.compress(b"[1]")[2:-4]),
        ("identity", b"[1]"),
        ("x-gzip", gzip.compress(b"[1]", mtime=0)),
        ("deflate, GZIP", gzip.compress(zlib.compress(b"[1]"), mtime=0)),
    ],
)
async def test_an_answer_is_unpacked(encoding: str, packed: bytes) -> None:
    act = reply(200, packed, Content_Encoding=encoding)
    async with RawServer(act).running() as server, sending() as sender:
        assert (await post(sender, server.url)).body == b"[1]"


@pytest.mark.parametrize(
    ("encoding", "body"),
    [
        ("utf-8", b"[1]"),
        ("gzip", b"[1]"),
        ("gzip, br", b"[1]"),
        ("br", b"\x0b\x01\x80[1]\x03"),
        ("gzip, deflate", gzip.compress(b"[1]", mtime=0)),
    ],
)
async def test_a_complete_answer_that_cannot_be_unpacked_is_delivered_as_it_is(
    encoding: str, body: bytes
) -> None:
    act = reply(200, body, Content_Encoding=encoding)
    async with RawServer(act).running() as server, sending() as sender:
        assert (await post(sender, server.url)).body == body


async def test_a_server_that_hangs_up_at_once_is_tried_once() -> None:
    listener = Listener(leaves=True)
    async with listener.running() as url, sending() as sender:
        with pytest.raises(Failed):
            await post(sender, url)
    assert len(listener.got) == 1


async def test_the_library_does_not_limit_how_many_are_under_way() -> None:
    gate = Gate(reply())
    async with RawServer(default=gate).running() as server, sending() as sender:
        posts = [asyncio.create_task(post(sender, server.url)) for _ in range(120)]
        for _ in posts:
            await gate.arrived.acquire()
        gate.opened.set()
        assert {each.status for each in await asyncio.gather(*posts)} == {200}


# ---------------------------------------------------------------------------------------- what is on the wire


async def sent(url: str, headers: Mapping[str, str] | None = None, act: Act | None = None) -> Exchange:
    """The request that comes of it; PORT in `url` is the server's."""
    async with RawServer(default=act).running() as server, sending() as sender:
        port = server.url.split(":")[2].split("/")[0]
        await post(sender, url.replace("PORT", port), headers)
    (request,) = server.requests
    request.head = request.head.replace(port, "PORT")
    return request


@pytest.mark.parametrize(
    ("url", "target", "host", "authorization"),
    [
        ("http://127.0.0.1:PORT", "/", "127.0.0.1:PORT", None),
        ("HTTP://LocalHost:PORT/Aa?", "/Aa?", "localhost:PORT", None),
        (
            "http://127.0.0.1:PORT/a b/ç?x=é&y=1%202#aqui",
            "/a%20b/%C3%A7?x=%C3%A9&y=1%202",
            "127.0.0.1:PORT",
            None,
        ),
        ("http://127.0.0.1:PORT/%7ea/%zz/%?t=%2F%2f+/?=", "/%7ea/%zz/%?t=%2F%2f+/?=", "127.0.0.1:PORT", None),
        ("http://127.0.0.1:PORT//a/../b;p=1,2'(!)*$&:@", "//b;p=1,2'(!)*$&:@", "127.0.0.1:PORT", None),
        ("http://bot:s%40%C3%A7@127.0.0.1:PORT/x", "/x", "127.0.0.1:PORT", "Basic Ym90OnNAw6c="),
        ("http://bot@127.0.0.1:PORT/x", "/x", "127.0.0.1:PORT", "Basic Ym90Og=="),
    ],
)
async def test_a_url_is_sent_as_it_is_configured(
    url: str, target: str, host: str, authorization: str | None
) -> None:
    request = await sent(url)
    assert (request.target, request.headers["host"]) == (target, host)
    assert request.headers.get("authorization") == authorization


async def test_credentials_of_the_url_win_over_a_header() -> None:
    request = await sent("http://u:p@127.0.0.1:PORT/", {"Authorization": "Bearer x"})
    assert request.headers["authorization"] == "Basic dTpw"


async def test_nothing_is_sent_but_the_callers_headers_and_what_http_needs(
    monkeypatch: pytest.MonkeyPatch, tmp_path: object
) -> None:
    netrc = f"{tmp_path}/netrc"
    with open(netrc, "w") as file:  # noqa: ASYNC230, PTH123  # a test's file
        file.write("machine 127.0.0.1 login u password p\n")
    monkeypatch.setenv("NETRC", netrc)
    request = await sent("http://127.0.0.1:PORT/", {"Content-Type": "application/json", "X-A": "b"})
    assert set(request.headers) == {
        "host", "user-agent", "content-type", "x-a", "accept", "accept-encoding", "content-length",
    }  # fmt: skip
    assert request.headers["user-agent"].startswith("ticket-worker/")


@pytest.mark.parametrize("value", ["ação", "💙", "a\r\nX-B: c", "a\nb", "\x00"])
async def test_a_header_that_cannot_be_sent_as_it_is_fails_for_certain(value: str) -> None:
    async with RawServer().running() as server, sending() as sender:
        with pytest.raises(Failed, match="ValueError") as failure:
            await post(sender, server.url, {"X-A": value})
        assert server.requests == []
    assert failure.value.certain


# ------------------------------------------------------------------------------------------------- proxies


async def by_proxy(monkeypatch: pytest.MonkeyPatch, environ: Mapping[str, str]) -> list[Exchange]:
    """The requests that the proxy gets for http://crm.invalid/x, which does not resolve."""
    async with RawServer().running() as proxy:
        for name, value in environ.items():
            monkeypatch.setenv(name, value.replace("PROXY", proxy.url.split("/")[2]))
        async with sending() as sender:
            with contextlib.suppress(Failed):
                await post(sender, "http://crm.invalid/x")
    return proxy.requests


@pytest.mark.parametrize(
    "environ",
    [
        {"http_proxy": "http://PROXY"},
        {"HTTP_PROXY": "PROXY"},
        {"all_proxy": "http://PROXY"},
        {"http_proxy": "http://PROXY", "no_proxy": "outro.invalid,crm.invalid:81"},
    ],
)
async def test_requests_go_through_the_environments_proxy(
    monkeypatch: pytest.MonkeyPatch, environ: Mapping[str, str]
) -> None:
    (request,) = await by_proxy(monkeypatch, environ)
    assert (request.target, request.headers["host"]) == ("http://crm.invalid/x", "crm.invalid")


@pytest.mark.parametrize(
    "environ", [{"https_proxy": "http://PROXY"}, {"http_proxy": "http://PROXY", "no_proxy": "invalid"}]
)
async def test_requests_do_not_go_through_a_proxy_for_others(
    monkeypatch: pytest.MonkeyPatch, environ: Mapping[str, str]
) -> None:
    assert await by_proxy(monkeypatch, environ) == []


async def test_a_proxys_credentials_go_to_the_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    (request,) = await by_proxy(monkeypatch, {"http_proxy": "http://u:p%40@PROXY"})
    assert request.headers["proxy-authorization"] == "Basic dTpwQA=="
    assert "authorization" not in request.headers


async def test_a_tunnel_is_used_again_and_its_connect_is_not_the_request(
    monkeypatch: pytest.MonkeyPatch, trusted_tls: ssl.SSLContext
) -> None:
    checks: list[int] = []
    async with RawServer().running(trusted_tls) as server:
        port = int(server.url.split(":")[2].split("/")[0])
        async with tunnelling(port) as (proxy, heads):
            monkeypatch.setenv("HTTPS_PROXY", f"http://u:p%40@{proxy}")
            async with sending() as sender:
                for _ in range(2):
                    await post(sender, "https://crm.invalid/x", before_send=lambda: checks.append(len(heads)))
    assert checks == [1, 1, 1, 1]
    (head,) = heads
    assert head.startswith("CONNECT crm.invalid:443 HTTP/1.1\r\n")
    assert "Proxy-Authorization: Basic dTpwQA==" in head
    assert [request.target for request in server.requests] == ["/x", "/x"]
    assert "proxy-authorization" not in server.requests[0].headers


@pytest.mark.parametrize("proxy", ["socks5://127.0.0.1:1080", "ftp://127.0.0.1"])
def test_a_proxy_that_cannot_be_used_is_refused_before_anything_is_sent(
    monkeypatch: pytest.MonkeyPatch, proxy: str
) -> None:
    monkeypatch.setenv("all_proxy", proxy)
    with pytest.raises(ConfigError, match="all_proxy"):
        Sender(1)


# ---------------------------------------------------------------------------------------------- failure codes


def test_an_error_that_causes_itself_has_a_code() -> None:
    error = httpx.HTTPError("")
    error.__cause__ = error
    assert client.code(error) == "HTTPError"

"""One POST over real sockets: what is on the wire, and that `written` is the truth of it."""

import asyncio
import contextlib
import socket
import time
from collections.abc import AsyncIterator, Mapping
from weakref import WeakSet

import aiohttp
import pytest
from aiohttp.client_proto import ResponseHandler
from aiohttp.http import StreamWriter

from tests.raw_server import Act, Exchange, Gate, RawServer, answer, reply
from worker import http, posting
from worker.errors import ConfigError
from worker.posting import Answer, Poster, Unanswered

pytestmark = pytest.mark.usefixtures("no_proxies")

BODY = b'{"documento": "52998224725"}'


class Refused(BaseException):
    """Like the guard's fence: no `Exception`."""


def allowed() -> None:
    """The last look of a sender that may send."""


@pytest.fixture
def no_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


@contextlib.asynccontextmanager
async def poster(timeout_s: float = 5) -> AsyncIterator[Poster]:
    posting_ = Poster(timeout_s)
    try:
        yield posting_
    finally:
        await posting_.aclose()


async def post(
    sender: Poster, url: str, headers: Mapping[str, str] | None = None, last_look: object = allowed
) -> Answer:
    return await sender.post(url, BODY, headers or {}, last_look, time.monotonic() + 5)  # type: ignore[arg-type]


async def some_turns() -> None:
    """What is on its way on this loop arrives."""
    for _ in range(100):
        await asyncio.sleep(0)


class Listener:
    """Takes what comes on each connection and says nothing, unless told to leave."""

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


# ------------------------------------------------------------------------------------------- the last look


@pytest.mark.parametrize("refusal", [Refused, ValueError, TimeoutError, OSError])
async def test_when_the_last_look_refuses_not_one_byte_is_on_the_wire_and_its_reason_comes_out(
    refusal: type[BaseException],
) -> None:
    """It pins what the fence rests upon: aiohttp keeps the head back until the body is written."""

    def refuse() -> None:
        raise refusal("não")

    listener = Listener()
    async with listener.running() as url, poster() as sender:
        with pytest.raises(refusal, match="não"):
            await post(sender, url, last_look=refuse)
        await listener.ended.acquire()
    assert listener.got == [b""]


async def test_head_and_body_leave_in_one_write_right_after_the_last_look(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    done: list[object] = []

    def write(writer: StreamWriter, data: bytes) -> None:
        done.append(data)
        writer.transport.write(data)  # type: ignore[union-attr]  # it is connected

    monkeypatch.setattr(StreamWriter, "_write", write)
    monkeypatch.setattr(StreamWriter, "_writelines", lambda writer, parts: write(writer, b"".join(parts)))
    async with RawServer().running() as server, poster() as sender:
        await post(sender, server.url, last_look=lambda: done.append("look"))
    look, written = done
    assert look == "look"
    assert isinstance(written, bytes)
    assert written.startswith(b"POST /abrir_ticket HTTP/1.1\r\n")
    assert written.endswith(b"\r\n\r\n" + BODY)


async def test_the_last_look_is_after_connecting() -> None:
    connections: list[int] = []
    async with RawServer().running() as server, poster() as sender:
        await post(sender, server.url)  # so that the next one finds it connected
        await post(sender, server.url, last_look=lambda: connections.append(server.connections))
    assert connections == [1]


@pytest.mark.parametrize("turns", range(12))
async def test_cut_off_at_any_turn_what_is_said_not_to_be_written_was_not_and_never_is(turns: int) -> None:
    looked: list[str] = []
    async with RawServer(reply(), default=Gate(reply())).running() as server:
        async with poster() as sender:
            await post(sender, server.url)
            sending = asyncio.create_task(post(sender, server.url, last_look=lambda: looked.append("look")))
            for _ in range(turns):
                await asyncio.sleep(0)
        with pytest.raises(Unanswered) as failure:
            await sending
        await some_turns()
        assert failure.value.written == bool(looked)
        assert len(server.requests) <= 1 + failure.value.written


async def test_a_timeout_takes_the_write_with_it_that_has_not_begun() -> None:
    looked: list[str] = []
    async with RawServer(reply(), default=Gate(reply())).running() as server, poster() as sender:
        await post(sender, server.url)
        with pytest.raises(Unanswered, match="timeout") as failure:
            await sender.post(server.url, BODY, {}, lambda: looked.append("look"), time.monotonic() - 1)
        await some_turns()
        assert failure.value.written == bool(looked)
        assert len(server.requests) <= 1 + failure.value.written


async def test_what_nobody_waits_for_any_more_is_not_written() -> None:
    loop = asyncio.get_running_loop()
    ours, theirs = socket.socketpair()
    with theirs:
        transport, protocol = await loop.create_connection(lambda: ResponseHandler(loop), sock=ours)
        payload = posting._Payload(BODY, allowed, WeakSet())
        payload.over = True
        with pytest.raises(ConnectionAbortedError):
            await payload.write(StreamWriter(protocol, loop))
        transport.close()
        await some_turns()
        assert theirs.recv(1) == b""
    assert not payload.written


# ------------------------------------------------------------------------------------------ idle connections


async def test_an_answer_that_came_before_it_was_asked_for_is_nobodys() -> None:
    """Taken for the next customer's it would show another one's protocolo."""
    go_on = asyncio.Event()

    async def twice(exchange: Exchange) -> bool:
        await exchange.write(answer(200, b"um"))
        await go_on.wait()
        await exchange.write(answer(200, b"outra vez"))
        return True

    async with RawServer(twice, reply(200, b"dois")).running() as server, poster() as sender:
        assert (await post(sender, server.url)).body == b"um"
        go_on.set()
        await some_turns()
        assert (await post(sender, server.url)).body == b"dois"
        assert [request.connection for request in server.requests] == [1, 2]


async def test_a_server_that_hangs_up_at_once_is_not_called_without_end() -> None:
    listener = Listener(leaves=True)
    async with listener.running() as url, poster() as sender:
        with pytest.raises(Unanswered):
            await post(sender, url)
    assert len(listener.got) <= 2


async def test_the_library_does_not_limit_how_many_are_under_way() -> None:
    gate = Gate(reply())
    async with RawServer(default=gate).running() as server, poster() as sender:
        posts = [asyncio.create_task(post(sender, server.url)) for _ in range(120)]
        for _ in posts:
            await gate.arrived.acquire()
        gate.opened.set()
        assert {each.status for each in await asyncio.gather(*posts)} == {200}


# ---------------------------------------------------------------------------------------- what is on the wire


async def sent(url: str, headers: Mapping[str, str] | None = None, act: Act | None = None) -> Exchange:
    """The request that comes of it; PORT in `url` is the server's."""
    async with RawServer(default=act).running() as server, poster() as sender:
        port = server.url.split(":")[2].split("/")[0]
        await post(sender, url.replace("PORT", port), headers)
    (request,) = server.requests
    request.head = request.head.replace(port, "PORT")
    return request


@pytest.mark.parametrize(
    ("url", "target", "host", "authorization"),
    [
        ("http://127.0.0.1:PORT", "/", "127.0.0.1:PORT", None),
        ("HTTP://LocalHost:PORT/Aa?", "/Aa", "localhost:PORT", None),
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
    async with RawServer().running() as server, poster() as sender:
        with pytest.raises(Unanswered, match=r"UnicodeEncodeError|ValueError") as failure:
            await post(sender, server.url, {"X-A": value})
        assert server.requests == []
    assert not failure.value.written


# ------------------------------------------------------------------------------------------------- proxies


async def by_proxy(monkeypatch: pytest.MonkeyPatch, environ: Mapping[str, str]) -> list[Exchange]:
    """What the proxy is asked for http://crm.invalid/x, which does not resolve."""
    async with RawServer().running() as proxy:
        for name, value in environ.items():
            monkeypatch.setenv(name, value.replace("PROXY", proxy.url.split("/")[2]))
        async with poster() as sender:
            with contextlib.suppress(Unanswered):
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
async def test_the_environments_proxy_is_gone_by(
    monkeypatch: pytest.MonkeyPatch, environ: Mapping[str, str]
) -> None:
    (request,) = await by_proxy(monkeypatch, environ)
    assert (request.target, request.headers["host"]) == ("http://crm.invalid/x", "crm.invalid")


@pytest.mark.parametrize(
    "environ", [{"https_proxy": "http://PROXY"}, {"http_proxy": "http://PROXY", "no_proxy": "invalid"}]
)
async def test_and_not_by_one_that_is_for_others(
    monkeypatch: pytest.MonkeyPatch, environ: Mapping[str, str]
) -> None:
    assert await by_proxy(monkeypatch, environ) == []


async def test_a_proxys_credentials_go_to_the_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    (request,) = await by_proxy(monkeypatch, {"http_proxy": "http://u:p%40@PROXY"})
    assert request.headers["proxy-authorization"] == "Basic dTpwQA=="
    assert "authorization" not in request.headers


@pytest.mark.parametrize("proxy", ["socks5://127.0.0.1:1080", "ftp://127.0.0.1"])
def test_a_proxy_that_cannot_be_gone_by_is_said_before_anything_is_sent(
    monkeypatch: pytest.MonkeyPatch, proxy: str
) -> None:
    monkeypatch.setenv("all_proxy", proxy)
    with pytest.raises(ConfigError, match="all_proxy"):
        Poster(1)


# --------------------------------------------------------------------------------------- words for failures


def test_a_failure_that_causes_itself_has_a_word_as_well() -> None:
    error = aiohttp.ClientError()
    error.__cause__ = error
    assert http.code(error) == "ClientError"

"""The real server on a loopback socket."""

import asyncio
import contextlib
import json
import signal
import socket
from collections.abc import AsyncIterator, Awaitable, Callable

import httpx
import pytest
from starlette.types import ASGIApp, Receive, Scope, Send

from tests.asgi import api_over
from worker.errors import ConfigError
from worker.store.store import Store
from worker.web import connections
from worker.web.middleware import BodyLimit
from worker.web.server import serve


@contextlib.asynccontextmanager
async def serving(app: ASGIApp, host: str = "127.0.0.1") -> AsyncIterator[tuple[str, asyncio.Task[None]]]:
    """A running server's URL and task; stopped by cancelling, as the daemon does."""
    started: asyncio.Future[str] = asyncio.get_running_loop().create_future()
    task = asyncio.create_task(serve(app, host, 0, on_started=started.set_result))
    try:
        yield await started, task
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
    assert task.cancelled()


async def raw(url: str, request: bytes) -> tuple[bytes, dict[str, object]]:
    """Head and JSON body of the answer to bytes sent as they are."""
    host, port = url.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(request)
    head = await reader.readuntil(b"\r\n\r\n")
    length = int(head.lower().partition(b"content-length: ")[2].split(b"\r\n")[0])
    body = json.loads(await reader.readexactly(length))
    writer.close()
    await writer.wait_closed()
    return head, body


async def in_chunks(size: int) -> AsyncIterator[bytes]:
    for _ in range(size // 65_536):
        yield b" " * 65_536


async def test_the_api_is_served_over_real_http_and_says_nothing_of_its_server(sqlite_store: Store) -> None:
    async with serving(api_over(sqlite_store)) as (url, _), httpx.AsyncClient(base_url=url) as api:
        answer = await api.put("/v1/conversations/conv-1", json={"thread_id": "thread_1"})
        assert answer.status_code == 201
        assert "server" not in answer.headers
        assert (await api.get("/v1/conversations/a%2Fb")).status_code == 422
        assert (await api.get("/v1/conversations/a%00b")).status_code == 422
        assert (await api.get("/v1/calls/a%2Fb")).status_code == 404
        head = await api.head("/livez")
        assert (head.status_code, head.content) == (200, b"")


@pytest.mark.parametrize("size", [5 * 65_536, 64 * 65_536])
async def test_a_large_body_in_chunks_is_refused_while_it_is_still_being_sent(
    sqlite_store: Store, size: int
) -> None:
    async with serving(api_over(sqlite_store)) as (url, _), httpx.AsyncClient(base_url=url) as api:
        headers = {"Content-Type": "application/json"}
        answer = await api.put("/v1/conversations/c", content=in_chunks(size), headers=headers)
        assert (answer.status_code, answer.json()["code"]) == (413, "corpo_grande_demais")
        assert (await api.get("/livez")).status_code == 200


async def test_a_declared_large_body_is_refused_before_it_is_sent(sqlite_store: Store) -> None:
    async with serving(api_over(sqlite_store)) as (url, _):
        head, body = await raw(
            url, b"PUT /v1/conversations/c HTTP/1.1\r\nHost: localhost\r\nContent-Length: 300000\r\n\r\n"
        )
    assert head.startswith(b"HTTP/1.1 413 ")
    assert body["code"] == "corpo_grande_demais"


@pytest.mark.parametrize(
    "lines", [b"HTTP/1.1\r\nHost: tickets.example", b"HTTP/1.1\r\nHost: 127.0.0.1.nip.io", b"HTTP/1.0"]
)
async def test_without_a_token_a_rebound_or_missing_host_is_refused(
    sqlite_store: Store, lines: bytes
) -> None:
    async with serving(api_over(sqlite_store)) as (url, _):
        head, body = await raw(url, b"GET /v1/calls " + lines + b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 403 ")
    assert body["code"] == "host_recusado"


async def test_a_port_in_use_is_a_problem_of_the_configuration(sqlite_store: Store) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(ConfigError) as caught:
            await serve(api_over(sqlite_store), "127.0.0.1", port, on_started=lambda url: None)
    (problem,) = caught.value.problems
    assert problem.startswith(f"HTTP_HOST e HTTP_PORT: não foi possível escutar em 127.0.0.1, porta {port};")


@pytest.mark.parametrize("host", ["192.0.2.1", "não existe.invalid", "x" * 300])
async def test_a_host_that_is_not_ours_is_a_problem_of_the_configuration(
    sqlite_store: Store, host: str
) -> None:
    with pytest.raises(ConfigError, match="não foi possível escutar"):
        await serve(api_over(sqlite_store), host, 0, on_started=lambda url: None)


async def test_an_ipv6_address_is_written_as_a_url(sqlite_store: Store) -> None:
    if not socket.has_dualstack_ipv6():
        pytest.skip("this machine has no IPv6")
    async with serving(api_over(sqlite_store), "::1") as (url, _), httpx.AsyncClient() as api:
        assert url.startswith("http://[::1]:")
        assert (await api.get(f"{url}/livez")).status_code == 200


async def test_the_signals_of_the_process_are_left_alone(sqlite_store: Store) -> None:
    before = signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)
    async with serving(api_over(sqlite_store)) as (url, _), httpx.AsyncClient() as api:
        await api.get(f"{url}/livez")
        assert (signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)) == before


def slow(entered: asyncio.Event, leave: Callable[[], Awaitable[object]]) -> ASGIApp:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        entered.set()
        await leave()
        await send({"type": "http.response.start", "status": 204, "headers": []})
        await send({"type": "http.response.body"})

    return app


async def test_a_request_open_at_the_end_is_finished_and_a_new_one_is_not_taken() -> None:
    entered, leave = asyncio.Event(), asyncio.Event()
    async with serving(slow(entered, leave.wait)) as (url, task), httpx.AsyncClient() as api:
        answer = asyncio.create_task(api.get(url))
        await entered.wait()
        task.cancel()
        while await connects(url):  # noqa: ASYNC110 - waits for the listening socket of uvicorn to close
            await asyncio.sleep(0.01)
        assert not task.done()
        leave.set()
        assert (await answer).status_code == 204


async def connects(url: str) -> bool:
    host, port = url.removeprefix("http://").split(":")
    try:
        _, writer = await asyncio.open_connection(host, int(port))
    except OSError:
        return False
    writer.close()
    return True


async def test_a_second_cancel_does_not_wait_for_open_requests() -> None:
    entered = asyncio.Event()
    forever = asyncio.Event()
    async with serving(slow(entered, forever.wait)) as (url, task), httpx.AsyncClient() as api:
        answer = asyncio.create_task(api.get(url))
        await entered.wait()
        task.cancel()
        while await connects(url):  # noqa: ASYNC110 - waits for the listening socket of uvicorn to close
            await asyncio.sleep(0.01)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        forever.set()
        assert (await answer).status_code == 204


async def test_a_cancel_before_the_start_leaves_the_port_free(sqlite_store: Store) -> None:
    urls: list[str] = []
    task = asyncio.create_task(serve(api_over(sqlite_store), "127.0.0.1", 0, on_started=urls.append))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    port = int(urls[0].rpartition(":")[2])
    socket.create_server(("127.0.0.1", port)).close()


# ------------------------------------------------------------------------------------------------- bounds


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Bounds short enough for a test, each of another length."""
    for name, seconds in {"HEAD_S": 0.2, "BODY_S": 0.3, "IDLE_S": 0.4, "WRITE_S": 0.3}.items():
        monkeypatch.setattr(connections, name, seconds)


async def connected(url: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    host, port = url.removeprefix("http://").split(":")
    return await asyncio.open_connection(host, int(port))


async def ended(reader: asyncio.StreamReader) -> bytes:
    """What comes until the server closes the connection."""
    received = b""
    with contextlib.suppress(ConnectionResetError):
        async with asyncio.timeout(10):
            while chunk := await reader.read(65_536):
                received += chunk
    return received


GET = b"GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n"


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("sent", [b"", b"GET / HTTP/1.1\r\n"])
async def test_a_caller_who_sends_no_whole_head_is_hung_up_on(sqlite_store: Store, sent: bytes) -> None:
    async with serving(api_over(sqlite_store)) as (url, _):
        reader, writer = await connected(url)
        writer.write(sent)
        assert await ended(reader) == b""
        writer.close()


@pytest.mark.usefixtures("quick")
async def test_a_body_that_does_not_come_is_not_waited_for(sqlite_store: Store) -> None:
    async with serving(api_over(sqlite_store)) as (url, _):
        reader, writer = await connected(url)
        writer.write(b"PUT /v1/conversations/c HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\n{")
        assert await ended(reader) == b""
        writer.close()


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("more", [b"", b"G"])
async def test_an_idle_connection_is_closed_whether_or_not_a_further_request_begins(
    sqlite_store: Store, more: bytes
) -> None:
    async with serving(api_over(sqlite_store)) as (url, _):
        reader, writer = await connected(url)
        writer.write(GET + more)
        assert (await ended(reader)).startswith(b"HTTP/1.1 200 ")
        writer.close()


@pytest.mark.usefixtures("quick")
async def test_a_caller_who_reads_nothing_of_a_long_answer_is_hung_up_on() -> None:
    gone = asyncio.Event()

    async def endless(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        with contextlib.suppress(OSError):
            while (await asyncio.wait_for(send_part(send), 10)) and not await left(receive):
                pass
        gone.set()

    async def send_part(send: Send) -> bool:
        await send({"type": "http.response.body", "body": b"x" * 1_000_000, "more_body": True})
        return True

    async def left(receive: Receive) -> bool:
        task = asyncio.ensure_future(receive())
        await asyncio.sleep(0)
        return not task.cancel() and task.result()["type"] == "http.disconnect"

    async with serving(endless) as (url, _):
        _, writer = await connected(url)
        writer.write(GET)
        async with asyncio.timeout(10):
            await gone.wait()
        writer.transport.abort()


@pytest.mark.usefixtures("quick")
async def test_work_on_a_request_may_take_longer_than_any_bound() -> None:
    working = slow(asyncio.Event(), lambda: asyncio.sleep(0.8))
    async with serving(BodyLimit(working)) as (url, _), httpx.AsyncClient() as api:
        assert (await api.put(url, content=b"")).status_code == 204


@pytest.mark.usefixtures("quick")
async def test_a_connection_that_is_used_again_and_again_stays_open(sqlite_store: Store) -> None:
    async with serving(api_over(sqlite_store)) as (url, _):
        reader, writer = await connected(url)
        for _ in range(6):
            writer.write(GET)
            assert (await reader.readuntil(b"}")).startswith(b"HTTP/1.1 200 ")
            await asyncio.sleep(0.1)
        writer.close()


async def test_beyond_the_bound_the_caller_that_waits_longest_makes_room_for_a_new_one(
    sqlite_store: Store, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(connections, "MOST", 3)
    async with serving(api_over(sqlite_store)) as (url, _):
        silent = [await connected(url) for _ in range(3)]
        async with httpx.AsyncClient() as api:
            for _ in range(3):
                assert (await api.get(f"{url}/livez", headers={"Connection": "close"})).status_code == 200
        assert await ended(silent[0][0]) == b""
        assert not silent[2][0].at_eof()
        for _, writer in silent:
            writer.close()
    assert capsys.readouterr().err.count("limite de conexões da API atingido") == 1


async def test_a_new_caller_is_refused_while_every_connection_is_at_work(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(connections, "MOST", 1)
    entered, leave = asyncio.Event(), asyncio.Event()
    async with serving(slow(entered, leave.wait)) as (url, _):
        reader, writer = await connected(url)
        writer.write(GET)
        await entered.wait()
        late, late_writer = await connected(url)
        assert await ended(late) == b""
        leave.set()
        assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 204 ")
        for each in (writer, late_writer):
            each.close()


@pytest.mark.parametrize(("descriptors", "most"), [(256, 64), (1024, 256), (1_048_576, 1000), (3, 1)])
def test_connections_leave_most_descriptors_to_the_work(descriptors: int, most: int) -> None:
    assert connections.most_connections(descriptors) == most

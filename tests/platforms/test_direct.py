"""One way to the platform, whatever the environment: the same headers and limits for looks and the SDK."""

import asyncio
import gzip
import tracemalloc
import zlib
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx2
import pytest

from tests.certificates import server_context, write_certificate
from tests.raw_server import Exchange, RawServer, answer, reply, tunnelling
from worker.errors import ConfigError, PlatformRefused, PlatformUnavailable
from worker.platforms.connection import Connection
from worker.platforms.direct import BODY_LIMIT

RUN = b'{"id": "run_1"}'
PATH = "/threads/thread_1/runs/run_1"


@pytest.fixture(autouse=True)
def _clean(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


@asynccontextmanager
async def connected(url: str, *, key: str = "key", version: str | None = None) -> AsyncIterator[Connection]:
    connection = Connection(
        api_key=key, base_url=url, api_version=version, beta="assistants=v2", timeout_s=20.0
    )
    try:
        yield connection
    finally:
        await connection.aclose()


async def every_way(connection: Connection) -> None:
    """A GET, a submit, and a request of the SDK's."""
    await connection.get(PATH)
    await connection.submit(PATH, {"tool_outputs": []})
    await connection.ask(connection.client.get("/assistants/asst_1", cast_to=httpx2.Response))


@dataclass
class Way:
    """An environment, and how its requests look to the server or proxy that gets them."""

    url: str
    key: str = "key"
    environ: Mapping[str, str] = field(default_factory=dict)
    target: str = ""
    headers: Mapping[str, str | None] = field(default_factory=dict)


WAYS = [
    pytest.param(
        Way("http://127.0.0.1:PORT/v1", headers={"authorization": "Bearer key", "host": "127.0.0.1:PORT"}),
        id="with a key",
    ),
    pytest.param(
        Way("http://bot:s%40@127.0.0.1:PORT/v1", headers={"authorization": "Basic Ym90OnNA"}),
        id="with credentials in the URL, which come before the key",
    ),
    pytest.param(
        Way(
            "http://platform.example/v1",
            environ={"HTTP_PROXY": "http://127.0.0.1:PORT"},
            target="http://platform.example",
            headers={"authorization": "Bearer key", "host": "platform.example", "proxy-authorization": None},
        ),
        id="behind a proxy",
    ),
    pytest.param(
        Way(
            "http://bot:s%40@platform.example/v1",
            environ={"ALL_PROXY": "http://u:p%40@127.0.0.1:PORT"},
            target="http://platform.example",
            headers={"authorization": "Basic Ym90OnNA", "proxy-authorization": "Basic dTpwQA=="},
        ),
        id="with credentials for the platform and for the proxy",
    ),
    pytest.param(
        Way(
            "http://127.0.0.1:PORT/v1",
            environ={"HTTP_PROXY": "http://127.0.0.1:1", "ALL_PROXY": "http://127.0.0.1:1"},
            headers={"authorization": "Bearer key"},
        ),
        id="on this machine, with a proxy for others",
    ),
]


async def sent(way: Way, monkeypatch: pytest.MonkeyPatch) -> list[Exchange]:
    async with RawServer(default=reply(200, RUN, Set_Cookie="a=b")).running() as server:
        port = server.url.split(":")[2].split("/")[0]
        for name, value in way.environ.items():
            monkeypatch.setenv(name, value.replace("PORT", port))
        async with connected(way.url.replace("PORT", port), key=way.key, version="v1") as connection:
            await every_way(connection)
    for request in server.requests:
        request.head = request.head.replace(port, "PORT")
    return server.requests


@pytest.mark.parametrize("way", WAYS)
async def test_gets_submits_and_the_sdk_go_the_same_way(way: Way, monkeypatch: pytest.MonkeyPatch) -> None:
    look, submit, sdk = await sent(way, monkeypatch)
    assert (look.method, look.target) == ("GET", f"{way.target}/v1{PATH}?api-version=v1")
    assert (submit.method, submit.target) == ("POST", look.target)
    assert (sdk.method, sdk.target) == ("GET", f"{way.target}/v1/assistants/asst_1?api-version=v1")
    for request in (look, submit, sdk):
        assert {name: request.headers.get(name) for name in way.headers} == way.headers
        assert request.headers["openai-beta"] == "assistants=v2"
        assert request.headers["accept-encoding"] == look.headers["accept-encoding"]
        assert "cookie" not in request.headers
    assert submit.headers["content-type"] == "application/json"
    assert len({request.connection for request in (look, submit, sdk)}) == 1


async def test_the_api_version_joins_a_query() -> None:
    server = RawServer(default=reply(200, RUN))
    async with server.running(), connected(server.url, version="v1") as connection:
        await connection.get("/threads?limit=1")
    assert [request.target.partition("?")[2] for request in server.requests] == ["limit=1&api-version=v1"]


async def test_gets_submits_and_the_sdk_share_a_tunnel_and_trust_the_operators_authority(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    certificate = tmp_path / "platform.pem"
    write_certificate(certificate)
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    async with RawServer(default=reply(200, RUN)).running(server_context(certificate)) as server:
        port = int(server.url.split(":")[2].split("/")[0])
        async with tunnelling(port) as (proxy, heads):
            monkeypatch.setenv("HTTPS_PROXY", f"http://{proxy}")
            async with connected("https://crm.invalid/v1") as connection:
                await every_way(connection)
    assert [head.split(" ", 2)[:2] for head in heads] == [["CONNECT", "crm.invalid:443"]]
    assert {request.headers["authorization"] for request in server.requests} == {"Bearer key"}
    assert len(server.requests) == 3


async def test_a_response_that_came_unasked_is_not_the_next_runs() -> None:
    go_on, written = asyncio.Event(), asyncio.Event()

    async def twice(exchange: Exchange) -> bool:
        await exchange.write(answer(200, b'{"id": "run_1"}'))
        await go_on.wait()
        await exchange.write(answer(200, b'{"id": "unasked"}'))
        written.set()
        return True

    server = RawServer(twice, default=reply(200, b'{"id": "run_2"}')).running()
    async with server as serving, connected(serving.url) as connection:
        assert (await connection.get(PATH)).body == {"id": "run_1"}
        go_on.set()
        await written.wait()
        for _ in range(100):  # so that what is on its way on this loop arrives
            await asyncio.sleep(0)
        for _ in range(2):
            assert (await connection.get(PATH)).body == {"id": "run_2"}
        assert [request.connection for request in serving.requests] == [1, 2, 2]


async def test_a_redirect_is_not_followed() -> None:
    async with RawServer().running() as target:
        redirects = RawServer(default=reply(307, Location=target.url))
        async with redirects.running() as server, connected(server.url) as connection:
            with pytest.raises(PlatformRefused):
                await connection.get(PATH)
            with pytest.raises(PlatformRefused):
                await connection.submit(PATH, {})
            with pytest.raises(PlatformRefused):
                await connection.ask(connection.client.get("/assistants", cast_to=httpx2.Response))
        assert target.requests == []


# ------------------------------------------------------------------------------------------------ the limit


async def look(connection: Connection) -> None:
    await connection.get(PATH)


async def ask(connection: Connection) -> None:
    await connection.ask(connection.client.get("/assistants", cast_to=httpx2.Response))


@pytest.mark.parametrize("request_", [look, ask])
@pytest.mark.parametrize("encoding", ["gzip", "deflate"])
async def test_an_answer_that_unpacks_to_more_than_the_limit_is_not_held_in_memory(
    encoding: str, request_: Callable[[Connection], Awaitable[None]]
) -> None:
    bomb = {"gzip": gzip.compress, "deflate": zlib.compress}[encoding](b" " * (64 * BODY_LIMIT))
    acts = reply(200, bomb, Content_Encoding=encoding), reply(200, RUN)
    async with RawServer(*acts).running() as server, connected(server.url) as connection:
        tracemalloc.start()
        with pytest.raises(PlatformUnavailable):
            await request_(connection)
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        await request_(connection)
    assert peak < 4 * BODY_LIMIT


@pytest.mark.parametrize("request_", [look, ask])
async def test_an_answer_that_is_itself_longer_than_the_limit_is_not_read(
    request_: Callable[[Connection], Awaitable[None]],
) -> None:
    acts = reply(200, RUN.ljust(BODY_LIMIT + 1)), reply(200, RUN.ljust(BODY_LIMIT))
    async with RawServer(*acts).running() as server, connected(server.url) as connection:
        with pytest.raises(PlatformUnavailable):
            await request_(connection)
        await request_(connection)


# -------------------------------------------------------------------------------------- before the start


@pytest.mark.parametrize(
    ("name", "value"), [("HTTPS_PROXY", "http://proxy:porta"), ("SSL_CERT_FILE", "/nonexistent/segredo.pem")]
)
def test_what_cannot_be_connected_with_is_a_configuration_error(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(ConfigError, match=name) as refused:
        Connection(api_key="key", base_url="https://platform.example/v1", timeout_s=1.0)
    assert value not in str(refused.value)


def test_without_tls_no_authorities_are_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", "/nonexistent")
    Connection(api_key="key", base_url="http://platform.example/v1", timeout_s=1.0)

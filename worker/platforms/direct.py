"""The connections to the platform, on aiohttp: every request uses them, in every environment.

`DirectClient` sends every GET, and submits. The official SDK sends everything else over the same connections
(`SdkTransport`): through the SDK a request costs several times the CPU (docs/performance.md).
"""

import asyncio
import base64
from collections.abc import Mapping
from typing import NamedTuple
from urllib.parse import urlencode

import aiohttp
import httpx2
from aiohttp.connector import Connection
from aiohttp.tracing import Trace
from openai import AsyncOpenAI
from yarl import URL

from worker.platforms.entra import EntraToken
from worker.settings import network

BODY_LIMIT = 4 << 20
"""Largest response, in bytes after decompression."""

_IDLE_S = 5.0
"""How long an unused connection is kept, as in the SDK."""

_AIOHTTP_HEADERS = frozenset({"accept-encoding", "connection", "content-length", "host", "transfer-encoding"})
_TRANSFER_HEADERS = frozenset({"content-encoding", "content-length", "transfer-encoding"})


class RawResponse(NamedTuple):
    """A response that was read to its end and decompressed."""

    status: int
    headers: Mapping[str, str]
    content: bytes
    #: `content` decoded by its own charset, of a response outside 2xx.
    text: str = ""


class Connections:
    """Connections to one server, with the environment's proxy and authorities, without cookies and redirects.

    Raises `ConfigError` for a proxy or authorities that cannot be used.
    """

    def __init__(self, base_url: str) -> None:
        self._proxy = network.proxy_for(base_url)
        self._secure = any(url.lower().startswith("https:") for url in (base_url, self._proxy or ""))
        self._authorities = network.trusted_authorities() if self._secure else None
        self._session: aiohttp.ClientSession | None = None

    async def request(
        self, method: str, url: URL, headers: Mapping[str, str], body: bytes | None = None
    ) -> RawResponse:
        """Send one request and return its response. The caller limits the time.

        Raises what aiohttp raises, and `ValueError` for a response longer than `BODY_LIMIT`.
        """
        session = self._session = self._session or self._open()
        request = session.request(
            method, url, data=body, headers=headers, allow_redirects=False, proxy=self._proxy
        )
        async with request as response:
            content = await _read(response)
            if 200 <= response.status < 300:
                return RawResponse(response.status, response.headers, content)
            text = content.decode(response.charset or "utf-8", "replace")
            return RawResponse(response.status, response.headers, content, text)

    async def aclose(self) -> None:
        """Close the connections."""
        if self._session is not None:
            await self._session.close()

    def _open(self) -> aiohttp.ClientSession:
        """A session. It can be created only in a running loop."""
        trust = (self._authorities or httpx2.create_ssl_context(trust_env=False)) if self._secure else True
        return aiohttp.ClientSession(
            connector=_Connector(ssl=trust, keepalive_timeout=_IDLE_S),
            cookie_jar=aiohttp.DummyCookieJar(),  # no cookie of one response goes with the next request
            timeout=aiohttp.ClientTimeout(total=None),
        )


class _Connector(aiohttp.TCPConnector):
    """Does not use a connection again on which bytes came unasked.

    aiohttp would read them as the next response, which belongs to another run, and each response after it one
    request late.
    """

    async def connect(
        self,
        req: aiohttp.ClientRequest,
        traces: list[Trace],
        timeout: aiohttp.ClientTimeout,  # noqa: ASYNC109
    ) -> Connection:
        connection = await super().connect(req, traces, timeout)
        while connection.protocol is not None and connection.protocol.should_close:
            connection.close()
            connection = await super().connect(req, traces, timeout)
        return connection


class DirectClient:
    """Sends requests as the SDK would: with its headers (no telemetry), its query and the current token."""

    def __init__(self, connections: Connections, sdk: AsyncOpenAI, api_key: str | EntraToken) -> None:
        self._connections = connections
        self._api_key = api_key
        url = sdk.base_url
        self._base = str(url.copy_with(userinfo=b"")).rstrip("/")
        self._query = urlencode(sdk.default_query)
        self._headers = {
            name: value
            for name, value in sdk.default_headers.items()
            if isinstance(value, str)
            and name not in {"Authorization", "Content-Type"}
            # Telemetry about the SDK's own client, which this is not.
            and not name.startswith("X-Stainless-")
        }
        #: The credentials of the URL, which take precedence over the key.
        self._basic = ""
        if url.username or url.password:
            credentials = base64.b64encode(f"{url.username}:{url.password}".encode()).decode()
            self._basic = f"Basic {credentials}"

    async def send(
        self, path: str, body: bytes | None = None, headers: Mapping[str, str] | None = None
    ) -> RawResponse:
        """Send a GET, or a POST of the JSON `body`, and return the response. `path` and its query are quoted.

        Raises what `Connections.request` raises; the caller limits the time.
        """
        separator = "&" if "?" in path else "?"
        url = URL(self._base + path + (separator + self._query if self._query else ""), encoded=True)
        own = {**self._headers, "Authorization": await self._authorization(), **(headers or {})}
        if body is None:
            return await self._connections.request("GET", url, own)
        own["Content-Type"] = "application/json"
        return await self._connections.request("POST", url, own, body)

    async def _authorization(self) -> str:
        if self._basic:
            return self._basic
        key = self._api_key if isinstance(self._api_key, str) else await self._api_key()
        return f"Bearer {key}"


class SdkTransport(httpx2.AsyncBaseTransport):
    """Lets the SDK send over the same connections. `timeout_s` limits one request."""

    def __init__(self, connections: Connections, timeout_s: float) -> None:
        self._connections = connections
        self._timeout_s = timeout_s

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        """Send one request of the SDK."""
        url = URL(str(request.url.copy_with(userinfo=b"")), encoded=True)
        headers = {
            name: value for name, value in request.headers.items() if name.lower() not in _AIOHTTP_HEADERS
        }
        async with asyncio.timeout(self._timeout_s):
            body = await request.aread()
            response = await self._connections.request(request.method, url, headers, body or None)
        response_headers = [
            (name, value) for name, value in response.headers.items() if name.lower() not in _TRANSFER_HEADERS
        ]
        return httpx2.Response(response.status, headers=response_headers, content=response.content)


async def _read(response: aiohttp.ClientResponse) -> bytes:
    """The decompressed body. aiohttp decompresses only as much as is read."""
    body = bytearray()
    async for chunk in response.content.iter_any():
        body += chunk
        if len(body) > BODY_LIMIT:
            response.close()
            raise ValueError("the answer is too long")
    return bytes(body)

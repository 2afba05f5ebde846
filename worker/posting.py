"""One POST, and whether anything of it was written (contract §4).

Straight on aiohttp: through httpx the same request costs several times the CPU (docs/decisions.md). It is
sent as httpx would, by the same trust store and the environment's proxies.
"""

import asyncio
import base64
import select
import time
from collections.abc import Callable, Mapping
from typing import NamedTuple, cast
from urllib.request import getproxies, proxy_bypass
from weakref import WeakSet

import aiohttp
import httpx
from aiohttp.abc import AbstractStreamWriter
from aiohttp.client_proto import ResponseHandler
from aiohttp.http import StreamWriter
from yarl import URL

from worker import __version__, http
from worker.errors import ConfigError

_HEAD_LIMIT = 100 << 10  # bytes of a header that are read: httpx's limit; aiohttp's own is 8 KiB
_HEADERS_LIMIT = 1_000


class Answer(NamedTuple):
    """What came back. `body`: of a 2xx only; None when there is more of it than `http.BODY_LIMIT`."""

    status: int
    headers: Mapping[str, str]
    body: bytes | None


class Unanswered(Exception):
    """No answer, or one that broke off. `code`: of what; `written`: the request may have arrived."""

    def __init__(self, code: str, *, written: bool) -> None:
        super().__init__(code)
        self.code = code
        self.written = written


class Poster:
    """Sends single POSTs: no redirects, no cookies, no second try. One for life.

    Connecting gets half of `timeout_s`: what takes longer fails while it is still certain that nothing was
    sent. How many are under way is the caller's to limit. Raises `ConfigError` for a proxy it cannot go by.
    """

    def __init__(self, timeout_s: float) -> None:
        self._connect_s = timeout_s / 2
        self._trust = httpx.create_ssl_context()
        self._trust.set_alpn_protocols(["http/1.1"])
        self._proxies = _proxies()
        self._ways: dict[str, _Way] = {}
        self._used: WeakSet[ResponseHandler] = WeakSet()
        self._session: aiohttp.ClientSession | None = None

    async def aclose(self) -> None:
        """Close the idle connections. Nothing is sent afterwards."""
        await self._opened().close()

    async def post(
        self,
        url: str,
        body: bytes,
        headers: Mapping[str, str],
        last_look: Callable[[], None],
        deadline: float,
    ) -> Answer:
        """Send once; `last_look` is called right before the first byte, and nothing is sent when it raises.

        Raises what `last_look` raised, else `Unanswered`; at the latest at `deadline`, a `time.monotonic()`.
        """
        try:
            return await self._post(url, _Payload(body, last_look, self._used), headers, deadline)
        except Unanswered as failure:
            if failure.written or failure.code not in {"eof", "reset"}:
                raise
        # An idle connection had ended, or something had come on it unasked. Nothing was sent: once more.
        return await self._post(url, _Payload(body, last_look, self._used), headers, deadline)

    async def _post(
        self, url: str, payload: "_Payload", headers: Mapping[str, str], deadline: float
    ) -> Answer:
        try:
            async with asyncio.timeout(deadline - time.monotonic()):
                return await self._exchange(url, payload, headers)
        except Exception as error:  # noqa: BLE001 - whatever it is, all that counts is whether it was sent
            if payload.refusal is not None:
                raise payload.refusal from None
            raise Unanswered(http.code(error), written=payload.written) from None
        finally:
            payload.over = True

    async def _exchange(self, url: str, payload: "_Payload", headers: Mapping[str, str]) -> Answer:
        "".join([*headers, *headers.values()]).encode("ascii")  # aiohttp would send UTF-8
        way = self._ways.get(url) or self._ways.setdefault(url, _Way.to(url, self._proxies))
        posting = self._opened().post(
            way.url, data=payload, headers={**headers, **way.headers}, proxy=way.proxy, allow_redirects=False
        )
        async with posting as answer:
            if not payload.written:  # said before it was asked: it answers another request, or none
                answer.close()
                raise aiohttp.ServerDisconnectedError
            body = await _read(answer, payload) if 200 <= answer.status < 300 else b""
            return Answer(answer.status, answer.headers, body)

    def _opened(self) -> aiohttp.ClientSession:
        """The session, which needs a running loop to be made in."""
        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(
                    ssl=self._trust, keepalive_timeout=http.KEEPALIVE_S, limit=0, use_dns_cache=False
                ),
                headers={"User-Agent": f"ticket-worker/{__version__}"},
                cookie_jar=aiohttp.DummyCookieJar(),  # no cookie of one customer's answer goes with the next
                timeout=aiohttp.ClientTimeout(total=None, connect=self._connect_s),
                max_line_size=_HEAD_LIMIT,
                max_field_size=_HEAD_LIMIT,
                max_headers=_HEADERS_LIMIT,
            )
        return self._session


class _Payload(aiohttp.Payload):
    """The body, and with it the fence.

    aiohttp keeps the head back until the body is written, so that both leave in one write, right after the
    look. Its own account of a failed write is not relied upon, only what is noted here.
    """

    def __init__(self, body: bytes, last_look: Callable[[], None], used: WeakSet[ResponseHandler]) -> None:
        super().__init__(body)
        self._used = used
        self._size = len(body)
        self._last_look = last_look
        self._protocol: ResponseHandler | None = None
        self.written = False
        self.refusal: BaseException | None = None
        self.over = False
        """Nobody waits any more: what failed for certain is not written afterwards."""

    @property
    def lost(self) -> BaseException | None:
        """What ended the connection, which aiohttp does not tell with an answer that broke off."""
        return None if self._protocol is None else self._protocol.exception()

    async def write_with_length(self, writer: AbstractStreamWriter, content_length: int | None) -> None:
        self._protocol = cast(ResponseHandler, cast(StreamWriter, writer).protocol)
        try:
            if self.over or self._stale(self._protocol):
                raise Unanswered("eof", written=False)
            self._last_look()
        except BaseException as refusal:  # noqa: BLE001 - the sender raises it: aiohttp would wrap or drop it
            self.refusal = refusal
            raise ConnectionAbortedError from None
        self.written = True
        await writer.write(self._value)

    def _stale(self, connection: ResponseHandler) -> bool:
        """It has ended, or something came on it that was not asked for, perhaps unheard of by the loop."""
        if not connection.is_connected() or connection.should_close:
            return True
        if connection not in self._used:  # new: what waits there may belong to the TLS handshake
            self._used.add(connection)
            return False
        unread = select.poll()
        unread.register(cast(asyncio.Transport, connection.transport).get_extra_info("socket"), select.POLLIN)
        return bool(unread.poll(0))

    async def write(self, writer: AbstractStreamWriter) -> None:
        await self.write_with_length(writer, None)

    def decode(self, encoding: str = "utf-8", errors: str = "strict") -> str:
        return str(self._value, encoding, errors)


async def _read(answer: aiohttp.ClientResponse, payload: _Payload) -> bytes | None:
    """The body; None when there is too much of it. Raises what it broke off by."""
    body = bytearray()
    try:
        async for chunk in answer.content.iter_any():
            body += chunk
            if len(body) > http.BODY_LIMIT:
                return None
    except aiohttp.ClientPayloadError as error:
        if payload.lost is None:
            raise
        raise payload.lost from error
    endless = not {"Content-Length", "Transfer-Encoding"} & answer.headers.keys()
    if endless and isinstance(payload.lost, OSError):  # it ends with its connection, but not by a reset
        raise payload.lost
    return bytes(body)


class _Way(NamedTuple):
    """Where a URL leads: byte by byte what httpx makes of it."""

    url: URL
    proxy: str | None
    headers: Mapping[str, str]

    @classmethod
    def to(cls, text: str, proxies: Mapping[str, str]) -> "_Way":
        url = httpx.URL(text)
        bare = URL(str(url.copy_with(userinfo=b"")), encoded=True)
        if not url.userinfo:
            return cls(bare, _proxy(url, proxies), {})
        told = base64.b64encode(f"{url.username}:{url.password}".encode()).decode()
        return cls(bare, _proxy(url, proxies), {"Authorization": f"Basic {told}"})


def _proxies() -> Mapping[str, str]:
    found = getproxies()
    proxies = {scheme: found[scheme] for scheme in ("http", "https", "all") if found.get(scheme)}
    proxies = {scheme: proxy if "://" in proxy else f"http://{proxy}" for scheme, proxy in proxies.items()}
    for scheme, proxy in proxies.items():
        if not proxy.lower().startswith(("http://", "https://")):
            raise ConfigError(f"{scheme}_proxy: o proxy precisa ser http:// ou https://")
    return proxies


def _proxy(url: httpx.URL, proxies: Mapping[str, str]) -> str | None:
    """The environment's proxy for a URL; nothing on this machine goes by one."""
    here = url.host in http.LOOPBACK or proxy_bypass(url.netloc.decode())
    return None if here else proxies.get(url.scheme) or proxies.get("all")

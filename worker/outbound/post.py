"""Sends one POST and classifies its result (contract §4).

httpx calls its `trace` extension right before it writes. The lease is checked there: a refused request is
not written. A failure after the check is ambiguous, because the request may have arrived.
"""

import asyncio
import base64
import re
import ssl
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import httpx

from worker.outbound import client
from worker.outbound.transport import Transport
from worker.settings import network
from worker.times import http_date, retry_after_s

_WRITES = frozenset({"http11.send_request_headers.started", "http11.send_request_body.started"})
_HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_HEADER_VALUE = re.compile(r"[\t -~]*")


@dataclass(frozen=True, slots=True)
class Delivered:
    """A 2xx whose body was read to its end. The tool interprets it."""

    status: int
    body: bytes = field(repr=False)
    #: The charset that the answer declares.
    charset: str | None = None


@dataclass(eq=False)
class Failed(Exception):
    """A POST without a readable 2xx."""

    #: A short word for the cause: `http_503`, `timeout`, `connect`, …
    code: str
    #: The CRM has surely opened nothing.
    certain: bool
    #: A 3xx, or a 4xx that repeating cannot change.
    refused: bool = False
    #: The circuit breaker counts it against the CRM.
    strike: bool = True
    #: Seconds to wait before the next attempt, if the CRM named them.
    retry_after_s: float | None = None


@dataclass(eq=False)
class LeaseLost(BaseException):
    """This process may no longer send, so it did not.

    Not an `Exception`, because the circuit breaker must not count it against the CRM.
    """

    #: Not a byte of the request was written.
    certain: bool = True


class Sender:
    """Sends single POSTs: no redirects, no cookies, no second try. One for life.

    The caller limits how many are under way. Each has a connection of its own, because httpcore looks through
    all connections of a pool at every request. Raises `ConfigError` for a proxy or certificate authorities
    that cannot be used.
    """

    def __init__(self, timeout_s: float) -> None:
        network.proxies()
        self._timeouts = client.timeouts(timeout_s).as_dict()
        self._trust = client.trust()
        self._routes: dict[str, Route] = {}
        self._closed = False

    async def aclose(self) -> None:
        """Close the idle connections. Nothing is sent afterwards."""
        self._closed = True
        for route in self._routes.values():
            await route.aclose()

    async def post(
        self,
        url: str,
        body: bytes,
        headers: Mapping[str, str],
        before_send: Callable[[], None],
        deadline: float,
    ) -> Delivered:
        """Send once; `before_send` is called right before the head and right before the body are written.

        Raises the `LeaseLost` of `before_send`, else `Failed`. `deadline` is a `time.monotonic()`.
        """
        fence = _Fence(before_send, deadline)
        try:
            async with asyncio.timeout(deadline - time.monotonic()):
                return await self._exchange(self._route(url), body, headers, fence)
        except LeaseLost as lost:
            lost.certain = not fence.written
            raise
        except Failed:
            raise
        except Exception as error:  # noqa: BLE001 - of any error, only this counts: was it sent?
            raise Failed(client.code(error), certain=not fence.written) from None

    async def _exchange(
        self, route: "Route", body: bytes, headers: Mapping[str, str], fence: "_Fence"
    ) -> Delivered:
        _check(headers)
        request = httpx.Request(
            "POST",
            route.url,
            headers={**client.HEADERS, **headers, **route.headers},
            content=body,
            extensions={"timeout": self._timeouts, "trace": fence.trace},
        )
        connection = route.take()
        try:
            response = await connection.handle_async_request(request)
            delivered = await _classified(response)
        except BaseException:
            # httpcore may hold a connection as busy for ever after a cancellation.
            await connection.aclose()
            raise
        route.idle.append(connection)
        return delivered

    def _route(self, url: str) -> "Route":
        if self._closed:
            raise RuntimeError("closed")
        if url not in self._routes:
            self._routes[url] = Route.to(url, self._trust)
        return self._routes[url]


@dataclass(frozen=True, slots=True)
class Route:
    """Where a URL leads, and the idle connections that lead there."""

    url: httpx.URL
    #: The credentials of the URL, as a header.
    headers: Mapping[str, str]
    proxy: str | None
    trust: ssl.SSLContext
    #: The last one used is the first one taken, so that the others may expire.
    idle: list[Transport] = field(default_factory=list)

    @classmethod
    def to(cls, text: str, trust: ssl.SSLContext) -> "Route":
        url = httpx.URL(text)
        headers = {}
        if url.userinfo:
            credentials = base64.b64encode(f"{url.username}:{url.password}".encode()).decode()
            headers["Authorization"] = f"Basic {credentials}"
        return cls(url.copy_with(userinfo=b""), headers, network.proxy_for(str(url)), trust)

    def take(self) -> Transport:
        """An idle connection, or a new one."""
        return self.idle.pop() if self.idle else Transport(self.proxy, self.trust, connections=1)

    async def aclose(self) -> None:
        """Close the idle connections."""
        for connection in self.idle:
            await connection.aclose()


class _Fence:
    """Lets a request be written only while `before_send` allows it and its time is not up."""

    def __init__(self, before_send: Callable[[], None], deadline: float) -> None:
        self._before_send = before_send
        self._deadline = deadline
        #: The first byte may have been written.
        self.written = False

    async def trace(self, event: str, info: Mapping[str, Any]) -> None:
        """Called by httpx for each of its steps. A `CONNECT` goes to the proxy and opens no ticket."""
        if event not in _WRITES or info["request"].method == b"CONNECT":
            return
        self._before_send()
        # A process that was frozen until now may go on before its time-out fires. Not the loop's time: some
        # loops read the clock once a turn.
        if time.monotonic() >= self._deadline:
            raise TimeoutError
        self.written = True


def _check(headers: Mapping[str, str]) -> None:
    """Raises `ValueError` for headers that httpx would refuse only after it has begun to send."""
    if not all(map(_HEADER_NAME.fullmatch, headers)) or not all(
        map(_HEADER_VALUE.fullmatch, headers.values())
    ):
        raise ValueError("header")


async def _classified(response: httpx.Response) -> Delivered:
    """Read a 2xx. Raises `Failed` for any other answer (contract §4), without reading its body."""
    status = response.status_code
    if 200 <= status < 300:
        # A complete 2xx was accepted, so it is not sent again, even if it cannot be unpacked as declared.
        body = await client.read(response, or_as_it_is=True)
        if body is None:
            raise Failed("body_too_large", certain=False, strike=False)
        return Delivered(status, body, response.charset_encoding)
    certain = 300 <= status < 500 and status != 408
    raise Failed(
        f"http_{status}",
        certain=certain,
        refused=certain and status not in {425, 429},
        strike=status in {408, 429} or status >= 500,
        retry_after_s=_retry_after_s(response.headers),
    )


def _retry_after_s(headers: Mapping[str, str]) -> float | None:
    now = http_date(headers.get("Date"))
    return retry_after_s(headers.get("Retry-After"), time.time() if now is None else now)

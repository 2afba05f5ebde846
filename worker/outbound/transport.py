"""Connections to the CRM and the bot: httpx on httpcore's pool, safe from bytes that follow an answer.

httpcore keeps such bytes and would read them as the beginning of the next answer, which belongs to another
customer. It never uses a connection again that is readable while it is idle. So a stream holds back the last
byte of what it has read until the next read: after a whole answer nothing is held back, and with bytes behind
the answer the stream is readable. A stream is also readable after a long answer, because anyio may keep bytes
behind it that it does not show.
"""

import ssl
from collections.abc import AsyncIterable, AsyncIterator, Iterable
from typing import Any, cast

import httpcore
import httpx

KEEPALIVE_S = 2.0
"""Below Node's 5 s: a request on a connection that the server is closing is an ambiguous attempt."""

_LONG_ANSWER = 1 << 15
"""Bytes of an answer from which on its connection is not used again. anyio splits what it has received after
65,536 bytes, encrypted ones with TLS, and keeps the rest."""


class Transport(httpx.AsyncBaseTransport):
    """HTTP/1.1 through this proxy, trusting these authorities, on at most `connections` (None: any number).

    Raises httpcore's errors, which name their causes better than httpx's copies of them do.
    """

    def __init__(self, proxy: str | None, trust: ssl.SSLContext, connections: int | None = None) -> None:
        self._pool = httpcore.AsyncConnectionPool(
            ssl_context=trust,
            proxy=_proxy(proxy, trust) if proxy else None,
            max_connections=connections,
            keepalive_expiry=KEEPALIVE_S,
            network_backend=_Network(),
        )

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send it; the caller reads the answer and closes it."""
        url = request.url
        answer = await self._pool.handle_async_request(
            httpcore.Request(
                request.method,
                httpcore.URL(scheme=url.raw_scheme, host=url.raw_host, port=url.port, target=url.raw_path),
                headers=request.headers.raw,
                content=cast(AsyncIterable[bytes], request.stream),
                extensions=request.extensions,
            )
        )
        return httpx.Response(
            answer.status, headers=answer.headers, stream=_Body(answer), extensions=answer.extensions
        )

    async def aclose(self) -> None:
        """Close the connections."""
        await self._pool.aclose()


def _proxy(url: str, trust: ssl.SSLContext) -> httpcore.Proxy:
    parsed = httpx.Proxy(url)
    secure = trust if parsed.url.scheme == "https" else None
    return httpcore.Proxy(str(parsed.url), auth=parsed.raw_auth, ssl_context=secure)


class _Body(httpx.AsyncByteStream):
    """The body of an answer as it is on the wire."""

    def __init__(self, answer: httpcore.Response) -> None:
        self._answer = answer

    async def __aiter__(self) -> AsyncIterator[bytes]:
        async for part in self._answer.aiter_stream():
            yield part

    async def aclose(self) -> None:
        await self._answer.aclose()


class _Network(httpcore.AsyncNetworkBackend):
    """Connects as httpcore does."""

    def __init__(self) -> None:
        self._backend = httpcore.AnyIOBackend()

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109  # httpcore's own signature
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        return _Stream(await self._backend.connect_tcp(host, port, timeout, local_address, socket_options))

    async def sleep(self, seconds: float) -> None:
        await self._backend.sleep(seconds)


class _Stream(httpcore.AsyncNetworkStream):
    """A connection that is readable as long as there are bytes that were not read."""

    def __init__(self, stream: httpcore.AsyncNetworkStream) -> None:
        self._stream = stream
        #: The last byte that was read, while the bytes before it may already have been the whole answer.
        self._held_back = b""
        #: Bytes that were read since the last write: the answer so far.
        self._answer_length = 0

    async def read(
        self,
        max_bytes: int,
        timeout: float | None = None,  # noqa: ASYNC109  # httpcore's own signature
    ) -> bytes:
        data, self._held_back = self._held_back, b""
        if data:
            return data
        data = await self._stream.read(max_bytes, timeout)
        self._answer_length += len(data)
        if len(data) < 2:
            return data
        self._held_back = data[-1:]
        return data[:-1]

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:  # noqa: ASYNC109  # the same
        self._answer_length = 0
        await self._stream.write(buffer, timeout)

    async def aclose(self) -> None:
        await self._stream.aclose()

    async def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,  # noqa: ASYNC109  # the same
    ) -> httpcore.AsyncNetworkStream:
        try:
            return _Stream(await self._stream.start_tls(ssl_context, server_hostname, timeout))
        except BaseException:  # httpcore would leave a cancelled handshake's connection open
            await self._stream.aclose()
            raise

    def get_extra_info(self, info: str) -> Any:
        """`is_readable` is what httpcore asks an idle connection before it uses it again."""
        if info == "is_readable" and self._may_have_more():
            return True
        return self._stream.get_extra_info(info)

    def _may_have_more(self) -> bool:
        return bool(self._held_back) or self._answer_length >= _LONG_ANSWER or self._has_decrypted()

    def _has_decrypted(self) -> bool:
        """Whether TLS has bytes, or the end, that came with the answer in one packet."""
        tls = self._stream.get_extra_info("ssl_object")
        if tls is None:
            return False
        try:
            tls.read(1)
        except ssl.SSLWantReadError:
            return False
        except ssl.SSLError:
            pass
        return True

"""What calls to the CRM and the bot have in common: a client, limits, words for failures, the signature.

Tickets and forwarded calls are sent by `worker/posting.py`.
"""

import socket
import ssl
from datetime import UTC, datetime
from http.cookiejar import CookieJar, DefaultCookiePolicy

import aiohttp
import httpx
from aiohttp.http_exceptions import ContentEncodingError
from standardwebhooks import Webhook

BODY_LIMIT = 1 << 20
"""Bytes of an answer that are read."""

KEEPALIVE_S = 2.0
"""Below Node's 5 s: losing the race for an idle connection is an ambiguous attempt."""

LOOPBACK = ("localhost", "127.0.0.1", "::1")
"""What no proxy is asked for."""


def client(timeout_s: float) -> httpx.AsyncClient:
    """HTTP/1.1, no redirects, no cookies kept from one customer's answer to the next one's request.

    The environment's proxies and SSL_CERT_FILE are honoured, but nothing on this machine goes by a proxy.
    The caller limits the whole of a request: httpx's own limits are per socket operation.
    """
    return httpx.AsyncClient(
        # Connecting gets half of that to fail by itself, because httpcore leaks a connection that is
        # cancelled in its TLS handshake.
        timeout=httpx.Timeout(None, connect=timeout_s / 2),
        limits=httpx.Limits(keepalive_expiry=KEEPALIVE_S),
        cookies=CookieJar(DefaultCookiePolicy(allowed_domains=[])),
        mounts={f"all://[{host}]" if ":" in host else f"all://{host}": None for host in LOOPBACK},
    )


async def read(response: httpx.Response) -> bytes | None:
    """The body of a streamed answer; None when there is more than `BODY_LIMIT` of it."""
    body = bytearray()
    async for chunk in response.aiter_bytes():
        body += chunk
        if len(body) > BODY_LIMIT:
            return None
    return bytes(body)


def signed(secret: str, message_id: str, body: bytes) -> dict[str, str]:
    """The headers of one try to deliver a message to the bot (Standard Webhooks): its time is the try's."""
    now = datetime.now(UTC)
    return {
        "Content-Type": "application/json; charset=utf-8",
        "webhook-id": message_id,
        "webhook-timestamp": str(int(now.timestamp())),
        "webhook-signature": Webhook(secret).sign(message_id, now, body.decode()),
    }


_CODES: tuple[tuple[str, tuple[type[BaseException], ...]], ...] = (
    ("timeout", (TimeoutError,)),
    ("dns", (socket.gaierror, aiohttp.ClientConnectorDNSError)),
    ("tls", (ssl.SSLError,)),
    ("connect", (httpx.ConnectError, aiohttp.ClientConnectorError)),
    ("proxy", (httpx.ProxyError, aiohttp.ClientHttpProxyError)),
    ("DecodingError", (httpx.DecodingError, ContentEncodingError)),
    ("reset", (httpx.NetworkError, aiohttp.ClientOSError)),
    (
        "eof",
        (
            httpx.RemoteProtocolError,
            aiohttp.ServerDisconnectedError,
            aiohttp.ClientPayloadError,
            aiohttp.ClientResponseError,
        ),
    ),
)


def code(error: BaseException) -> str:
    """A short word for what a request failed of, found in the error or its causes; else its class."""
    causes = [error]
    # httpcore drops the first on its way; a cause may be its own, by mistake.
    while (cause := causes[-1].__cause__ or causes[-1].__context__) and cause not in causes:
        causes.append(cause)
    found = (short for short, kinds in _CODES if any(isinstance(each, kinds) for each in causes))
    return next(found, type(error).__name__)

"""How the worker calls the CRM and the bot: one kind of client, what is read of an answer, the signature."""

import socket
import ssl
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from http.cookiejar import CookieJar, DefaultCookiePolicy
from typing import Any

import httpx
from standardwebhooks import Webhook

BODY_LIMIT = 1 << 20
"""Bytes of an answer that are read."""

_KEEPALIVE_S = 2.0  # below Node's 5 s: losing the race for an idle connection is an ambiguous attempt
_LOOPBACK = ("all://localhost", "all://127.0.0.1", "all://[::1]")


def client(
    timeout_s: float, event_hooks: Mapping[str, list[Callable[..., Any]]] | None = None
) -> httpx.AsyncClient:
    """HTTP/1.1, no redirects, no cookies kept from one customer's answer to the next one's request.

    The environment's proxies and SSL_CERT_FILE are honoured, but nothing on this machine goes by a proxy.
    The caller limits the whole of a request: httpx's own limits are per socket operation.
    """
    return httpx.AsyncClient(
        # Connecting gets half of that to fail by itself, because httpcore leaks a connection that is
        # cancelled in its TLS handshake.
        timeout=httpx.Timeout(None, connect=timeout_s / 2),
        limits=httpx.Limits(keepalive_expiry=_KEEPALIVE_S),
        cookies=CookieJar(DefaultCookiePolicy(allowed_domains=[])),
        event_hooks=event_hooks,
        mounts=dict.fromkeys(_LOOPBACK),
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


_CODES: tuple[tuple[type[BaseException], str], ...] = (
    (TimeoutError, "timeout"),
    (socket.gaierror, "dns"),
    (ssl.SSLError, "tls"),
    (httpx.ConnectError, "connect"),
    (httpx.ProxyError, "proxy"),
    (httpx.NetworkError, "reset"),
    (httpx.RemoteProtocolError, "eof"),
)


def code(error: BaseException) -> str:
    """A short word for what a request failed of, found in the error or its causes; else its class."""
    causes = [error]
    while cause := causes[-1].__cause__ or causes[-1].__context__:  # httpcore drops the first on its way
        causes.append(cause)
    found = (short for kind, short in _CODES if any(isinstance(each, kind) for each in causes))
    return next(found, type(error).__name__)

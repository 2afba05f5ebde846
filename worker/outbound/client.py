"""Shared by requests to the CRM and the bot: the client, limits, the signature, failure codes."""

import codecs
import contextlib
import re
import socket
import ssl
import zlib
from collections.abc import Iterable
from datetime import UTC, datetime
from http.cookiejar import CookieJar, DefaultCookiePolicy

import httpcore
import httpx
from standardwebhooks import Webhook

from worker import __version__
from worker.outbound.transport import Transport
from worker.settings import network

BODY_LIMIT = 1 << 20
"""Most bytes of an answer that are read, both packed and unpacked."""

HEADERS = {
    "Accept": "*/*",
    "Accept-Encoding": "gzip, deflate",
    "User-Agent": f"ticket-worker/{__version__}",
}
"""Headers of every request, beside its own."""


def client(url: str, timeout_s: float) -> httpx.AsyncClient:
    """A client for requests to `url`: HTTP/1.1, no redirects, no cookie of one answer in the next request.

    The environment's proxies and authorities are used; this machine is reached without a proxy. The caller
    limits the whole of a request: httpx's own limits are per socket operation. Raises `ConfigError`.
    """
    return httpx.AsyncClient(
        transport=Transport(network.proxy_for(url), trust()),
        timeout=timeouts(timeout_s),
        headers=HEADERS,
        cookies=CookieJar(DefaultCookiePolicy(allowed_domains=[])),
        trust_env=False,
    )


def timeouts(timeout_s: float) -> httpx.Timeout:
    """Limits connecting to half the time: such a failure is certain to have sent nothing."""
    return httpx.Timeout(None, connect=timeout_s / 2)


def trust() -> ssl.SSLContext:
    """The operator's certificate authorities, else the usual ones. Raises `ConfigError`."""
    return network.trusted_authorities() or httpx.create_ssl_context(trust_env=False)


# ------------------------------------------------------------------------------------------------- the answer


async def read(response: httpx.Response, *, or_as_it_is: bool = False) -> bytes | None:
    """The unpacked body of a streamed answer; None when it is longer than `BODY_LIMIT`, packed or unpacked.

    If it cannot be unpacked, raises `httpx.DecodingError`, or returns the bytes that came (`or_as_it_is`).
    """
    packed = bytearray()
    async for chunk in response.aiter_raw():
        packed += chunk
        if len(packed) > BODY_LIMIT:
            return None
    try:
        return _unpacked_through(bytes(packed), reversed(_encodings(response)))
    except httpx.DecodingError:
        if or_as_it_is:
            return bytes(packed)
        raise


def decoded(body: bytes, charset: str | None) -> str:
    """The text of an answer.

    Valid UTF-8 is read as UTF-8, even if the answer declares another charset. Only declared UTF-16 and UTF-32
    go first, because they can be valid UTF-8 by chance. Other text is read as declared, or else as Latin-1.
    """
    declared = [charset] if charset and _is_text_codec(charset) else []
    wide = declared if charset and charset.lower().startswith(("utf-16", "utf-32", "utf16", "utf32")) else []
    for encoding in (*wide, "utf-8-sig", *declared):
        with contextlib.suppress(UnicodeDecodeError):
            return body.decode(encoding)
    return body.decode("latin-1")


def _is_text_codec(charset: str) -> bool:
    """Whether a charset is safe to decode with: some of Python's codecs take quadratic time."""
    try:
        return codecs.lookup(charset).name.startswith(("utf-8", "utf-16", "utf-32", "iso8859", "cp", "ascii"))
    except LookupError:
        return False


def _encodings(response: httpx.Response) -> list[str]:
    names = re.split(r"\s*,\s*", response.headers.get("Content-Encoding", "").strip().lower())
    return [name for name in names if name not in {"", "identity"}]


def _unpacked_through(body: bytes, encodings: Iterable[str]) -> bytes | None:
    for encoding in encodings:
        body = _unpacked(body, encoding)
        if len(body) > BODY_LIMIT:
            return None
    return body


def _unpacked(packed: bytes, encoding: str) -> bytes:
    """The unpacked bytes, at most `BODY_LIMIT` + 1."""
    bits = {"gzip": 31, "x-gzip": 31, "deflate": 15}.get(encoding)
    if bits == 15 and packed and packed[0] & 0xF != 8:
        bits = -15  # many servers leave the header of zlib out
    if bits is None:
        raise httpx.DecodingError("encoding")
    try:
        return zlib.decompressobj(bits).decompress(packed, BODY_LIMIT + 1)
    except zlib.error:
        raise httpx.DecodingError(encoding) from None


# --------------------------------------------------------------------------------------- what goes to the bot


def signed(secret: str, message_id: str, body: bytes) -> dict[str, str]:
    """The headers of one delivery to the bot (Standard Webhooks), signed with the current time."""
    now = datetime.now(UTC)
    return {
        "Content-Type": "application/json; charset=utf-8",
        "webhook-id": message_id,
        "webhook-timestamp": str(int(now.timestamp())),
        "webhook-signature": Webhook(secret).sign(message_id, now, body.decode()),
    }


# ------------------------------------------------------------------------------------------------ what failed

_CODES: tuple[tuple[str, tuple[type[BaseException], ...]], ...] = (
    ("timeout", (TimeoutError, httpcore.TimeoutException)),
    ("dns", (socket.gaierror,)),
    ("tls", (ssl.SSLError,)),
    ("connect", (httpcore.ConnectError,)),
    ("proxy", (httpcore.ProxyError,)),
    ("DecodingError", (httpx.DecodingError,)),
    ("reset", (httpcore.NetworkError,)),
    ("eof", (httpcore.RemoteProtocolError,)),
)


def code(error: BaseException) -> str:
    """A short code for the cause of a failed request: the first that fits the error or one of its causes.

    If none fits, the name of the error's class.
    """
    causes = [error]
    # httpcore drops the first on its way; a cause may be its own, by mistake.
    while (cause := causes[-1].__cause__ or causes[-1].__context__) and cause not in causes:
        causes.append(cause)
    codes = (short for short, kinds in _CODES if any(isinstance(each, kinds) for each in causes))
    return next(codes, type(error).__name__)

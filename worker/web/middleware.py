"""ASGI middleware: safe headers, authentication, and limits on bodies and concurrency (contract §3)."""

import base64
import hmac
import re
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Sequence
from ipaddress import IPv4Network, IPv6Network, ip_address
from math import ceil

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from worker import logs
from worker.settings import is_loopback
from worker.web.invalid import FieldProblem
from worker.web.problems import problem

METRICS = "/metrics"
PROBES = frozenset({"/livez", "/readyz", METRICS})
"""Paths for monitoring: they need no token, and are served even when the service is busy."""

WEBHOOKS = "/v1/webhooks/openai"
"""The platform's webhooks: cross-site, and to the public host name. Their signature authenticates them."""

_CLOSED = "default-src 'none'; frame-ancestors 'none'"
_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-store",
    "Content-Security-Policy": _CLOSED,
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
}


class SafeResponses:
    """The outermost layer: adds security headers to every response, and answers a crash without details.

    A HEAD is served as the GET it stands for; the server leaves the body out.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        begun = False

        async def dressed(message: Message) -> None:
            nonlocal begun
            if message["type"] == "http.response.start":
                begun = True
                headers = MutableHeaders(scope=message)
                for name, value in _HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        seen = {**scope, "method": "GET"} if scope["method"] == "HEAD" else scope
        try:
            await self._app(seen, receive, dressed)
        except Exception as error:  # noqa: BLE001 - the last line: for any error the caller gets a problem
            logs.failure("❌ [HTTP] Erro interno ao atender um pedido", error)
            if not begun:
                await problem("erro_interno")(seen, receive, dressed)


class ForwardedClient:
    """Behind a proxy, sets the caller's address: the last in X-Forwarded-For that is no trusted proxy's.

    `X-Forwarded-For` is believed of `trusted` proxies only, and only where it holds an address: it counts
    towards limits and stands in the access log, and anybody can send it.
    """

    def __init__(self, app: ASGIApp, trusted: Sequence[IPv4Network | IPv6Network]) -> None:
        self._app = app
        self._trusted = trusted

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if self._trusted and scope["type"] == "http" and scope.get("client"):
            host, port = scope["client"]
            scope = {**scope, "client": (self._caller(host, Headers(scope=scope)), port)}
        await self._app(scope, receive, send)

    def _caller(self, host: str, headers: Headers) -> str:
        """Read from the end, where the nearest proxy wrote, to the first address that is not trusted."""
        hops = ",".join(headers.getlist("x-forwarded-for")).split(",")
        while hops and self._trusts(host) and (hop := _address(hops.pop())):
            host = hop
        return host

    def _trusts(self, host: str) -> bool:
        address = _address(host)
        return address is not None and any(ip_address(address) in network for network in self._trusted)


def _address(text: str) -> str | None:
    """An IP address in canonical form, without brackets and port; None for any other text."""
    text = text.strip()
    bracketed = re.fullmatch(r"\[([0-9A-Fa-f:.]{2,45})\](?::\d{1,5})?", text, re.ASCII)
    with_port = re.fullmatch(r"([0-9.]{7,15}):\d{1,5}", text, re.ASCII)
    try:
        return str(ip_address((bracketed or with_port or {1: text})[1]))
    except ValueError:
        return None


class LoginThrottle:
    """Counts wrong tokens by address. After ten within a minute, further ones of that address must wait."""

    LIMIT = 10
    WINDOW_S = 60.0
    ADDRESSES = 10_000  # kept; a further one replaces the one that failed longest ago

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._recent: OrderedDict[str, deque[float]] = OrderedDict()

    def wait_s(self, address: str) -> float:
        """Seconds until this address may try again; 0 when it may now."""
        recent = self._recent.get(address)
        if recent is None or len(recent) < self.LIMIT:
            return 0.0
        return max(0.0, recent[0] + self.WINDOW_S - self._clock())

    def add(self, address: str) -> None:
        """Remember one failure, now."""
        self._recent.setdefault(address, deque(maxlen=self.LIMIT)).append(self._clock())
        self._recent.move_to_end(address)
        if len(self._recent) > self.ADDRESSES:
            self._recent.popitem(last=False)


class Authentication:
    """Checks host, origin and token, in this order. Sets `request.state.reader` to the authenticated name."""

    def __init__(self, app: ASGIApp, token: str | None, failures: LoginThrottle) -> None:
        self._app = app
        self._token = token.encode() if token else None
        self._failures = failures

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        refusal = self._refusal(scope) if scope["type"] == "http" else None
        await (refusal or self._app)(scope, receive, send)

    def _refusal(self, scope: Scope) -> Response | None:
        if scope["path"] == WEBHOOKS:
            return None
        headers = Headers(scope=scope)
        if self._token is None and not is_loopback(_hostname(headers.get("host", ""))):
            return problem("host_recusado")
        if scope["method"] not in {"GET", "HEAD"} and _cross_site(headers):
            return problem("origem_recusada")
        if scope["path"] in PROBES:
            return None
        return self._unauthorised(scope, headers.get("authorization", ""))

    def _unauthorised(self, scope: Scope, authorization: str) -> Response | None:
        """Check the token. A right one always passes; wrong ones count; browsers first send none."""
        address = str((scope.get("client") or ("-",))[0])
        user, secret = _presented(authorization)
        if self._token is not None and not hmac.compare_digest(secret, self._token):
            if not authorization:
                return _challenge()
            if wait_s := self._failures.wait_s(address):
                return problem("limite_excedido", headers={"Retry-After": str(ceil(wait_s))})
            self._failures.add(address)
            return _challenge()
        scope.setdefault("state", {})["reader"] = f"{user or 'api'}@{address}"[:64]
        return None


def _challenge() -> Response:
    response = problem("nao_autorizado")
    response.headers.append("WWW-Authenticate", 'Basic realm="ticket-worker", charset="UTF-8"')
    response.headers.append("WWW-Authenticate", 'Bearer realm="ticket-worker"')
    return response


def _presented(authorization: str) -> tuple[str, bytes]:
    """User name and secret of an Authorization header; both empty if it cannot be read."""
    scheme, _, value = authorization.partition(" ")
    if scheme.lower() == "bearer":
        return "", value.strip().encode("latin-1")  # as Starlette decoded it: the bytes that came in
    if scheme.lower() == "basic":
        try:
            user, _, password = base64.b64decode(value.strip(), validate=True).partition(b":")
        except ValueError:
            return "", b""
        return re.sub(r"[^\x21-\x7e]", "", user.decode("utf-8", "ignore"))[:24], password
    return "", b""


def _hostname(host: str) -> str:
    """The name in a Host header, without its port."""
    return re.sub(r":\d+$", "", host.lower())


def _cross_site(headers: Headers) -> bool:
    """Whether a browser sent this request for a page of another site.

    `Sec-Fetch-Site`, which no page can forge, decides; `Origin` where a browser is too old to send it.
    """
    site = headers.get("sec-fetch-site")
    if site is not None:
        return site not in {"same-origin", "none"}
    origin = headers.get("origin")
    return origin is not None and origin.lower().partition("://")[2] != headers.get("host", "").lower()


# ---------------------------------------------------------------------------------------------- limits


class QueryLimit:
    """Refuses a query string over the limit before it is parsed."""

    LIMIT = 4096  # bytes, as sent

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and len(scope["query_string"]) > self.LIMIT:
            too_long = FieldProblem(field="query", message=f"pode ter no máximo {self.LIMIT} bytes")
            await problem("dados_invalidos", [too_long])(scope, receive, send)
        else:
            await self._app(scope, receive, send)


class BodyLimit:
    """Reads the whole body before the request is handled; refuses one that is too large, or not JSON.

    A slow sender therefore holds no place among the requests at work.
    """

    LIMIT = 256 * 1024  # bytes

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        try:
            body = await self._read(headers, receive)
        except _CallerLeft:
            return
        if body is None:
            await problem("corpo_grande_demais")(scope, receive, send)
        elif body and not _is_json(headers.get("content-type", "")):
            await problem("tipo_nao_suportado")(scope, receive, send)
        else:
            await self._app(scope, _replay(body, receive), send)

    async def _read(self, headers: Headers, receive: Receive) -> bytes | None:
        """The whole body; None if Content-Length or the bytes received exceed the limit."""
        declared = headers.get("content-length", "0")
        if declared.isdecimal() and int(declared) > self.LIMIT:
            return None
        body = bytearray()
        more = True
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                raise _CallerLeft
            body += message.get("body", b"")
            more = message.get("more_body", False)
            if len(body) > self.LIMIT:
                return None
        return bytes(body)


class _CallerLeft(Exception):
    """The connection ended before the body did, so no answer is needed."""


def _replay(body: bytes, receive: Receive) -> Receive:
    left: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def replayed() -> Message:
        return left.pop() if left else await receive()

    return replayed


def _is_json(content_type: str) -> bool:
    kind = content_type.partition(";")[0].strip().lower()
    return kind == "application/json" or (kind.startswith("application/") and kind.endswith("+json"))


class ConcurrencyLimit:
    """Refuses a request with 503 while 200 are being handled: a quick refusal is better than a long queue."""

    LIMIT = 200

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self._at_work = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"] in PROBES:
            await self._app(scope, receive, send)
        elif self._at_work >= self.LIMIT:
            await problem("indisponivel")(scope, receive, send)
        else:
            await self._count(scope, receive, send)

    async def _count(self, scope: Scope, receive: Receive, send: Send) -> None:
        self._at_work += 1
        try:
            await self._app(scope, receive, send)
        finally:
            self._at_work -= 1

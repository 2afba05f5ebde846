"""Who may come in, and how every answer leaves (contract §3). Pure ASGI: nothing here reads a body."""

import base64
import hmac
import re
import time
from collections import OrderedDict, deque
from collections.abc import Callable
from math import ceil

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from worker import logs
from worker.settings import is_loopback
from worker.web.problems import problem

METRICS = "/metrics"
PROBES = frozenset({"/livez", "/readyz", METRICS})
"""Asked by machines that hold no token, and answered even when the service is busy."""

WEBHOOKS = "/v1/webhooks/openai"
"""Called by the platform from its own site and by our public name; its signature is what lets it in."""

_CLOSED = "default-src 'none'; frame-ancestors 'none'"
_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-store",
    "Content-Security-Policy": _CLOSED,
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
}


class Answers:
    """The outermost layer: safe headers on every answer, and a crash that tells its caller nothing.

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
        except Exception as error:  # noqa: BLE001 - the last line: whatever it is, the caller gets a problem
            logs.failure("❌ [HTTP] Erro interno ao atender um pedido", error)
            if not begun:
                await problem("erro_interno")(seen, receive, dressed)


class Failures:
    """Failed authentications by address: ten in any minute, then the address has to wait.

    While it waits its tokens are not even looked at, or the limit would not slow a guesser down.
    """

    LIMIT = 10
    WINDOW_S = 60.0
    ADDRESSES = 10_000  # remembered at once; the one that failed longest ago makes room

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


class Gate:
    """Host, origin and token, in this order. Who was let in is `request.state.reader`."""

    def __init__(self, app: ASGIApp, token: str | None, failures: Failures) -> None:
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
        address = str((scope.get("client") or ("-",))[0])
        user, secret = _presented(authorization)
        if self._token is not None:
            if wait_s := self._failures.wait_s(address):
                return problem("limite_excedido", headers={"Retry-After": str(ceil(wait_s))})
            if not hmac.compare_digest(secret, self._token):
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
    """The user's name and the secret in an Authorization header; an unreadable one holds neither."""
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
    """Whether a browser sent this for a page that is not ours.

    `Sec-Fetch-Site`, which no page can forge, decides; `Origin` where a browser is too old to send it.
    """
    site = headers.get("sec-fetch-site")
    if site is not None:
        return site not in {"same-origin", "none"}
    origin = headers.get("origin")
    return origin is not None and origin.lower().partition("://")[2] != headers.get("host", "").lower()

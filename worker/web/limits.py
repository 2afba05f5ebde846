"""How much a caller may ask for at once (contract §3): one body's size, and all requests' number."""

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from worker.web.problems import problem
from worker.web.security import PROBES


class WholeBody:
    """Reads a body to its end before anything works on it; refuses a large one, and what is not JSON.

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
        """The whole body, or None when it is too large, by its own word or by its size."""
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
    """The connection ended before the body did: nobody waits for an answer."""


def _replay(body: bytes, receive: Receive) -> Receive:
    left: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def replayed() -> Message:
        return left.pop() if left else await receive()

    return replayed


def _is_json(content_type: str) -> bool:
    kind = content_type.partition(";")[0].strip().lower()
    return kind == "application/json" or (kind.startswith("application/") and kind.endswith("+json"))


class Busy:
    """Refuses what comes while 200 requests are at work: better a quick no than a slow queue."""

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

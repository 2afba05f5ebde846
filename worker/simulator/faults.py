"""Faults that can be switched on, and the endpoint that applies them.

A fault defines separately what the client receives, and whether and when the request takes effect.
The client cannot see the second.
"""

import asyncio
import secrets
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, NonNegativeFloat, PositiveInt
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.types import Receive, Scope, Send

from worker.simulator.clock import Clock

Handler = Callable[[Request], Awaitable[Response]]
Sleep = Callable[[float], Awaitable[None]]

_MAX_RECORDED = 20_000
"""Only the newest requests are kept for inspection, so that a long `simulate` uses bounded memory."""


class Fault(BaseModel):
    """What goes wrong with the next requests of one operation (`on`; `*` is any). Times are seconds.

    Without `status`, `body` and `drop` the client receives the correct response, only late (`delay_s`), slow
    (`trickle_s` between two bytes) or broken off in the middle (`cut`). With any of those three the request
    takes effect only if `commit_after_s` is set: 0 is before the response, more is that long after it.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    #: The operation's name; `*` is any.
    on: str = "*"
    #: How many requests; None: until cleared.
    times: PositiveInt | None = 1
    delay_s: NonNegativeFloat = 0
    status: int | None = Field(default=None, ge=200, le=599)
    headers: dict[str, str] = {}
    #: `{protocolo}` is replaced by the protocolo of the ticket that this request opened.
    body: str | None = None
    content_type: str = "text/plain; charset=utf-8"
    drop: bool = False
    cut: bool = False
    trickle_s: NonNegativeFloat = 0
    commit_after_s: NonNegativeFloat | None = None

    @property
    def replaces_response(self) -> bool:
        """The client does not receive the correct response."""
        return self.drop or self.status is not None or self.body is not None

    def response(self, placeholders: Mapping[str, str]) -> Response:
        """The response that replaces the correct one."""
        status = self.status or 200
        text = f"fault {status}" if self.body is None else self.body
        for name, value in placeholders.items():
            text = text.replace(f"{{{name}}}", value)
        headers = {"content-type": self.content_type, **self.headers}
        return Response(text, status_code=status, headers=headers)


class Faults:
    """The faults that are switched on; the first that matches a request applies. `presets` have names."""

    def __init__(self, presets: Mapping[str, Fault]) -> None:
        self.presets = presets
        self._active: list[tuple[Fault, int | None]] = []

    def add(self, fault: Fault) -> None:
        self._active.append((fault, fault.times))

    def named(self, name: str, **changes: object) -> Fault:
        """A preset with changed fields. Raises `KeyError` when no preset has this name."""
        return Fault.model_validate({**self.presets[name].model_dump(), **changes})

    def preset(self, name: str, **changes: object) -> None:
        """Switch a named fault on, e.g. `preset("down", times=2)`."""
        self.add(self.named(name, **changes))

    def clear(self) -> None:
        self._active.clear()

    def take(self, operation: str) -> Fault | None:
        """The fault that applies to this request, if any. Counts the request against its `times`."""
        for at, (fault, left) in enumerate(self._active):
            if fault.on in {"*", operation}:
                if left is not None:
                    self._active[at : at + 1] = [(fault, left - 1)] if left > 1 else []
                return fault
        return None

    def active(self) -> list[dict[str, object]]:
        """The faults that are switched on, each with the requests left in `times`."""
        return [{**fault.model_dump(exclude_defaults=True), "times": left} for fault, left in self._active]


@dataclass(frozen=True, slots=True)
class RecordedRequest:
    """One request as it came over the wire."""

    #: Seconds since the epoch by the simulator's clock.
    at: float
    #: The name of the operation, such as `retrieve_run`.
    operation: str
    method: str
    #: Without the base path.
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: bytes


class ApiError(Exception):
    """A refusal of the request, with this status and JSON body."""

    def __init__(self, status: int, body: object) -> None:
        super().__init__(status)
        self.status = status
        self.body = body


@dataclass
class SimulatorContext:
    """The faults, clock and recorded requests that all operations of one simulator share."""

    faults: Faults
    clock: Clock
    sleep: Sleep = asyncio.sleep
    requests: deque[RecordedRequest] = field(default_factory=lambda: deque(maxlen=_MAX_RECORDED))


class Operation:
    """One operation as an ASGI endpoint. Records each request and applies the fault that is due."""

    def __init__(self, name: str, handler: Handler, context: SimulatorContext) -> None:
        self.name = name
        self._handler = handler
        self._context = context

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive)
        body = await request.body()
        context = self._context
        context.requests.append(
            RecordedRequest(
                context.clock.now(),
                self.name,
                request.method,
                scope["path"],
                dict(request.query_params),
                dict(request.headers),
                body,
            )
        )
        fault = context.faults.take(self.name)
        if fault is None:
            await (await self._handle(request))(scope, receive, send)
        else:
            await self._apply(fault, request, send)

    async def _handle(self, request: Request) -> Response:
        try:
            response = await self._handler(request)
        except ApiError as error:
            response = JSONResponse(error.body, error.status)
        return self._with_headers(response)

    def _with_headers(self, response: Response) -> Response:
        response.headers.setdefault("date", self._context.clock.http_date())
        response.headers.setdefault("x-request-id", f"req_{secrets.token_hex(16)}")
        return response

    async def _apply(self, fault: Fault, request: Request, send: Send) -> None:
        response = await self._handle(request) if fault.commit_after_s == 0 else None
        await self._context.sleep(fault.delay_s)
        if fault.drop:
            await _hang_up(request)
        elif fault.replaces_response:
            await self._send(fault, self._with_headers(fault.response(_placeholders(request))), request, send)
        else:
            await self._send(fault, response or await self._handle(request), request, send)
        if fault.commit_after_s and fault.replaces_response:
            await self._context.sleep(fault.commit_after_s)
            await self._handle(request)

    async def _send(self, fault: Fault, response: Response, request: Request, send: Send) -> None:
        start = {"status": response.status_code, "headers": response.raw_headers}
        await send({"type": "http.response.start", **start})
        async for piece in self._pieces(fault, bytes(response.body)):
            await send({"type": "http.response.body", "body": piece, "more_body": True})
        if fault.cut:
            await _hang_up(request)
        else:
            await send({"type": "http.response.body"})

    async def _pieces(self, fault: Fault, body: bytes) -> AsyncIterator[bytes]:
        body = body[: len(body) // 2] if fault.cut else body
        if not fault.trickle_s:
            yield body
            return
        for at in range(len(body)):
            yield body[at : at + 1]
            await self._context.sleep(fault.trickle_s)


def _placeholders(request: Request) -> Mapping[str, str]:
    placeholders: Mapping[str, str] = getattr(request.state, "placeholders", {})
    return placeholders


async def _hang_up(request: Request) -> None:
    """Close this request's connection without another byte. `server.serve` provides its transport."""
    transport: Any = request.state.transport
    transport.abort()
    while (await request.receive())["type"] != "http.disconnect":
        pass

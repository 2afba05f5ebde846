"""Faults that can be switched on, and the endpoint that plays them.

A fault says two separate things, because a client can never see the second: what becomes of the answer, and
whether (and when) the request takes effect all the same.
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

_REMEMBERED = 20_000
"""Requests kept for inspection: the newest, so that a long `simulate` does not grow for ever."""


class Fault(BaseModel):
    """What goes wrong with the next requests of one operation (`on`; `*` is any). Times are seconds.

    Without `status`, `body` and `drop` the answer is the right one, only late (`delay_s`), slow (`trickle_s`
    between two bytes) or broken off in the middle (`cut`). With one of them the request takes no effect,
    unless `commit_after_s` says when: 0 is before the answer, more is that long after it.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    on: str = "*"
    times: PositiveInt | None = 1
    """How many requests; None: until cleared."""
    delay_s: NonNegativeFloat = 0
    status: int | None = Field(default=None, ge=200, le=599)
    headers: dict[str, str] = {}
    body: str | None = None
    """`{protocolo}` stands for the one of the ticket that was opened all the same."""
    content_type: str = "text/plain; charset=utf-8"
    drop: bool = False
    cut: bool = False
    trickle_s: NonNegativeFloat = 0
    commit_after_s: NonNegativeFloat | None = None

    @property
    def spoils(self) -> bool:
        """The right answer is not given."""
        return self.drop or self.status is not None or self.body is not None

    def answer(self, fill: Mapping[str, str]) -> Response:
        """What is answered instead of the right thing."""
        status = self.status or 200
        text = f"fault {status}" if self.body is None else self.body
        for name, value in fill.items():
            text = text.replace(f"{{{name}}}", value)
        headers = {"content-type": self.content_type, **self.headers}
        return Response(text, status_code=status, headers=headers)


class Faults:
    """The faults now switched on, first come first served. `presets` are those that have a name."""

    def __init__(self, presets: Mapping[str, Fault]) -> None:
        self.presets = presets
        self._active: list[tuple[Fault, int | None]] = []

    def add(self, fault: Fault) -> None:
        self._active.append((fault, fault.times))

    def named(self, name: str, **changes: object) -> Fault:
        """A preset, with what differs from it. Raises `KeyError` when there is none of this name."""
        return Fault.model_validate({**self.presets[name].model_dump(), **changes})

    def preset(self, name: str, **changes: object) -> None:
        """Switch a named fault on, e.g. `preset("down", times=2)`."""
        self.add(self.named(name, **changes))

    def clear(self) -> None:
        self._active.clear()

    def take(self, operation: str) -> Fault | None:
        """The fault this request meets, if any; counts it."""
        for at, (fault, left) in enumerate(self._active):
            if fault.on in {"*", operation}:
                if left is not None:
                    self._active[at : at + 1] = [(fault, left - 1)] if left > 1 else []
                return fault
        return None

    def active(self) -> list[dict[str, object]]:
        """What is switched on, `times` counted down."""
        return [{**fault.model_dump(exclude_defaults=True), "times": left} for fault, left in self._active]


@dataclass(frozen=True, slots=True)
class Recorded:
    """One request as it came over the wire, its path without the base."""

    at: float
    operation: str
    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: bytes


class ApiError(Exception):
    """The request is refused with this status and JSON body."""

    def __init__(self, status: int, body: object) -> None:
        super().__init__(status)
        self.status = status
        self.body = body


@dataclass
class Desk:
    """What all operations of one simulator share."""

    faults: Faults
    clock: Clock
    sleep: Sleep = asyncio.sleep
    requests: deque[Recorded] = field(default_factory=lambda: deque(maxlen=_REMEMBERED))


class Operation:
    """One operation as an ASGI endpoint: recorded, and played with the fault that is due."""

    def __init__(self, name: str, handler: Handler, desk: Desk) -> None:
        self.name = name
        self._handler = handler
        self._desk = desk

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive)
        body = await request.body()
        desk = self._desk
        desk.requests.append(
            Recorded(
                desk.clock.now(),
                self.name,
                request.method,
                scope["path"],
                dict(request.query_params),
                dict(request.headers),
                body,
            )
        )
        fault = desk.faults.take(self.name)
        if fault is None:
            await (await self._handle(request))(scope, receive, send)
        else:
            await self._play(fault, request, send)

    async def _handle(self, request: Request) -> Response:
        try:
            response = await self._handler(request)
        except ApiError as error:
            response = JSONResponse(error.body, error.status)
        return self._dressed(response)

    def _dressed(self, response: Response) -> Response:
        response.headers.setdefault("date", self._desk.clock.http_date())
        response.headers.setdefault("x-request-id", f"req_{secrets.token_hex(16)}")
        return response

    async def _play(self, fault: Fault, request: Request, send: Send) -> None:
        response = await self._handle(request) if fault.commit_after_s == 0 else None
        await self._desk.sleep(fault.delay_s)
        if fault.drop:
            await _hang_up(request)
        elif fault.spoils:
            await self._send(fault, self._dressed(fault.answer(_fill(request))), request, send)
        else:
            await self._send(fault, response or await self._handle(request), request, send)
        if fault.commit_after_s and fault.spoils:
            await self._desk.sleep(fault.commit_after_s)
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
            await self._desk.sleep(fault.trickle_s)


def _fill(request: Request) -> Mapping[str, str]:
    fill: Mapping[str, str] = getattr(request.state, "fill", {})
    return fill


async def _hang_up(request: Request) -> None:
    """Close this request's connection without another byte; `server.serve` shows us its transport."""
    transport: Any = request.state.transport
    transport.abort()
    while (await request.receive())["type"] != "http.disconnect":
        pass

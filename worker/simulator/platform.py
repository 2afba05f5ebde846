"""What the simulated platforms have in common: an app with a base, named faults, and `/_sim/` beside it."""

import asyncio
import json
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol, TypedDict, Unpack

from pydantic import BaseModel
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import Lifespan, Receive, Scope, Send

from worker.simulator.admin import Admin, forgiving
from worker.simulator.assistants.runs import refused
from worker.simulator.clock import Clock
from worker.simulator.faults import Desk, Fault, Faults, Handler, Operation, Sleep
from worker.simulator.webhooks import Webhooks

Json = dict[str, Any]
OperationRow = tuple[str, str, str, Handler]
"""Name, method, path and handler."""

Check = Callable[[Request], None]
"""Raises the refusal of a request that no operation of this platform would take."""


def _no_check(_request: Request) -> None:
    """Any request may go on."""


class Part(Protocol):
    """Some operations of a platform."""

    def operations(self) -> tuple[OperationRow, ...]: ...


class Timed(Protocol):
    """What has timings that a program outside may replace."""

    timings: Any


class PlatformApp:
    """The ASGI app of one simulated platform.

    `base`: the path before the protocol's own; `/v1` after it is accepted and not needed. `state` is what
    `/_sim/state` shows of the platform beside its timings.
    """

    def __init__(
        self,
        desk: Desk,
        parts: Sequence[Part],
        timed: Timed,
        state: Callable[[], Json],
        *,
        base: str,
        check: Check,
        lifespan: Lifespan[Starlette] | None,
    ) -> None:
        self._desk = desk
        self._timed = timed
        self._state = state
        self._base = base.rstrip("/")
        self._check = check
        routes = [self._route(*row) for part in parts for row in part.operations()]
        self._inner = Starlette(
            routes=[*routes, *self._admin()],
            exception_handlers={HTTPException: _invalid_url},
            lifespan=lifespan,
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and not scope["path"].startswith("/_sim/"):
            path = self._protocol_path(scope["path"])
            scope = {**scope, "path": path, "raw_path": path.encode()}
        await self._inner(scope, receive, send)

    def _protocol_path(self, path: str) -> str:
        if not path.startswith(f"{self._base}/"):
            return "/"
        path = path.removeprefix(self._base)
        return path.removeprefix("/v1") if path.startswith("/v1/") else path

    def _route(self, name: str, method: str, path: str, handler: Handler) -> Route:
        async def checked(request: Request) -> Response:
            self._check(request)
            return await handler(request)

        return Route(path, Operation(name, checked, self._desk), methods=[method])

    def _admin(self) -> list[Route]:
        return [
            *Admin(self._desk, self._shown).routes(),
            Route("/_sim/timings", forgiving(self._set_timings), methods=["PUT"]),
        ]

    def _shown(self) -> Json:
        return {**self._state(), "timings": self._timed.timings.model_dump()}

    async def _set_timings(self, request: Request) -> Response:
        """Replace the timings of what is created from now on; what is left out is the default."""
        shape: type[BaseModel] = type(self._timed.timings)
        self._timed.timings = shape.model_validate_json(await request.body())
        return JSONResponse(self._timed.timings.model_dump())


class Common(TypedDict, total=False):
    """What every simulated platform may be told. `base`: the path before the protocol's own."""

    clock: Clock
    base: str
    sleep: Sleep


class Telling(Common, total=False):
    """The same of one that sends webhooks, signed with `webhook_secret` (`whsec_…`)."""

    webhook_url: str | None
    webhook_secret: str | None


class SimulatedPlatform(ABC):
    """A platform to be served: `async with serve(simulator.app) as url`. Its parts are put in by `_open`."""

    app: PlatformApp

    def __init__(
        self,
        presets: Mapping[str, Fault],
        *,
        clock: Clock | None = None,
        base: str = "",
        sleep: Sleep = asyncio.sleep,
    ) -> None:
        self.clock = clock or Clock()
        self.faults = Faults(presets)
        self._base = base
        self._desk = Desk(self.faults, self.clock, sleep)
        self.requests = self._desk.requests

    def _open(
        self,
        timed: Timed,
        parts: Sequence[Part],
        *,
        check: Check = _no_check,
        lifespan: Lifespan[Starlette] | None = None,
    ) -> None:
        self.app = PlatformApp(
            self._desk, parts, timed, self._state, base=self._base, check=check, lifespan=lifespan
        )

    @abstractmethod
    def _state(self) -> Json:
        """What `/_sim/state` shows."""


class TellingPlatform(SimulatedPlatform):
    """One that sends webhooks: where to may be set at any time, in `webhooks`."""

    def __init__(
        self,
        presets: Mapping[str, Fault],
        *,
        webhook_url: str | None = None,
        webhook_secret: str | None = None,
        **common: Unpack[Common],
    ) -> None:
        super().__init__(presets, **common)
        sleep = self._desk.sleep
        self.webhooks = Webhooks(self.clock, url=webhook_url, secret=webhook_secret, sleep=sleep)


async def _invalid_url(request: Request, error: Exception) -> Response:
    """OpenAI's answer to a path it does not serve."""
    status = error.status_code if isinstance(error, HTTPException) else 500
    refusal = refused(f"Invalid URL ({request.method} {request.url.path})", status)
    return JSONResponse(refusal.body, refusal.status)


def presets(look: str, submit: str, missing: str) -> Mapping[str, Fault]:
    """The faults that have a name on every platform. `look`, `submit`: the operations' names here."""

    def said(status: int, message: str, on: str = "*", times: int | None = 1) -> Fault:
        body = json.dumps(refused(message).body)
        return Fault(on=on, times=times, status=status, body=body, content_type="application/json")

    return {
        "gone": said(404, "Invalid URL", times=None),
        "unauthorized": said(401, "Incorrect API key"),
        "rate_limited": Fault(status=429, headers={"retry-after": "1"}),
        "error": Fault(status=500),
        "dropped": Fault(drop=True),
        "garbage": Fault(body='{"id": "run_', content_type="application/json"),
        "not_found": said(404, missing, on=look),
        "submit_dropped_after": Fault(on=submit, drop=True, commit_after_s=0),
        "submit_error_after": Fault(on=submit, status=500, commit_after_s=0),
    }

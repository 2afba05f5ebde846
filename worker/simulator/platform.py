"""What the simulated platforms share: an app under a base path, named faults, and the `/_sim/` operations."""

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

from worker.simulator.admin import Admin, with_validation_errors
from worker.simulator.assistants.runs import invalid_request
from worker.simulator.clock import Clock
from worker.simulator.faults import Fault, Faults, Handler, Operation, SimulatorContext, Sleep
from worker.simulator.webhooks import Webhooks

Json = dict[str, Any]
OperationRow = tuple[str, str, str, Handler]
"""Name, method, path and handler."""

Check = Callable[[Request], None]
"""Raises `ApiError` for a request that every operation of this platform refuses."""


def _accept_any(_request: Request) -> None:
    """Accept every request."""


class OperationGroup(Protocol):
    """Some operations of a platform."""

    def operations(self) -> tuple[OperationRow, ...]: ...


class HasTimings(Protocol):
    """An object whose timings `/_sim/timings` may replace."""

    timings: Any


class PlatformApp:
    """The ASGI app of one simulated platform.

    `base`: the path before the protocol's own; `/v1` after it is accepted and not needed. `state` is what
    `/_sim/state` shows of the platform beside its timings.
    """

    def __init__(
        self,
        context: SimulatorContext,
        parts: Sequence[OperationGroup],
        has_timings: HasTimings,
        state: Callable[[], Json],
        *,
        base: str,
        check: Check,
        lifespan: Lifespan[Starlette] | None,
    ) -> None:
        self._context = context
        self._has_timings = has_timings
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

        return Route(path, Operation(name, checked, self._context), methods=[method])

    def _admin(self) -> list[Route]:
        return [
            *Admin(self._context, self._state_with_timings).routes(),
            Route("/_sim/timings", with_validation_errors(self._set_timings), methods=["PUT"]),
        ]

    def _state_with_timings(self) -> Json:
        return {**self._state(), "timings": self._has_timings.timings.model_dump()}

    async def _set_timings(self, request: Request) -> Response:
        """Replace the timings of everything created from now on. Omitted fields take their defaults."""
        shape: type[BaseModel] = type(self._has_timings.timings)
        self._has_timings.timings = shape.model_validate_json(await request.body())
        return JSONResponse(self._has_timings.timings.model_dump())


class SimulatorOptions(TypedDict, total=False):
    """Options of every simulated platform. `base`: the path before the protocol's own."""

    clock: Clock
    base: str
    sleep: Sleep


class WebhookOptions(SimulatorOptions, total=False):
    """Options of a platform that sends webhooks, signed with `webhook_secret` (`whsec_…`)."""

    webhook_url: str | None
    webhook_secret: str | None


class SimulatedPlatform(ABC):
    """A platform to be served: `async with serve(simulator.app) as url`. Subclasses call `_build_app`."""

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
        self._context = SimulatorContext(self.faults, self.clock, sleep)
        self.requests = self._context.requests

    def _build_app(
        self,
        has_timings: HasTimings,
        parts: Sequence[OperationGroup],
        *,
        check: Check = _accept_any,
        lifespan: Lifespan[Starlette] | None = None,
    ) -> None:
        self.app = PlatformApp(
            self._context, parts, has_timings, self._state, base=self._base, check=check, lifespan=lifespan
        )

    @abstractmethod
    def _state(self) -> Json:
        """The content of `/_sim/state`."""


class WebhookPlatform(SimulatedPlatform):
    """A platform that sends webhooks. `webhooks.url` may be set at any time."""

    def __init__(
        self,
        presets: Mapping[str, Fault],
        *,
        webhook_url: str | None = None,
        webhook_secret: str | None = None,
        **common: Unpack[SimulatorOptions],
    ) -> None:
        super().__init__(presets, **common)
        sleep = self._context.sleep
        self.webhooks = Webhooks(self.clock, url=webhook_url, secret=webhook_secret, sleep=sleep)


async def _invalid_url(request: Request, error: Exception) -> Response:
    """OpenAI's answer to a path it does not serve."""
    status = error.status_code if isinstance(error, HTTPException) else 500
    refusal = invalid_request(f"Invalid URL ({request.method} {request.url.path})", status)
    return JSONResponse(refusal.body, refusal.status)


def presets(read: str, submit: str, not_found_message: str) -> Mapping[str, Fault]:
    """The faults that have a name on every platform. `read`, `submit`: this platform's operation names."""

    def json_error(status: int, message: str, on: str = "*", times: int | None = 1) -> Fault:
        body = json.dumps(invalid_request(message).body)
        return Fault(on=on, times=times, status=status, body=body, content_type="application/json")

    return {
        "gone": json_error(404, "Invalid URL", times=None),
        "unauthorized": json_error(401, "Incorrect API key"),
        "rate_limited": Fault(status=429, headers={"retry-after": "1"}),
        "error": Fault(status=500),
        "dropped": Fault(drop=True),
        "garbage": Fault(body='{"id": "run_', content_type="application/json"),
        "not_found": json_error(404, not_found_message, on=read),
        "submit_dropped_after": Fault(on=submit, drop=True, commit_after_s=0),
        "submit_error_after": Fault(on=submit, status=500, commit_after_s=0),
    }

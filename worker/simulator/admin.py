"""`/_sim/…`: the HTTP operations with which another program inspects a simulator and switches its faults."""

from collections.abc import Callable
from dataclasses import asdict
from typing import Any

from pydantic import BaseModel, ConfigDict, NonNegativeFloat, ValidationError
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from worker.simulator.faults import Fault, Handler, RecordedRequest, SimulatorContext

Json = dict[str, Any]


class _Faults(BaseModel):
    """The body that replaces all faults. An entry is a `Fault`, or `{"preset": NAME}` with changed fields."""

    model_config = ConfigDict(extra="forbid")

    faults: list[Json]


class _Skip(BaseModel):
    model_config = ConfigDict(extra="forbid")

    skip_s: NonNegativeFloat


class Admin:
    """The admin operations that every simulator has. `state` returns what `/_sim/state` shows of this one."""

    def __init__(self, context: SimulatorContext, state: Callable[[], Json]) -> None:
        self._context = context
        self._state = state

    def routes(self) -> list[Route]:
        return [
            Route("/_sim/state", self._get_state),
            Route("/_sim/requests", self._get_requests),
            Route("/_sim/faults", with_validation_errors(self._set_faults), methods=["PUT"]),
            Route("/_sim/clock", with_validation_errors(self._skip), methods=["POST"]),
        ]

    async def _get_state(self, _request: Request) -> Response:
        faults, skipped_s = self._context.faults.active(), self._context.clock.skipped_s
        presets = sorted(self._context.faults.presets)
        return JSONResponse({**self._state(), "faults": faults, "presets": presets, "skipped_s": skipped_s})

    async def _get_requests(self, _request: Request) -> Response:
        return JSONResponse([_request_json(request) for request in self._context.requests])

    async def _set_faults(self, request: Request) -> Response:
        entries = _Faults.model_validate_json(await request.body()).faults
        faults = [self._fault_from(entry) for entry in entries]
        self._context.faults.clear()
        for fault in faults:
            self._context.faults.add(fault)
        return await self._get_state(request)

    def _fault_from(self, entry: Json) -> Fault:
        changes = dict(entry)
        name = changes.pop("preset", None)
        return Fault.model_validate(changes) if name is None else self._context.faults.named(name, **changes)

    async def _skip(self, request: Request) -> Response:
        self._context.clock.skip(_Skip.model_validate_json(await request.body()).skip_s)
        return await self._get_state(request)


def with_validation_errors(handler: Handler) -> Handler:
    """The handler, with a 400 that names the invalid field when the body is invalid."""

    async def answer(request: Request) -> Response:
        try:
            return await handler(request)
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            where = ".".join(str(part) for part in first["loc"])
            return JSONResponse({"error": f"{where}: {first['msg']}"}, 400)
        except KeyError as error:
            return JSONResponse({"error": f"unknown preset {error}"}, 400)

    return answer


def _request_json(request: RecordedRequest) -> Json:
    return {**asdict(request), "body": request.body.decode("utf-8", "replace")}

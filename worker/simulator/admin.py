"""`/_sim/…`: how a program outside this process looks into a simulator and switches its faults."""

from collections.abc import Callable
from dataclasses import asdict
from typing import Any

from pydantic import BaseModel, ConfigDict, NonNegativeFloat, ValidationError
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from worker.simulator.faults import Desk, Fault, Handler, Recorded

Json = dict[str, Any]


class _Faults(BaseModel):
    """Replaces all faults. An entry is a `Fault`, or `{"preset": NAME}` with what differs from it."""

    model_config = ConfigDict(extra="forbid")

    faults: list[Json]


class _Skip(BaseModel):
    model_config = ConfigDict(extra="forbid")

    skip_s: NonNegativeFloat


class Admin:
    """The admin operations every simulator has; `state` is what this one shows of itself."""

    def __init__(self, desk: Desk, state: Callable[[], Json]) -> None:
        self._desk = desk
        self._state = state

    def routes(self) -> list[Route]:
        return [
            Route("/_sim/state", self._show),
            Route("/_sim/requests", self._requests),
            Route("/_sim/faults", forgiving(self._set_faults), methods=["PUT"]),
            Route("/_sim/clock", forgiving(self._skip), methods=["POST"]),
        ]

    async def _show(self, _request: Request) -> Response:
        faults, skipped_s = self._desk.faults.active(), self._desk.clock.skipped_s
        presets = sorted(self._desk.faults.presets)
        return JSONResponse({**self._state(), "faults": faults, "presets": presets, "skipped_s": skipped_s})

    async def _requests(self, _request: Request) -> Response:
        return JSONResponse([_recorded(item) for item in self._desk.requests])

    async def _set_faults(self, request: Request) -> Response:
        entries = _Faults.model_validate_json(await request.body()).faults
        chosen = [self._chosen(entry) for entry in entries]
        self._desk.faults.clear()
        for fault in chosen:
            self._desk.faults.add(fault)
        return await self._show(request)

    def _chosen(self, entry: Json) -> Fault:
        changes = dict(entry)
        name = changes.pop("preset", None)
        return Fault.model_validate(changes) if name is None else self._desk.faults.named(name, **changes)

    async def _skip(self, request: Request) -> Response:
        self._desk.clock.skip(_Skip.model_validate_json(await request.body()).skip_s)
        return await self._show(request)


def forgiving(handler: Handler) -> Handler:
    """The handler, answering 400 with the field that is wrong."""

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


def _recorded(item: Recorded) -> Json:
    return {**asdict(item), "body": item.body.decode("utf-8", "replace")}

"""The simulated platform: the Assistants v2 protocol over HTTP, its assistants played by a script."""

import asyncio
import json
from collections import Counter
from typing import Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from worker.simulator.admin import Admin, forgiving
from worker.simulator.clock import Clock
from worker.simulator.conversations import Conversations
from worker.simulator.faults import Desk, Fault, Faults, Handler, Operation, Sleep
from worker.simulator.registry import Registry
from worker.simulator.runs import Timings, refused
from worker.simulator.scripts import Script, decide

_JSON = "application/json"


def _error(message: str) -> str:
    return json.dumps(refused(message).body)


PRESETS = {
    "gone": Fault(times=None, status=404, body=_error("Invalid URL"), content_type=_JSON),
    "unauthorized": Fault(status=401, body=_error("Incorrect API key"), content_type=_JSON),
    "rate_limited": Fault(status=429, headers={"retry-after": "1"}),
    "error": Fault(status=500),
    "dropped": Fault(drop=True),
    "garbage": Fault(body='{"id": "run_', content_type=_JSON),
    "not_found": Fault(on="retrieve_run", status=404, body=_error("No run found"), content_type=_JSON),
    "submit_dropped_after": Fault(on="submit_tool_outputs", drop=True, commit_after_s=0),
    "submit_error_after": Fault(on="submit_tool_outputs", status=500, commit_after_s=0),
}
"""The platform's faults that have a name. `on` is an operation's name (`operations()` lists them)."""


class AssistantsSimulator:
    """A platform to be served: `async with serve(simulator.app) as url`.

    `base`: the path before the protocol's own (Foundry has one); `/v1` after it is accepted and not needed.
    `require_api_version`: refuse requests without the `api-version` query, as Foundry does.
    """

    def __init__(
        self,
        *,
        script: Script = decide,
        timings: Timings | None = None,
        clock: Clock | None = None,
        base: str = "",
        require_api_version: bool = False,
        sleep: Sleep = asyncio.sleep,
    ) -> None:
        self.clock = clock or Clock()
        self.faults = Faults(PRESETS)
        self.registry = Registry(self.clock)
        self.conversations = Conversations(self.registry, self.clock, script, timings or Timings())
        self._desk = Desk(self.faults, self.clock, sleep)
        self.requests = self._desk.requests
        self._base = base.rstrip("/")
        self._require_api_version = require_api_version
        self._inner = Starlette(routes=self._routes(), exception_handlers={HTTPException: _invalid_url})

    async def app(self, scope: Scope, receive: Receive, send: Send) -> None:
        """The ASGI app: the protocol under its base, `/_sim/` beside it."""
        if scope["type"] == "http" and not scope["path"].startswith("/_sim/"):
            path = self._protocol_path(scope["path"])
            scope = {**scope, "path": path, "raw_path": path.encode()}
        await self._inner(scope, receive, send)

    def _protocol_path(self, path: str) -> str:
        if not path.startswith(f"{self._base}/"):
            return "/"
        path = path.removeprefix(self._base)
        return path.removeprefix("/v1") if path.startswith("/v1/") else path

    def _routes(self) -> list[Route]:
        return [
            *(
                Route(path, Operation(name, self._checked(handler), self._desk), methods=[method])
                for name, method, path, handler in (
                    *self.registry.operations(),
                    *self.conversations.operations(),
                )
            ),
            *Admin(self._desk, self._state).routes(),
            Route("/_sim/timings", forgiving(self._set_timings), methods=["PUT"]),
        ]

    def _checked(self, handler: Handler) -> Handler:
        async def checked(request: Request) -> Response:
            if self._require_api_version and not request.query_params.get("api-version"):
                raise refused(
                    "Missing required query parameter: api-version", code="MissingApiVersionParameter"
                )
            return await handler(request)

        return checked

    def _state(self) -> dict[str, Any]:
        runs = [run for thread in self.conversations.threads.values() for run in thread.runs]
        for run in runs:
            run.advance(self.clock.now())
        return {
            "assistants": {item["name"]: item["id"] for item in self.registry.assistants.values()},
            "threads": len(self.conversations.threads),
            "runs": Counter(run.status for run in runs),
            "timings": self.conversations.timings.model_dump(),
        }

    async def _set_timings(self, request: Request) -> Response:
        """Replace the timings of the runs created from now on; what is left out is the default."""
        self.conversations.timings = Timings.model_validate_json(await request.body())
        return JSONResponse(self.conversations.timings.model_dump())


async def _invalid_url(request: Request, error: Exception) -> Response:
    """OpenAI's answer to a path it does not serve."""
    status = error.status_code if isinstance(error, HTTPException) else 500
    refusal = refused(f"Invalid URL ({request.method} {request.url.path})", status)
    return JSONResponse(refusal.body, refusal.status)

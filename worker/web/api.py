"""The HTTP API put together: calls, problems, layers of defence, and its own description (contract §3)."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from fastapi import FastAPI
from fastapi.responses import FileResponse
from starlette.middleware import Middleware
from starlette.staticfiles import StaticFiles

from worker import __version__
from worker.ports import Records
from worker.web.limits import Busy, WholeBody
from worker.web.problems import HANDLERS, Problem
from worker.web.routes import Desk, router, wrong_method
from worker.web.security import PROBES, Answers, Failures, Gate

_STATIC = Path(__file__).parent / "static"
_DOCS_CSP = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_REFERENCE = "#/components/schemas/{model}"


class _Api(FastAPI):
    """FastAPI, with problems and the token in its description."""

    def __init__(self, *, token: str | None, middleware: list[Middleware]) -> None:
        super().__init__(
            title="ticket-worker",
            version=__version__,
            description="Acompanha execuções de assistentes de IA e responde às suas chamadas de função.",
            docs_url=None,
            redoc_url=None,
            redirect_slashes=False,
            exception_handlers={**HANDLERS, 405: wrong_method},
            middleware=middleware,
        )
        self._asks_token = bool(token)

    def openapi(self) -> dict[str, Any]:
        """The description as served; `Problem` is added because no call names it as its model."""
        if self.openapi_schema is None:
            description = super().openapi()
            problem = Problem.model_json_schema(ref_template=_REFERENCE)
            description["components"]["schemas"] |= {**problem.pop("$defs"), "Problem": problem}
            if self._asks_token:
                _describe_token(description)
        return self.openapi_schema or {}


def _describe_token(description: dict[str, Any]) -> None:
    description["components"]["securitySchemes"] = {
        "bearer": {"type": "http", "scheme": "bearer"},
        "basic": {"type": "http", "scheme": "basic", "description": "O token como senha."},
    }
    description["security"] = [{"bearer": []}, {"basic": []}]
    for probe in PROBES:
        description["paths"][probe]["get"]["security"] = []


def create_api(
    records: Records,
    *,
    token: str | None,
    platform: str = "assistants",
    wake: Callable[[str], None],
    alive: Callable[[], bool],
    timezone: str,
    now: Callable[[], float] = time.time,
) -> FastAPI:
    """The whole API. `wake(run_id)`: look at this run now; `alive()`: the loop ticked lately.

    `platform` is PLATFORM, `timezone` TIMEZONE; `now` gives seconds since the epoch.
    """
    layers = [
        Middleware(Answers),
        Middleware(Gate, token=token, failures=Failures()),
        Middleware(WholeBody),
        Middleware(Busy),
    ]
    api = _Api(token=token, middleware=layers)
    api.state.desk = Desk(records, platform, wake, alive, ZoneInfo(timezone), now)
    api.include_router(router)
    api.add_api_route("/docs", _docs, include_in_schema=False)
    api.mount("/static", StaticFiles(directory=_STATIC))
    return api


async def _docs() -> FileResponse:
    return FileResponse(_STATIC / "docs.html", headers={"Content-Security-Policy": _DOCS_CSP})

"""Assembles the HTTP API: routes, error handlers, middleware and OpenAPI description (contract §3)."""

from collections.abc import Callable, Sequence
from ipaddress import IPv4Network, IPv6Network
from pathlib import Path
from typing import Any

from fastapi import Depends, FastAPI, Request, Response
from fastapi.responses import FileResponse
from fastapi.routing import APIRoute
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.routing import Match
from starlette.staticfiles import StaticFiles

from worker import __version__
from worker.web import events
from worker.web.dashboard.page import Dashboard
from worker.web.dashboard.pages import Pages
from worker.web.dependencies import Services
from worker.web.middleware import (
    PROBES,
    Authentication,
    BodyLimit,
    ConcurrencyLimit,
    ForwardedClient,
    LoginThrottle,
    QueryLimit,
    SafeResponses,
)
from worker.web.problems import HANDLERS, Problem, problem
from worker.web.queries import only_known_parameters
from worker.web.routes import ROUTERS

_STATIC = Path(__file__).parent / "static"
_DOCS_CSP = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_REFERENCE = "#/components/schemas/{model}"
_DESCRIPTION = """Acompanha execuções de assistentes de IA e responde às suas chamadas de função.

**Token**: `Authorization: Bearer API_TOKEN`, ou a senha de HTTP Basic; sem `API_TOKEN` configurado, só a
própria máquina é atendida. **Horários**: RFC 3339 com fuso. **Listas**: da mais nova à mais antiga;
`next_cursor` vai em `cursor` para a próxima página. **Corpos**: JSON de até 256 KiB; um campo
desconhecido é 422.

**Erros**: `application/problem+json` (RFC 9457). Programas decidem por `code`, que não muda; nada do que
foi enviado volta num erro. Além dos listados em cada chamada: 404 `nao_encontrado` num endereço que não
existe, e 405 `metodo_nao_permitido`, com `Allow`, num que não atende o método."""
_TAGS = [
    {"name": "conversas", "description": "O que o bot sabe do cliente."},
    {"name": "execuções", "description": "O que o worker acompanha e responde."},
    {"name": "chamadas", "description": "O registro das chamadas de função, e o que uma pessoa pode fazer."},
    {"name": "atendimento humano", "description": "A fila: `requested`, `accepted`, `closed`."},
    {
        "name": "avisos ao bot",
        "description": "O que o bot recebe por webhook, e o que não aceitou.",
    },
    {"name": "respostas", "description": "O que o assistente diz, comparado com o que aconteceu."},
    {"name": "indicadores", "description": "Os números de um período."},
    {"name": "webhooks", "description": "O que a plataforma avisa."},
    {"name": "saúde", "description": "Para máquinas; sem token."},
]


class _Api(FastAPI):
    """FastAPI, with problems, the token and the bot's events in its description."""

    def __init__(self, *, token: str | None, middleware: list[Middleware]) -> None:
        super().__init__(
            title="ticket-worker",
            version=__version__,
            description=_DESCRIPTION,
            openapi_tags=_TAGS,
            generate_unique_id_function=lambda route: route.name,
            docs_url=None,
            redoc_url=None,
            redirect_slashes=False,
            exception_handlers={**HANDLERS, 405: _wrong_method},
            middleware=middleware,
        )
        self._asks_token = bool(token)

    def openapi(self) -> dict[str, Any]:
        """The description as served; `Problem` is added because no call names it as its model."""
        if self.openapi_schema is None:
            description = super().openapi()
            schema = Problem.model_json_schema(ref_template=_REFERENCE)
            schemas = description["components"]["schemas"]
            schemas |= {**schema.pop("$defs"), "Problem": schema, **events.schemas()}
            description["webhooks"] = events.webhooks()
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
    services: Services, *, token: str | None, trusted_proxies: Sequence[IPv4Network | IPv6Network] = ()
) -> FastAPI:
    """The whole API, with the dashboard.

    `token`: API_TOKEN, None where none is set. `trusted_proxies`: TRUSTED_PROXIES.
    """
    layers = [
        Middleware(SafeResponses),
        Middleware(ForwardedClient, trusted=trusted_proxies),
        Middleware(Authentication, token=token, failures=LoginThrottle()),
        Middleware(QueryLimit),
        Middleware(BodyLimit),
        Middleware(ConcurrencyLimit),
    ]
    api = _Api(token=token, middleware=layers)
    api.state.services = services
    for router in ROUTERS:
        api.include_router(router, dependencies=[Depends(only_known_parameters)])
    api.add_api_route("/", Dashboard(services).show, include_in_schema=False)
    pages = Pages(services)
    others: dict[str, Callable[..., Any]] = {
        "/calls": pages.calls,
        "/calls/{call_id}": pages.call,
        "/conversations/{written}": pages.conversation,
        "/conversations/{written}/chat": pages.chat,
        "/runs": pages.runs,
        "/events": pages.events,
        "/search": pages.search,
        "/help": pages.help,
    }
    for path, page in others.items():
        api.add_api_route(path, page, include_in_schema=False, response_class=Response)
    api.add_api_route("/docs", _docs, include_in_schema=False)
    api.mount("/static", StaticFiles(directory=_STATIC))
    return api


async def _docs() -> FileResponse:
    return FileResponse(_STATIC / "docs.html", headers={"Content-Security-Policy": _DOCS_CSP})


async def _wrong_method(request: Request, error: HTTPException) -> Response:
    """405 with every method of the path: FastAPI names only those of the first route that matches."""
    calls = [route for router in ROUTERS for route in router.routes if isinstance(route, APIRoute)]
    first = next((each for each in calls if each.matches(request.scope)[0] is Match.PARTIAL), None)
    if first is None:
        return problem("metodo_nao_permitido", headers=error.headers)
    allowed = {method for each in calls if each.path == first.path for method in each.methods or ()}
    if "GET" in allowed:
        allowed.add("HEAD")
    return problem("metodo_nao_permitido", headers={"Allow": ", ".join(sorted(allowed))})

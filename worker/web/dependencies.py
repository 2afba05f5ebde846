"""Dependencies of the API's operations, and the refusals that several operations share."""

import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import tzinfo
from typing import Annotated, Any

from fastapi import Depends, Path, Request
from starlette.convertors import StringConvertor, register_url_convertor

from worker import metrics
from worker.engine.reply_check import ReplyCheck
from worker.metrics import Vitals
from worker.store.store import Store
from worker.web.problems import refusals
from worker.web.requests import OwnId
from worker.web.webhooks import WebhookReceiver


@dataclass(frozen=True)
class Setup:
    """Which parts are configured, for the dashboard."""

    #: OPENAI_API_KEY, or Entra ID in its place.
    platform_key: bool = False
    crm: bool = False
    lookup: bool = False
    bot: bool = False
    #: The platform stores assistants with their functions.
    stores_assistants: bool = True
    #: Names of the configured assistants.
    assistants: tuple[str, ...] = ()
    #: CONVERSATION_URL, with `{conversation_id}` in it.
    conversation_url: str | None = None


@dataclass(frozen=True)
class Services:
    """The parts of the daemon that the API's operations use."""

    store: Store
    #: PLATFORM.
    platform: str
    #: TIMEZONE.
    zone: tzinfo
    #: CRM_PROTOCOL_PATTERN.
    protocolo: re.Pattern[str]
    #: Claims or polls a run now.
    wake: Callable[[str], None]
    #: The loop ticked lately.
    alive: Callable[[], bool]
    #: Checks replies for the bot.
    replies: ReplyCheck
    #: None without OPENAI_WEBHOOK_SECRET; its `run()` belongs to the caller.
    webhooks: WebhookReceiver | None = None
    setup: Setup = Setup()
    #: This process's gauges.
    vitals: Callable[[], Vitals] = metrics.vitals
    #: Seconds since the epoch.
    now: Callable[[], float] = time.time


async def _services(request: Request) -> Services:
    services: Services = request.app.state.services
    return services


ServicesDep = Annotated[Services, Depends(_services)]


def in_path(description: str, example: str) -> Any:
    """An identifier in a path, as the description shows it."""
    return Path(description=description, openapi_examples={"exemplo": {"value": example}})


CallId = Annotated[OwnId, in_path("Do worker, não da plataforma.", "tc_01")]
EventId = Annotated[OwnId, in_path("O identificador do aviso.", "msg_01")]
HandoffId = Annotated[OwnId, in_path("O identificador do pedido.", "ho_01")]

ALWAYS = ("nao_autorizado", "host_recusado", "limite_excedido", "erro_interno", "indisponivel")
FINDING = refusals(*ALWAYS, "nao_encontrado", "identificador_invalido")
WRITING = (
    *ALWAYS,
    "origem_recusada",
    "json_invalido",
    "corpo_grande_demais",
    "tipo_nao_suportado",
    "dados_invalidos",
    "identificador_invalido",
)
ACTING = (
    *ALWAYS,
    "origem_recusada",
    "nao_encontrado",
    "corpo_grande_demais",
    "tipo_nao_suportado",
    "identificador_invalido",
)
"""Refusals of every action without a body."""

DISMISSING = refusals(*WRITING, "nao_encontrado", "estado_incompativel")
RESTORING = refusals(
    *ALWAYS, "origem_recusada", "nao_encontrado", "identificador_invalido", "estado_incompativel"
)


class _Whole(StringConvertor):
    """The rest of a path, slashes and line breaks included.

    Starlette's `path` drops a line break at its end, and would take one id for another.
    """

    regex = r"[\s\S]*"


register_url_convertor("whole", _Whole())

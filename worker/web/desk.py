"""What every call of the API works with, and the refusals that calls have in common."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import tzinfo
from typing import Annotated

from fastapi import Depends, Query, Request

from worker.ports import Handoffs, Operators, Records
from worker.web.problems import refusals
from worker.web.webhooks import Doorbell


@dataclass(frozen=True)
class Desk:
    """What the calls work with. `wake` says that a run is due now; `alive` that the loop ticked lately.

    `webhooks` is None without OPENAI_WEBHOOK_SECRET; `protocolo` is CRM_PROTOCOL_PATTERN.
    """

    records: Records
    operators: Operators
    handoffs: Handoffs
    webhooks: Doorbell | None
    platform: str
    wake: Callable[[str], None]
    alive: Callable[[], bool]
    zone: tzinfo
    now: Callable[[], float]
    protocolo: re.Pattern[str]


async def _desk(request: Request) -> Desk:
    desk: Desk = request.app.state.desk
    return desk


AtDesk = Annotated[Desk, Depends(_desk)]
Limit = Annotated[int, Query(ge=1, le=200, description="Quantos itens por página.")]
After = Annotated[str | None, Query(description="O next_cursor da página anterior.")]

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

"""What an empty dashboard says: what is configured, what is missing, and the next step."""

from collections.abc import Iterator
from typing import NamedTuple

from worker.metrics import Vitals
from worker.web.dashboard.words import Look
from worker.web.dependencies import Setup

_SET = Look("configurado", "✓", "good")
_UNSET = Look("não configurado", "–", "quiet")


class SetupLine(NamedTuple):
    """One part of the configuration. `text` may hold `code` between backquotes."""

    look: Look
    text: str


def setup_lines(setup: Setup) -> list[SetupLine]:
    """What is configured and what is not: first what the worker needs, then what is optional."""
    return [SetupLine(_SET if ready else _UNSET, text) for ready, text in _parts(setup)]


def _parts(setup: Setup) -> Iterator[tuple[bool, str]]:
    yield setup.platform_key, "Chave da plataforma (`OPENAI_API_KEY`)."
    yield setup.crm, "CRM que abre os tickets (`CRM_WEBHOOK_URL`)."
    if setup.stores_assistants:
        text = "Assistentes (`FINANCEIRO_ASSISTANT_ID`, …), para cadastrar as funções neles."
        yield bool(setup.assistants), text
    text = "Opcional: consulta ao CRM (`CRM_LOOKUP_URL`), para saber se um ticket sem resposta foi aberto."
    yield setup.lookup, text
    yield setup.bot, "Opcional: avisos ao bot (`BOT_WEBHOOK_URL`); sem eles, o bot consulta a API."
    yield setup.conversation_url is not None, "Opcional: link para o chat do bot (`CONVERSATION_URL`)."


def next_step(setup: Setup, vitals: Vitals) -> str:
    """The first thing that is missing, in the order in which a worker is set up."""
    if not setup.platform_key:
        return "defina `OPENAI_API_KEY`, a chave da plataforma, e reinicie o worker."
    if not setup.crm:
        return "defina `CRM_WEBHOOK_URL`, o endereço do CRM que abre tickets, e reinicie o worker."
    if setup.stores_assistants:
        if not setup.assistants:
            return (
                "informe os assistentes (`FINANCEIRO_ASSISTANT_ID`, `SUPORTE_ASSISTANT_ID`, "
                "`RECEPCAO_ASSISTANT_ID`), cadastre as funções neles com `ticket-worker sync-schema` "
                "e reinicie o worker."
            )
        if vitals.drifted or not vitals.compared:
            return "cadastre as funções nos assistentes: `ticket-worker sync-schema`."
    return (
        "anuncie a primeira execução, com os três pedidos abaixo; as chamadas de função dela aparecem aqui."
    )

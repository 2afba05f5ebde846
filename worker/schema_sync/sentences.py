"""Comparisons and their failures as Portuguese sentences for the operator."""

from worker.errors import PlatformError, PlatformGone, PlatformRefused, RunGone, WorkerError
from worker.schema_sync.functions import Json
from worker.schema_sync.instructions import BrokenMarkers
from worker.schema_sync.plan import Plan
from worker.schema_sync.sync import BACKUPS, NotApplied, NotComplete, NotSaved


def summary(plan: Plan) -> str:
    """What differs and which tools stay, in one line."""
    titles = "; ".join(each.title for each in plan.differences) or "nada a fazer"
    if not plan.kept:
        return titles
    return f"{titles} (ficam como estão: {', '.join(_label(tool) for tool in plan.kept)})"


def diff(plan: Plan) -> list[str]:
    """The lines that differ, each with its `-`, `+` or space, safe to print on a terminal."""
    return [printable(line) for each in plan.differences for line in each.lines]


def _label(tool: Json) -> str:
    """A tool's kind, and its name where it has one."""
    inner = tool.get("function")
    name = (inner if isinstance(inner, dict) else tool).get("name") or tool.get("server_label")
    words = [word for word in (tool.get("type"), name) if isinstance(word, str)]
    return printable(" ".join(words)) or "ferramenta sem tipo"


def printable(text: str) -> str:
    """The text without control characters: other people wrote it, and a terminal would obey them."""
    return "".join(char if char.isprintable() else "�" for char in text)


_SENTENCES: dict[type[WorkerError], str] = {
    PlatformGone: "este endereço não atende mais o protocolo",
    RunGone: "a plataforma não conhece este id (HTTP 404): confira o id e OPENAI_BASE_URL",
    BrokenMarkers: "os marcadores das regras de uso nas instruções não formam um par; corrija-os à mão",
    NotComplete: "usa um servidor MCP, cujas credenciais a plataforma não mostra: gravar as perderia",
    NotApplied: (
        f"a plataforma aceitou a mudança, mas mostra outra definição; a anterior está em {BACKUPS}. "
        "Outra pessoa a mudou ao mesmo tempo? Confira com --check"
    ),
}


def sentence(failure: WorkerError) -> str:
    """What went wrong with one definition, and what to do about it."""
    if isinstance(failure, NotSaved):
        return f"a definição anterior não pôde ser guardada em {BACKUPS} ({failure.reason}); nada foi gravado"
    if type(failure) in _SENTENCES:
        return _SENTENCES[type(failure)]
    status = failure.status if isinstance(failure, PlatformError) else None
    if status in {401, 403}:
        return f"a plataforma recusou o acesso (HTTP {status}): confira OPENAI_API_KEY e as permissões dela"
    if isinstance(failure, PlatformRefused):
        return f"a plataforma recusou o pedido (HTTP {status}, código {failure.code or '-'})"
    if status is None:
        return "a plataforma não respondeu: confira OPENAI_BASE_URL, a rede e o proxy; tente de novo"
    return f"a plataforma não deu resposta legível (HTTP {status}); tente de novo"

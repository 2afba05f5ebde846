"""Why PostgreSQL failed: a sentence for the operator, and whether waiting may help.

A server that refuses a connection gives psycopg no SQLSTATE, only its text, in its own language. Nothing of
the text is repeated: it names users and databases, and a mangled URL puts a password there.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy.exc import DBAPIError

_OF_CONNECTIONS = frozenset({"08", "57P01", "57P02", "57P03", "53300", "25006"})
"""SQLSTATEs (or classes) of a server that stops, starts, has no free connection, or became a standby."""

_OF_ONE_STATEMENT = frozenset({"40", "55P03", "57014"})
"""SQLSTATEs (or classes) of deadlocks, unavailable locks and cancelled statements: a retry may succeed."""

_PLAIN = re.compile(r"[A-Za-z0-9._-]{1,253}|[0-9A-Fa-f:]{2,39}")


@dataclass(frozen=True, slots=True)
class Refusal:
    """A cause for which the database failed."""

    #: A short word for logs and metrics.
    code: str
    #: What an operator reads.
    sentence: str
    #: Waiting may help. False: the operator must change something.
    passes: bool = True


_REFUSALS: Mapping[Refusal, str] = {
    Refusal(
        "senha_recusada", "o servidor recusou o usuário ou a senha de DATABASE_URL", passes=False
    ): r"password authentication failed|autentica\S+ .*(falhou|senha)|no password supplied",
    Refusal(
        "usuario_desconhecido", "o usuário de DATABASE_URL não existe neste servidor", passes=False
    ): r'role ".*" (does not exist|não existe)',
    Refusal(
        "banco_desconhecido", "o banco de DATABASE_URL não existe neste servidor: crie-o", passes=False
    ): r'database ".*" does not exist|banco de dados ".*" não existe',
    Refusal(
        "acesso_negado", "o servidor não aceita este usuário deste endereço (pg_hba.conf)", passes=False
    ): r"pg_hba\.conf",
    Refusal("conexoes_esgotadas", "o servidor não aceita mais conexões"): (
        r"too many (clients|connections)|remaining connection slots|muit[oa]s (clientes|conex)"
    ),
    Refusal("iniciando", "o servidor está iniciando, parando ou se recuperando"): (
        r"the database system is|o sistema de banco de dados está"
    ),
    Refusal("nome_desconhecido", "o nome do servidor não foi encontrado"): (
        r"resolve host|could not translate host name|Name or service not known"
    ),
    Refusal("recusada", "ninguém atende nesta porta"): r"[Cc]onnection refused|No such file or directory",
    Refusal("tempo_esgotado", "o servidor não respondeu a tempo"): r"timeout|timed out",
    Refusal("somente_leitura", "nenhum servidor da lista aceita gravações"): (
        r"read-only|is not writable|hot standby|standby mode"
    ),
}
"""Patterns over the texts of libpq and of the server, in English and in Portuguese."""

_BROKEN_OFF = Refusal("conexao_perdida", "a conexão com o servidor se perdeu")


def why_no_connection(error: BaseException) -> Refusal:
    """The cause of a failed connection. Of several servers, one that may recover decides."""
    text = str(getattr(error, "orig", None) or error)
    matches = [refusal for refusal, pattern in _REFUSALS.items() if re.search(pattern, text)]
    several = "Multiple connection attempts" in text
    preferred = [refusal for refusal in matches if refusal.passes is several]
    return next(iter([*preferred, *matches]), _BROKEN_OFF)


def outage_of(error: BaseException) -> Refusal | None:
    """The outage that this failure indicates; None when only the statement failed."""
    cause = getattr(error, "orig", None) or error
    state = getattr(cause, "sqlstate", None)
    if state is not None:
        return _BROKEN_OFF if _matches(state, _OF_CONNECTIONS) else None
    classes = {kind.__name__ for kind in type(cause).__mro__}  # by name: psycopg is not imported for SQLite
    lost = not classes.isdisjoint({"OperationalError", "InterfaceError", "OSError"})
    return why_no_connection(error) if lost or _invalidated(error) else None


def may_pass(error: BaseException) -> bool:
    """True when the server is well and the same statement may succeed if it is retried."""
    state = getattr(getattr(error, "orig", None) or error, "sqlstate", None)
    return state is not None and _matches(state, _OF_ONE_STATEMENT)


def _matches(state: str, states: frozenset[str]) -> bool:
    return state in states or state[:2] in states


def _invalidated(error: BaseException) -> bool:
    return isinstance(error, DBAPIError) and error.connection_invalidated


def place_of(arguments: Mapping[str, Any]) -> str:
    """Host and port of each server. An invalid host is not printed: it may be part of a password."""
    hosts = str(arguments.get("host") or "").split(",")
    ports = str(arguments.get("port") or "5432").split(",")
    places = [
        f"{_printable(host)}, porta {ports[min(position, len(ports) - 1)] or 5432}"
        for position, host in enumerate(hosts)
    ]
    return "; ".join(places)


def _printable(host: str) -> str:
    if not host or host.startswith("/"):
        return "local"
    return host if _PLAIN.fullmatch(host) else "…"

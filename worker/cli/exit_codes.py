"""How a command begins and ends: its settings, its output and its exit code (contract §1).

The only module that turns errors into exit codes: 0 done, 1 refused, not found or crash, 2 usage or
configuration, 3 `--check` found drift, 4 accepted but no daemon runs, 5 a rehearsed scenario did not pass.
"""

import asyncio
import sys
from collections.abc import Coroutine
from enum import IntEnum
from typing import Any

import typer
from rich.console import Console

from worker import logs, settings
from worker.errors import ConfigError, PlatformGone, RequestRefused, StoreError, StoreUnavailable


class Exit(IntEnum):
    """The exit codes of contract §1."""

    DONE = 0
    #: Refused, not found, or a crash.
    REFUSED = 1
    MISCONFIGURED = 2
    #: Definitions differ (`sync-schema --check`).
    DRIFT = 3
    #: The request is recorded, and no daemon has taken it up.
    ACCEPTED = 4
    #: A scenario passed fewer than `--min` of its repeats.
    NOT_PASSED = 5


_stderr = Console(stderr=True, highlight=False)
_PIPED_WIDTH = 240
"""Columns of a table for a file or another program: wide enough that no cell is folded."""

REFUSALS = {
    "nao_encontrado": "Não há nada com este identificador",
    "estado_incompativel": "Só pode ser tentada de novo uma chamada que falhou e cujo ticket nenhuma outra "
    "abre; uma sem confirmação, só com CRM_LOOKUP_URL ou CRM_IDEMPOTENT=true: senão, procure o ticket no CRM "
    "e use calls resolve ou calls dismiss",
    "payload_expirado": "O conteúdo desta chamada já foi apagado: ela não pode mais ser enviada nem lida",
    "dados_invalidos": "Este protocolo já é de outro ticket, ou é o documento ou o contato do cliente",
    "conversa_desconhecida": "Não há conversa com este identificador",
}


def stdout() -> Console:
    return Console(highlight=False, width=None if sys.stdout.isatty() else _PIPED_WIDTH)


def configured(*, for_run: bool = False) -> tuple[settings.Settings, list[str]]:
    try:
        return settings.load(for_run=for_run)
    except ConfigError as error:
        raise misconfigured(error) from None


def misconfigured(error: ConfigError) -> typer.Exit:
    for problem in error.problems:
        _stderr.print("✗", problem, soft_wrap=True, markup=False)
    return typer.Exit(Exit.MISCONFIGURED)


def run_command(work: Coroutine[Any, Any, int | None], **refusals: str) -> None:
    """Run a command and exit with its code. An error is printed as one sentence for whom it concerns.

    `refusals`: sentences for codes of `RequestRefused`, where those for calls do not fit.
    """
    try:
        code = asyncio.run(work)
    except Exception as error:  # noqa: BLE001  # the last stop: reduced to what may be shown
        cause = _first(error)
        if isinstance(cause, ConfigError):
            raise misconfigured(cause) from None
        if isinstance(cause, PlatformGone):
            raise misconfigured(ConfigError(PlatformGone.sentence)) from None
        if isinstance(cause, RequestRefused):
            sentence = (REFUSALS | refusals)[cause.code]
            other = f": {cause.call_id}" if cause.call_id else ""
            _stderr.print(f"✗ {sentence}{other} ({cause.code})", markup=False, soft_wrap=True)
        elif isinstance(cause, StoreUnavailable):
            _stderr.print(f"✗ {cause}", markup=False, soft_wrap=True)
        elif isinstance(cause, StoreError):
            _stderr.print(
                f"✗ O banco deixou de gravar ({cause}); nada mais será feito sem registro",
                markup=False,
                soft_wrap=True,
            )
        else:
            logs.failure("erro inesperado", error)
        raise typer.Exit(Exit.REFUSED) from None
    if code:
        raise typer.Exit(code)


def _first(error: BaseException) -> BaseException:
    """The first error of a group. An error that an operator can mend goes before others."""
    if not isinstance(error, BaseExceptionGroup):
        return error
    leaves = [_first(inner) for inner in error.exceptions]
    return next((leaf for leaf in leaves if isinstance(leaf, (ConfigError, StoreError))), leaves[0])

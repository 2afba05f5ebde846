"""How a command begins and ends: its settings, its output and its exit code (contract §1).

The only module that turns errors into exit codes: 0 done, 1 refused, not found or crash, 2 usage or
configuration, 3 `--check` found drift, 4 accepted but no daemon runs, 5 a rehearsed scenario did not pass.
"""

import gc
import sys
from collections.abc import Coroutine, Mapping
from enum import IntEnum
from typing import TYPE_CHECKING, Any, TypeVar

import typer

from worker.errors import ConfigError, PlatformGone, RequestRefused, StoreError, StoreUnavailable

if TYPE_CHECKING:  # `--help`, `--version` and `keygen` end without these: each function imports what it uses
    from rich.console import Console

    from worker.settings import Settings


_Result = TypeVar("_Result")


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


def stdout() -> "Console":
    from rich.console import Console  # noqa: PLC0415

    return Console(highlight=False, width=None if sys.stdout.isatty() else _PIPED_WIDTH)


def configured(*, for_run: bool = False) -> "tuple[Settings, list[str]]":
    from worker import settings  # noqa: PLC0415

    try:
        return settings.load(for_run=for_run)
    except ConfigError as error:
        raise misconfigured(error) from None


def misconfigured(error: ConfigError) -> typer.Exit:
    for problem in error.problems:
        _complain(problem)
    return typer.Exit(Exit.MISCONFIGURED)


def run_async(work: Coroutine[Any, Any, _Result]) -> _Result:
    """Run a command's work, whose modules are imported by now."""
    import asyncio  # noqa: PLC0415

    gc.freeze()  # what the imports made stays: see `worker.cli.main.main`
    gc.enable()
    return asyncio.run(work)


def run_command(work: Coroutine[Any, Any, int | None], **refusals: str) -> None:
    """Run a command and exit with its code. An error is printed as one sentence for whom it concerns.

    `refusals`: sentences for codes of `RequestRefused`, where those for calls do not fit.
    """
    try:
        code = run_async(work)
    except Exception as error:  # noqa: BLE001  # the last stop: reduced to what may be shown
        raise _end_of(error, refusals) from None
    if code:
        raise typer.Exit(code)


def _end_of(error: Exception, refusals: Mapping[str, str]) -> typer.Exit:
    """Print an error; returns the exit of the command."""
    cause = _first(error)
    if isinstance(cause, ConfigError):
        return misconfigured(cause)
    if isinstance(cause, PlatformGone):
        return misconfigured(ConfigError(PlatformGone.sentence))
    if isinstance(cause, RequestRefused):
        sentence = (REFUSALS | dict(refusals))[cause.code]
        other = f": {cause.call_id}" if cause.call_id else ""
        _complain(f"{sentence}{other} ({cause.code})")
    elif isinstance(cause, StoreUnavailable):
        _complain(str(cause))
    elif isinstance(cause, StoreError):
        _complain(f"O banco deixou de gravar ({cause}); nada mais será feito sem registro")
    else:
        from worker import logs  # noqa: PLC0415

        logs.failure("erro inesperado", error)
    return typer.Exit(Exit.REFUSED)


def _complain(sentence: str) -> None:
    from rich.console import Console  # noqa: PLC0415

    console = Console(stderr=True, highlight=False)
    console.print(f"✗ {sentence}", soft_wrap=True, markup=False)


def _first(error: BaseException) -> BaseException:
    """The first error of a group. An error that an operator can mend goes before others."""
    if not isinstance(error, BaseExceptionGroup):
        return error
    leaves = [_first(inner) for inner in error.exceptions]
    return next((leaf for leaf in leaves if isinstance(leaf, (ConfigError, StoreError))), leaves[0])

"""`check`: everything the worker stands on, looked at once, beside a daemon that may be running.

Nothing is created, migrated, sent or opened. One finding a line; what is wrong says what to do.
"""

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import asdict
from enum import IntEnum

from rich.console import Console

from worker import settings as configuration
from worker.doctor import here, outside
from worker.doctor.finding import Finding, Level, bad, note, ok
from worker.errors import ConfigError
from worker.settings import Settings

__all__ = ["Exit", "Finding", "Level", "check", "examine"]

_LIMIT_S = 30.0
_COLOURS = {Level.OK: "green", Level.WARNING: "yellow", Level.ERROR: "red"}

Check = Callable[[Settings], Awaitable[Sequence[Finding]]]

_CHECKS: Mapping[str, Check] = {
    "database": here.database,
    "platform": outside.platform,
    "clock": outside.clock,
    "schemas": outside.schemas,
    "discovery": outside.discovery,
    "crm": outside.crm,
    "utf8": here.utf8,
}
"""By the code under which a check that goes wrong itself is reported."""


class Exit(IntEnum):
    """Contract §1."""

    DONE = 0
    REFUSED = 1
    MISCONFIGURED = 2


async def check(console: Console, *, as_json: bool = False) -> Exit:
    """The command: read the settings, look at everything, print it."""
    try:
        settings, warnings = configuration.load(for_run=True)
    except ConfigError as error:
        findings, end = [bad("settings", problem) for problem in error.problems], Exit.MISCONFIGURED
    else:
        findings = await examine(settings, warnings)
        end = Exit.REFUSED if any(each.level is Level.ERROR for each in findings) else Exit.DONE
    if as_json:
        report = {"ok": end is Exit.DONE, "findings": [asdict(each) for each in findings]}
        console.out(json.dumps(report, ensure_ascii=False, indent=2), highlight=False)
    else:
        for each in findings:
            console.print(str(each), style=_COLOURS[each.level], markup=False, soft_wrap=True)
    return end


async def examine(settings: Settings, warnings: Sequence[str] = ()) -> list[Finding]:
    """Look at everything, side by side; findings in reading order. `warnings`: of loading the settings."""
    findings = [
        ok("settings", "configuração: lida e completa"),
        *(note("settings", each) for each in warnings),
    ]
    checks = (_guarded(code, look, settings) for code, look in _CHECKS.items())
    for found in await asyncio.gather(*checks):
        findings += found
    return findings


async def _guarded(code: str, look: Check, settings: Settings) -> Sequence[Finding]:
    """What one check found, whatever happens to it."""
    try:
        async with asyncio.timeout(_LIMIT_S):
            return await look(settings)
    except ConfigError as error:
        return [bad(code, problem) for problem in error.problems]
    except TimeoutError:
        return [bad(code, f"{code}: sem resposta em {_LIMIT_S:.0f} s")]
    except Exception as error:  # noqa: BLE001  # a doctor that crashes says less than one that tells of it
        return [bad(code, f"{code}: erro inesperado ({type(error).__name__})")]

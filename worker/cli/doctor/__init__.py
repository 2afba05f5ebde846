"""Everything the worker stands on, looked at once, beside a daemon that may be running.

Nothing is created, migrated, sent or opened. What is wrong says what to do.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence

from worker.cli.doctor import local, remote, running
from worker.cli.doctor.finding import Finding, Level, bad, note, ok
from worker.errors import ConfigError
from worker.settings import Settings

__all__ = ["Finding", "Level", "examine"]

_LIMIT_S = 30.0

Check = Callable[[Settings], Awaitable[Sequence[Finding]]]

_CHECKS: Mapping[str, Check] = {
    "hours": local.hours,
    "database": local.database,
    "disk": local.disk,
    "platform": remote.platform,
    "clock": remote.clock,
    "schemas": remote.schemas,
    "discovery": remote.discovery,
    "crm": remote.crm,
    "bot": remote.bot,
    "daemon": running.daemons,
    "utf8": local.utf8,
}
"""By the code under which a check that goes wrong itself is reported."""


async def examine(settings: Settings, warnings: Sequence[str] = ()) -> list[Finding]:
    """Look at everything, side by side; findings in reading order. `warnings`: of loading the settings."""
    findings = [
        ok("settings", "configuração: lida e completa"),
        *(note("settings", each) for each in warnings),
    ]
    checks = (_guarded(code, look, settings) for code, look in _CHECKS.items())
    for found in await asyncio.gather(*checks):
        reported = {each.message for each in findings}  # a catalogue that is no good stops two checks
        findings += [each for each in found if each.message not in reported]
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

"""`check`: prints the doctor's findings, one a line; as JSON, each with its code."""

import json
from dataclasses import asdict

from rich.console import Console

from worker import settings
from worker.cli import doctor
from worker.cli.doctor.finding import Level, bad
from worker.cli.exit_codes import Exit
from worker.errors import ConfigError

_COLOURS = {Level.OK: "green", Level.WARNING: "yellow", Level.ERROR: "red"}


async def check(console: Console, *, as_json: bool) -> Exit:
    """Print the findings on settings and services. Settings that `run` refuses are the only finding."""
    try:
        configured, warnings = settings.load(for_run=True)
    except ConfigError as error:
        findings, end = [bad("settings", problem) for problem in error.problems], Exit.MISCONFIGURED
    else:
        findings = await doctor.examine(configured, warnings)
        end = Exit.REFUSED if any(each.level is Level.ERROR for each in findings) else Exit.DONE
    if as_json:
        report = {"ok": end is Exit.DONE, "findings": [asdict(each) for each in findings]}
        console.out(json.dumps(report, ensure_ascii=False, indent=2), highlight=False)
    else:
        for each in findings:
            console.print(str(each), style=_COLOURS[each.level], markup=False, soft_wrap=True)
    return end

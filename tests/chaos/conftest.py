"""The table, once all cells have been played."""

import pytest
from rich.console import Console

from tests.chaos.harness import SEED
from tests.chaos.tally import Report, table

REPORTS = pytest.StashKey[list[Report]]()


@pytest.fixture
def report(request: pytest.FixtureRequest) -> list[Report]:
    """What every cell's report is added to."""
    return request.config.stash.setdefault(REPORTS, [])


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    reports = config.stash.get(REPORTS, [])
    if reports:
        console = Console(width=230)
        terminalreporter.ensure_newline()
        with console.capture() as shown:
            console.print(table(reports, SEED))
        terminalreporter.write(shown.get())

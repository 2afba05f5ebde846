"""The results as JUnit XML, one test case a scenario: what CI servers read."""

from pathlib import Path
from xml.etree.ElementTree import Element, ElementTree, SubElement, indent

from worker.errors import ConfigError
from worker.rehearsal import words
from worker.rehearsal.report import rate
from worker.rehearsal.results import Results, ScenarioResult


def write(results: Results, path: Path) -> None:
    """Raises `ConfigError` when the file cannot be written."""
    tree = ElementTree(suite(results))
    indent(tree)
    try:
        tree.write(path, encoding="utf-8", xml_declaration=True)
    except OSError as error:
        raise ConfigError(f"{path} não pôde ser gravado ({type(error).__name__})") from None


def suite(results: Results) -> Element:
    """The `testsuite` element."""
    failed = set(results.failed)
    made = Element(
        "testsuite",
        name="ticket-worker rehearse",
        tests=str(len(results.scenarios)),
        failures=str(len(failed)),
        errors="0",
        timestamp=results.started_at,
        time=_seconds(sum(attempt.seconds for attempt in results.attempts)),
    )
    for scenario in results.scenarios:
        made.append(_case(scenario, failed=scenario in failed))
    return made


def _case(scenario: ScenarioResult, *, failed: bool) -> Element:
    case = Element(
        "testcase",
        classname=f"rehearse.{_xml(scenario.assistant)}",
        name=_xml(scenario.name),
        time=_seconds(sum(attempt.seconds for attempt in scenario.attempts)),
    )
    if failed:
        failure = SubElement(case, "failure", message=f"passou {rate(scenario.passed)}")
        lines = [f"esperado: {scenario.expected}", *words.mistakes_of(scenario), f"fonte: {scenario.source}"]
        failure.text = _xml("\n".join(lines))
    return case


def _seconds(value: float) -> str:
    return f"{value:.3f}"


def _xml(text: str) -> str:
    """Without the characters that XML cannot hold."""
    return "".join(char for char in text if char.isprintable() or char == "\n")

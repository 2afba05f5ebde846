"""The report of a rehearsal: the table, the rates, the most frequent mistakes and what to change."""

import statistics
from collections.abc import Iterator

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from worker.rehearsal import words
from worker.rehearsal.results import Rate, Results, ScenarioResult


def print_report(results: Results, console: Console) -> None:
    """Print the results for people."""
    console.print(_table(results))
    for line in _lines(results):
        console.print(line, markup=False, soft_wrap=True)


def _table(results: Results) -> Table:
    """One row for each scenario. The last column has the differences from the expectation."""
    table = Table(box=box.SIMPLE_HEAD)
    table.add_column("", no_wrap=True)
    table.add_column("Cenário", overflow="fold")
    table.add_column("Passou", no_wrap=True)
    table.add_column("Esperado", overflow="fold")
    table.add_column("O que aconteceu de outro modo", overflow="fold")
    failed = set(results.failed)
    for scenario in results.scenarios:
        mark = Text("✗", "red") if scenario in failed else Text("✓", "green")
        otherwise = "\n".join([*words.mistakes_of(scenario), *_replies(scenario)])
        cells = (scenario.name, rate(scenario.passed), scenario.expected, otherwise)
        table.add_row(mark, *(Text(printable(cell)) for cell in cells))
    return table


def _replies(scenario: ScenarioResult) -> Iterator[str]:
    """The model's replies, if they were kept (`--show`)."""
    return (f"» {attempt.reply}" for attempt in scenario.attempts if attempt.reply is not None)


def _lines(results: Results) -> Iterator[str]:
    for measure, each in results.rates().items():
        yield f"{words.MEASURES[measure]}: {rate(each)}"
    yield f"chamadas recusadas que o assistente precisou corrigir: {_rejected(results)}"
    yield _time(results)
    yield from _bill(results)
    if sentences := words.most_frequent(results):
        yield "\nErros mais frequentes:"
        yield from (f"  {number}. {text}" for number, text in enumerate(sentences, 1))
        yield "\nO que mudar:"
        yield from (f"  • {text}" for text in words.advice(results))
    if results.not_deleted:
        yield "\nNão pôde ser apagado na plataforma; apague à mão:"
        yield from (f"  • {printable(each)}" for each in results.not_deleted)
    yield f"\n{_verdict(results)}"


def _verdict(results: Results) -> str:
    failed, total = len(results.failed), len(results.scenarios)
    if not failed:
        return f"✓ {total} de {total} cenários passaram"
    return f"✗ {failed} de {total} cenários passaram em menos de {percent(results.minimum)} das repetições"


def _rejected(results: Results) -> int:
    return sum(attempt.checks.rejected for attempt in results.attempts)


def _time(results: Results) -> str:
    times = [attempt.seconds for attempt in results.attempts]
    return f"tempo por conversa (mediana): {statistics.median(times):.1f} s" if times else "nenhuma conversa"


def _bill(results: Results) -> Iterator[str]:
    """Runs, reads and tokens: in all, and for each conversation."""
    attempts = results.attempts
    if not attempts:
        return
    runs, reads = sum(each.runs for each in attempts), sum(each.reads for each in attempts)
    yield (
        f"execuções: {runs} ({runs / len(attempts):.1f} por conversa); "
        f"leituras da plataforma: {reads} ({reads / len(attempts):.1f} por conversa)"
    )
    tokens = [each.tokens for each in attempts if each.tokens is not None]
    if any(tokens):
        yield f"tokens: {sum(tokens)} ({sum(tokens) / len(tokens):.0f} por conversa)"


def rate(value: Rate) -> str:
    """`3 de 4 (30 a 95 %)`; without the interval if there was one repetition."""
    if not value.of:
        return "-"
    text = f"{value.hits} de {value.of}"
    interval = value.interval
    if value.of == 1 or interval is None:
        return text
    low, high = (round(100 * each) for each in interval)
    return f"{text} ({low} a {high} %)"


def percent(share: float | None) -> str:
    return "-" if share is None else f"{100 * share:.0f} %"


def printable(text: str) -> str:
    """The text without characters that control a terminal: replies and ids come from outside."""
    return "".join(char if char.isprintable() or char == "\n" else "�" for char in text)

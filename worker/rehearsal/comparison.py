"""Compares two results: what a change of the instructions improved or worsened."""

from collections.abc import Iterator
from dataclasses import dataclass

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from worker.rehearsal import words
from worker.rehearsal.report import printable, rate
from worker.rehearsal.results import Rate, Results


@dataclass(frozen=True, slots=True)
class Change:
    """One scenario, or one measure, before and after."""

    #: The scenario's name, or the measure as `--json` names it.
    name: str
    #: The same for people.
    title: str
    before: Rate
    after: Rate
    #: Fewer hits are better: suspect replies, interrupted runs.
    harmful: bool = False

    @property
    def difference(self) -> float:
        """Above 0: better. 0 if one of the two was not played."""
        if self.before.share is None or self.after.share is None:
            return 0.0
        gained = self.after.share - self.before.share
        return -gained if self.harmful else gained

    @property
    def clear(self) -> bool:
        """The two 95 % intervals do not overlap: the difference is more than chance."""
        before, after = self.before.interval, self.after.interval
        return before is not None and after is not None and (before[1] < after[0] or after[1] < before[0])

    def stored(self) -> dict[str, object]:
        """As a JSON object; `difference` above 0 is better."""
        return {
            "name": self.name,
            "before": self.before._asdict(),
            "after": self.after._asdict(),
            "difference": self.difference,
            "clear": self.clear,
        }


@dataclass(frozen=True, slots=True)
class Comparison:
    """What changed between two rehearsals."""

    scenarios: tuple[Change, ...]
    rates: tuple[Change, ...]
    #: Scenarios that only one of the two has.
    new: tuple[str, ...]
    gone: tuple[str, ...]

    def stored(self) -> dict[str, object]:
        """The JSON object that `--json` prints of it."""
        return {
            "scenarios": [change.stored() for change in self.scenarios],
            "summary": [change.stored() for change in self.rates],
            "new": self.new,
            "gone": self.gone,
        }


def compare(before: Results, after: Results) -> Comparison:
    """Scenarios are the same when their names are; the largest losses come first."""
    earlier = {each.name: each for each in before.scenarios}
    later = {each.name: each for each in after.scenarios}
    scenarios = [
        Change(name, name, earlier[name].passed, later[name].passed) for name in later if name in earlier
    ]
    rates, rates_before = after.rates(), before.rates()
    return Comparison(
        scenarios=tuple(sorted(scenarios, key=lambda change: change.difference)),
        rates=tuple(
            Change(
                measure,
                words.MEASURES[measure],
                rates_before[measure],
                rates[measure],
                harmful=measure.harmful,
            )
            for measure in rates
        ),
        new=tuple(name for name in later if name not in earlier),
        gone=tuple(name for name in earlier if name not in later),
    )


def print_comparison(comparison: Comparison, console: Console) -> None:
    """Print the scenarios that changed, and the rates."""
    console.print("\nComparação com o resultado anterior:")
    console.print(_table(comparison))
    for line in _lines(comparison):
        console.print(line, markup=False, soft_wrap=True)


def _table(comparison: Comparison) -> Table:
    table = Table(box=box.SIMPLE_HEAD)
    for name in ("", "Cenário ou indicador", "Antes", "Agora", ""):
        table.add_column(name, overflow="fold")
    changed = [change for change in comparison.scenarios if change.difference]
    for change in (*changed, *comparison.rates):
        mark, style = _mark(change)
        chance = "além do acaso" if change.clear and change.difference else ""
        cells = (printable(change.title), rate(change.before), rate(change.after))
        table.add_row(Text(mark, style), *map(Text, cells), Text(chance, style))
    return table


def _mark(change: Change) -> tuple[str, str]:
    if change.difference > 0:
        return "▲ melhor", "green"
    return ("▼ pior", "red") if change.difference < 0 else ("=", "")


def _lines(comparison: Comparison) -> Iterator[str]:
    same = sum(change.difference == 0 for change in comparison.scenarios)
    yield f"{same} de {len(comparison.scenarios)} cenários sem diferença"
    if comparison.new:
        yield f"só agora: {printable(', '.join(comparison.new))}"
    if comparison.gone:
        yield f"só antes: {printable(', '.join(comparison.gone))}"

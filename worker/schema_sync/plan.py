"""What one definition lacks of what it should be. Pure: nothing is read or written here."""

import difflib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from worker.schema_sync.functions import Json, lines, same
from worker.schema_sync.instructions import with_rules

_CONTEXT = 2


class Envelope(Protocol):
    """How a platform's tool holds a function."""

    @property
    def strict(self) -> bool:
        """Whether it knows `strict`."""

    def wrap(self, function: Json, *, strict: bool) -> Json:
        """The tool that offers this function."""

    def unwrap(self, tool: Json) -> Json | None:
        """The function a tool offers, flat; None for a tool of another kind."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a definition should have: our functions, and the usage rules if they were asked for."""

    functions: Sequence[Json]
    rules: str | None = None


@dataclass(frozen=True, slots=True)
class Difference:
    """One thing that differs; `lines` begin with `-`, `+` or a space."""

    title: str
    lines: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class Plan:
    """`changes` is what to write, empty when nothing differs; `kept` are the tools that are not ours."""

    before: Json
    changes: Json
    differences: Sequence[Difference]
    kept: Sequence[Json]


def plan(definition: Json, wanted: Wanted, envelope: Envelope, *, strict: bool = True) -> Plan:
    """Compare a definition (`tools`, `instructions`) with what it should be. Raises `BrokenMarkers`."""
    ours = {function["name"]: function for function in wanted.functions}
    shown = [(_ours(envelope.unwrap(tool), ours), tool) for tool in definition["tools"]]
    differences = [*_differences(ours, [function for function, _ in shown if function])]
    changes: Json = {}
    if differences:
        changes["tools"] = [*_merged(shown, ours, envelope, strict=strict and envelope.strict)]
    if wanted.rules is not None:
        before = definition.get("instructions") or ""
        after = with_rules(before, wanted.rules)
        if after != before:
            changes["instructions"] = after
            told = _diff(before.splitlines(), after.splitlines())
            differences.append(Difference("regras de uso: diferem", told))
    return Plan(definition, changes, differences, [tool for function, tool in shown if function is None])


def _ours(function: Json | None, ours: dict[str, Json]) -> Json | None:
    """The function a tool offers, if it has the name of one of ours."""
    name = (function or {}).get("name")
    return function if isinstance(name, str) and name in ours else None


def _differences(ours: dict[str, Json], shown: Sequence[Json]) -> Iterator[Difference]:
    for name, function in ours.items():
        found = [each for each in shown if each["name"] == name]
        if not found:
            yield Difference(f"{name}: falta")
        elif not same(found[0], function):
            yield Difference(f"{name}: difere", _diff(lines(found[0]), lines(function)))
        if len(found) > 1:
            yield Difference(f"{name}: aparece {len(found)} vezes")


def _merged(
    shown: Sequence[tuple[Json | None, Json]], ours: dict[str, Json], envelope: Envelope, *, strict: bool
) -> Iterator[Json]:
    """Everybody's tools in their places, ours renewed and each once; what is missing comes last."""
    left = dict(ours)
    for function, tool in shown:
        if function is None:
            yield tool
        elif function["name"] in left:
            yield envelope.wrap(left.pop(function["name"]), strict=strict)
    for function in left.values():
        yield envelope.wrap(function, strict=strict)


def _diff(before: Sequence[str], after: Sequence[str]) -> list[str]:
    """The lines that differ and a little around them, without the headers a patch would need."""
    found = difflib.unified_diff(before, after, n=_CONTEXT, lineterm="")
    return [line for line in list(found)[2:] if not line.startswith("@@")]

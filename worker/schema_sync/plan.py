"""Compares a definition with the target and plans the change. Pure: reads and writes nothing."""

import difflib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from worker.schema_sync.functions import Json, lines, same
from worker.schema_sync.instructions import with_rules

_CONTEXT = 2


class Envelope(Protocol):
    """The form in which a platform's tool contains a function."""

    @property
    def strict(self) -> bool:
        """Whether the form has a `strict` field."""

    def wrap(self, function: Json, *, strict: bool) -> Json:
        """The tool that contains this function."""

    def unwrap(self, tool: Json) -> Json | None:
        """The function in a tool, without its envelope; None for a tool of another kind."""


@dataclass(frozen=True, slots=True)
class Target:
    """What a definition should contain."""

    functions: Sequence[Json]
    #: The usage rules for the instructions; None leaves the instructions alone.
    rules: str | None = None


@dataclass(frozen=True, slots=True)
class Difference:
    """One difference between a definition and the target."""

    title: str
    #: Each begins with `-`, `+` or a space.
    lines: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class Plan:
    """The changes that turn a definition into the target."""

    #: The definition as it was read.
    before: Json
    #: The top-level fields to write; empty when nothing differs.
    changes: Json
    differences: Sequence[Difference]
    #: Tools that are not the worker's; they stay as they are.
    kept: Sequence[Json]


def plan(definition: Json, target: Target, envelope: Envelope, *, strict: bool = True) -> Plan:
    """Compare a definition (`tools`, `instructions`) with the target. Raises `BrokenMarkers`."""
    ours = {function["name"]: function for function in target.functions}
    current = [(_ours(envelope.unwrap(tool), ours), tool) for tool in definition["tools"]]
    differences = [*_differences(ours, [function for function, _ in current if function])]
    changes: Json = {}
    if differences:
        changes["tools"] = [*_merged(current, ours, envelope, strict=strict and envelope.strict)]
    if target.rules is not None:
        before = definition.get("instructions") or ""
        after = with_rules(before, target.rules)
        if after != before:
            changes["instructions"] = after
            lines_changed = _diff(before.splitlines(), after.splitlines())
            differences.append(Difference("regras de uso: diferem", lines_changed))
    return Plan(definition, changes, differences, [tool for function, tool in current if function is None])


def _ours(function: Json | None, ours: dict[str, Json]) -> Json | None:
    """The function of a tool, if it has the name of one of the worker's."""
    name = (function or {}).get("name")
    return function if isinstance(name, str) and name in ours else None


def _differences(ours: dict[str, Json], current: Sequence[Json]) -> Iterator[Difference]:
    for name, function in ours.items():
        found = [each for each in current if each["name"] == name]
        if not found:
            yield Difference(f"{name}: falta")
        elif not same(found[0], function):
            yield Difference(f"{name}: difere", _diff(lines(found[0]), lines(function)))
        if len(found) > 1:
            yield Difference(f"{name}: aparece {len(found)} vezes")


def _merged(
    current: Sequence[tuple[Json | None, Json]], ours: dict[str, Json], envelope: Envelope, *, strict: bool
) -> Iterator[Json]:
    """All tools in their order, the worker's replaced and each once; missing ones come last."""
    left = dict(ours)
    for function, tool in current:
        if function is None:
            yield tool
        elif function["name"] in left:
            yield envelope.wrap(left.pop(function["name"]), strict=strict)
    for function in left.values():
        yield envelope.wrap(function, strict=strict)


def _diff(before: Sequence[str], after: Sequence[str]) -> list[str]:
    """The lines that differ, with two lines of context, without patch headers."""
    found = difflib.unified_diff(before, after, n=_CONTEXT, lineterm="")
    return [line for line in list(found)[2:] if not line.startswith("@@")]

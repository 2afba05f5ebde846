"""The behavioural suite as a table, case by platform; what does not apply somewhere says why."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

_Test = TypeVar("_Test", bound=Callable[..., Any])


def does_not_apply(**reasons: str) -> Callable[[_Test], _Test]:
    """Leaves a case out on the platforms named, each for a reason."""

    def mark(test: _Test) -> _Test:
        test.__dict__["exceptions"] = reasons
        return test

    return mark


def exceptions(test: Callable[..., Any]) -> Mapping[str, str]:
    """Where a case does not apply, and why."""
    found: Mapping[str, str] = test.__dict__.get("exceptions", {})
    return found


def table(module: Mapping[str, Any], platforms: Sequence[str]) -> str:
    """The cases of a module, in their order, that are run on every platform."""
    tests = [each for name, each in module.items() if name.startswith("test_") and _is_case(each)]
    rows = [["case", *platforms], ["---", *(":-:" for _ in platforms)]]
    for test in tests:
        case = test.__name__.removeprefix("test_").replace("_", " ")
        rows.append([case, *(exceptions(test).get(each, "✓") for each in platforms)])
    return "".join(f"| {' | '.join(row)} |\n" for row in rows)


def _is_case(test: Callable[..., Any]) -> bool:
    return "harness" in test.__annotations__

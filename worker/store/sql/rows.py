"""Rows as values: the dataclasses of the model and of the views have their columns' names."""

import functools
from collections.abc import Callable
from dataclasses import fields
from typing import Any, TypeVar

_Value = TypeVar("_Value")


def from_row(kind: Callable[..., _Value], row: Any, /, **others: object) -> _Value:
    """A dataclass of which each field is the row's column of that name.

    `others`: the fields that are no column, or not as the column has them.
    """
    columns = {name: getattr(row, name) for name in _names(kind) if name not in others}
    return kind(**columns, **others)


@functools.cache
def _names(kind: Any) -> tuple[str, ...]:
    return tuple(field.name for field in fields(kind))

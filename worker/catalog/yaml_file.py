"""YAML whose every value is a text: `não`, `08:00` and `2026-12-24` stand for themselves."""

from collections.abc import Callable, Sequence
from typing import Any

import yaml

Once = Callable[[Sequence[tuple[Any, Any]]], dict[Any, Any]]
"""Makes a mapping of its keys and values, and notes keys that appear twice."""


class NotYaml(ValueError):
    """The text is no YAML. The parser's own message is left out: it quotes the text."""

    def __init__(self, line: int | None, column: int | None) -> None:
        super().__init__(line, column)
        #: Where the parser stopped, counted from 1; None when it names no place.
        self.line = line
        self.column = column


def parse(text: str, once: Once) -> object:
    """Raises `NotYaml`."""
    loader = _Loader(text)
    loader.once = once
    try:
        return loader.get_single_data()
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        raise (NotYaml(mark.line + 1, mark.column + 1) if mark else NotYaml(None, None)) from None
    finally:
        loader.dispose()


class _Loader(yaml.BaseLoader):
    """The loader without types; nothing in a file can name a Python object."""

    once: Once

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        names = [(self.construct_object(key, deep=True), None) for key, _ in node.value]
        mapping: dict[Any, Any] = super().construct_mapping(node, deep)
        self.once(names)
        return mapping

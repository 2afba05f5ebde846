"""The functions the model is shown: read by name, never globbed (the catalogue lies beside them)."""

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from worker.catalog import schemas_dir
from worker.errors import ConfigError

Json = dict[str, Any]
"""A JSON object; here mostly a function: `name`, `description`, `parameters`."""


def load(names: Iterable[str], folder: Path | None = None) -> Sequence[Json]:
    """The functions of these names, the shipped ones by default. Raises `ConfigError`: a file is unusable."""
    return [_read((folder or schemas_dir()) / f"{name}.json") for name in names]


def _read(path: Path) -> Json:
    try:
        found = json.loads(path.read_bytes())
    except (OSError, ValueError):
        found = None
    match found:
        case {"name": path.stem, "description": str(), "parameters": {"type": "object"}}:
            function: Json = found
            return function
    raise ConfigError(f"{path} não é o esquema da função {path.stem}; corrija-o ou reinstale o ticket-worker")


def canonical(value: object) -> str:
    """A JSON value as text: equal texts are the same value (in Python, `True == 1 == 1.0`)."""
    return json.dumps(value, sort_keys=True)


def holds(shown: object, written: object) -> bool:
    """Whether a JSON value is shown as it was written; a platform may add fields of its own."""
    if isinstance(shown, dict) and isinstance(written, dict):
        return all(name in shown and holds(shown[name], value) for name, value in written.items())
    if isinstance(shown, list) and isinstance(written, list):
        return len(shown) == len(written) and all(map(holds, shown, written))
    return canonical(shown) == canonical(written)


def same(shown: Json, ours: Json) -> bool:
    """Whether the platform shows our function: not counting `strict`, nor what it adds at its default.

    `strict` is refused by some servers and not shown by others; `defer_loading` and `async` are echoed.
    """
    return canonical(_essence(shown)) == canonical(_essence(ours))


def _essence(function: Json) -> Json:
    echoes = (None, False)
    return {k: v for k, v in function.items() if k != "strict" and not any(v is echo for echo in echoes)}


def lines(function: Json) -> list[str]:
    """A function to be read, and compared line by line."""
    shown = _essence(function)
    description = str(shown.pop("description", ""))
    rest = json.dumps(shown, ensure_ascii=False, sort_keys=True, indent=2)
    return [*description.splitlines(), *rest.splitlines()]

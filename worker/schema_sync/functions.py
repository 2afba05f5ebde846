"""Function definitions: read from `schemas/` by name, compared with what a platform shows."""

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from worker.catalog import Catalog, schemas_dir
from worker.errors import ConfigError

Json = dict[str, Any]
"""A JSON object; here mostly a function definition: `name`, `description`, `parameters`."""


def load(
    names: Iterable[str], folder: Path | None = None, *, catalog: Catalog | None = None
) -> Sequence[Json]:
    """The functions of these names, the shipped ones by default, with the names of this catalogue.

    Raises `ConfigError`: a file is unusable.
    """
    functions = [_read((folder or schemas_dir()) / f"{name}.json") for name in names]
    return functions if catalog is None else [_with_names(function, catalog) for function in functions]


def _with_names(function: Json, catalog: Catalog) -> Json:
    """The function with the catalogue's setores and departamentos, where it has other ones."""
    named = {"setor": catalog.setores.names, "departamento": catalog.departamentos.names}
    properties = function["parameters"].get("properties", {})
    changed = {
        name: _with_enum(properties[name], names)
        for name, names in named.items()
        if name in properties and properties[name].get("enum") != list(names)
    }
    if {"setor", "motivo"} <= properties.keys() and _pairs(catalog) != _pairs(Catalog.load()):
        changed["motivo"] = properties["motivo"] | {"description": _motivo_description(catalog)}
    return function | {"parameters": function["parameters"] | {"properties": properties | changed}}


def _with_enum(parameter: Json, names: Sequence[str]) -> Json:
    what = parameter.get("description", "").partition("Valores válidos:")[0]
    return parameter | {"description": f"{what}Valores válidos: {', '.join(names)}", "enum": list(names)}


def _pairs(catalog: Catalog) -> Mapping[str, Sequence[str]]:
    return {setor: motivos.names for setor, motivos in catalog.motivos.items()}


def _motivo_description(catalog: Catalog) -> str:
    """With examples of two setores, as the document gives them."""
    first, *second = list(_pairs(catalog).items())[:2]
    examples = [f"Exemplos para {first[0]}: {', '.join(first[1][:3])}."]
    examples += [f"Para {setor}: {', '.join(motivos[:3])}." for setor, motivos in second]
    return f"Motivo do atendimento COMPATÍVEL com o setor escolhido. {' '.join(examples)}"


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


def contains(current: object, written: object) -> bool:
    """Whether a JSON value still contains what was written; a platform may add fields of its own."""
    if isinstance(current, dict) and isinstance(written, dict):
        return all(name in current and contains(current[name], value) for name, value in written.items())
    if isinstance(current, list) and isinstance(written, list):
        return len(current) == len(written) and all(map(contains, current, written))
    return canonical(current) == canonical(written)


def same(current: Json, ours: Json) -> bool:
    """Whether two definitions are equal, ignoring `strict` and fields at their default.

    Some servers refuse `strict` or do not show it; some add `defer_loading` and `async`.
    """
    return canonical(_essence(current)) == canonical(_essence(ours))


def _essence(function: Json) -> Json:
    echoes = (None, False)
    return {k: v for k, v in function.items() if k != "strict" and not any(v is echo for echo in echoes)}


def lines(function: Json) -> list[str]:
    """A function definition as lines, to be read and compared."""
    current = _essence(function)
    description = str(current.pop("description", ""))
    rest = json.dumps(current, ensure_ascii=False, sort_keys=True, indent=2)
    return [*description.splitlines(), *rest.splitlines()]

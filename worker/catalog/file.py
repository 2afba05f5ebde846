"""The catalogue's file, JSON or YAML: read as a whole, with every problem in its own words (contract §12)."""

import json
import re
from collections.abc import Callable, Container, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

from worker.catalog import holiday_calendar, opening_hours
from worker.catalog.opening_hours import HOLIDAY, Shift
from worker.errors import ConfigError

_KEYS = ("setores", "departamentos", "aliases", "atendimento", "feriados")
_NAME = re.compile(r"(?!.*\d{4})[\w ./()&+,ºª°'-]{1,64}")
"""What the log can show of a name; four digits in a row could be part of a document or a telephone number."""


@dataclass(frozen=True, slots=True)
class CatalogFile:
    """What a file says, as far as it could be read, and what is wrong with it."""

    setores: Mapping[str, Sequence[str]]
    departamentos: Sequence[str]
    aliases: Mapping[str, Sequence[str]]
    #: By the departamento as the file spells it, or `*` for all others.
    shifts: Mapping[str, Sequence[Shift]]
    holidays: Container[date]
    #: Portuguese sentences.
    problems: Sequence[str]


def read(path: Path) -> CatalogFile:
    """The file at `path`: YAML if it is called so, else JSON. Raises `ConfigError` when it is neither."""
    reader = _Reader()
    try:
        tree = _parse(path, reader.problems)
    except (OSError, UnicodeDecodeError):
        raise ConfigError(
            f"{path} não pôde ser lido; confira o caminho, a permissão e a codificação (UTF-8)"
        ) from None
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"{path} não é {_format(path)} válido{_place(error)}") from None
    return reader.read(tree)


def _format(path: Path) -> str:
    return "YAML" if path.suffix.lower() in {".yaml", ".yml"} else "JSON"


def _parse(path: Path, problems: list[str]) -> object:
    text = path.read_text(encoding="utf-8-sig")
    if _format(path) == "JSON":
        return json.loads(text, object_pairs_hook=lambda pairs: _once(pairs, problems))
    from worker.catalog.yaml_file import parse  # noqa: PLC0415  # most installations have no YAML file

    return parse(text, lambda pairs: _once(pairs, problems))


def _once(pairs: Sequence[tuple[Any, Any]], problems: list[str]) -> dict[Any, Any]:
    """A mapping whose keys each appear once: of two, a parser would silently drop the first."""
    names = [name for name, _ in pairs]
    problems += [
        f'"{name}" aparece mais de uma vez no mesmo nível'
        for name in dict.fromkeys(names)
        if names.count(name) > 1
    ]
    return dict(pairs)


def _place(error: Exception) -> str:
    """Where the file breaks off being what it should be, without its text."""
    if isinstance(error, json.JSONDecodeError):
        return f": linha {error.lineno}, coluna {error.colno}"
    line, column = getattr(error, "line", None), getattr(error, "column", None)
    return f": linha {line}, coluna {column}" if line else ""


class _Reader:
    """Takes the parsed file apart and collects what is wrong on the way."""

    def __init__(self) -> None:
        self.problems: list[str] = []

    def read(self, tree: object) -> CatalogFile:
        if not isinstance(tree, dict):
            self.problems.append(f"precisa ser um objeto com {', '.join(_KEYS)}")
            return CatalogFile({}, (), {}, {}, frozenset(), self.problems)
        self.problems += [
            f'"{key}" não existe; as chaves são {", ".join(_KEYS)}' for key in tree if key not in _KEYS
        ]
        self.problems += [f'falta "{key}"' for key in ("setores", "departamentos") if key not in tree]
        setores = self._lists("setores", tree.get("setores", {}), self._name)
        return CatalogFile(
            setores=setores,
            departamentos=self._texts("departamentos", tree.get("departamentos", []), self._name),
            aliases=self._lists("aliases", tree.get("aliases", {}), self._any),
            shifts=self._hours(tree.get("atendimento", {})),
            holidays=self._holidays(tree.get("feriados", []), any_hours="atendimento" in tree),
            problems=self.problems,
        )

    def _lists(self, where: str, value: object, check: "_Check") -> dict[str, list[str]]:
        """A mapping of names to lists of texts."""
        if not isinstance(value, dict) or (where == "setores" and not value):
            self.problems.append(f"{where}: precisa ser um objeto de nomes, cada um com uma lista de textos")
            return {}
        return {
            self._name(where, name): self._texts(f"{where}, {name}", texts, check)
            for name, texts in value.items()
        }

    def _texts(self, where: str, value: object, check: "_Check") -> list[str]:
        if not isinstance(value, list) or not value:
            self.problems.append(f"{where}: precisa ser uma lista de textos, com ao menos um")
            return []
        others = [json.dumps(item, ensure_ascii=False)[:60] for item in value if not isinstance(item, str)]
        self.problems += [f"{where}: {item} não é um texto; ponha-o entre aspas" for item in others]
        return [check(where, item) for item in value if isinstance(item, str)]

    def _name(self, where: str, text: str) -> str:
        """A name that logs, metrics and the dashboard can show."""
        if text != text.strip() or not _NAME.fullmatch(text):
            self.problems.append(
                f'{where}: o nome "{text[:64]}" não serve: de 1 a 64 letras, algarismos, espaços e '
                "sinais . / ( ) & + , -, sem 4 algarismos seguidos nem espaços nas pontas"
            )
        return text

    @staticmethod
    def _any(_where: str, text: str) -> str:
        return text

    def _hours(self, value: object) -> dict[str, Sequence[Shift]]:
        if not isinstance(value, dict):
            self.problems.append(
                'atendimento: precisa ser um objeto de departamentos (ou "*"), cada um com seus horários'
            )
            return {}
        return {name: self._shifts(f"atendimento, {name}", lines) for name, lines in value.items()}

    def _shifts(self, where: str, value: object) -> Sequence[Shift]:
        before = len(self.problems)
        shifts: list[Shift] = []
        for line in self._texts(where, value, self._any):
            try:
                shifts += opening_hours.parse(line)
            except ValueError as error:
                self.problems.append(f'{where}: "{line[:64]}": {error}')
        if len(self.problems) == before and all(shift.day == HOLIDAY for shift in shifts):
            self.problems.append(
                f"{where}: falta um horário de dia da semana; só em feriados, ninguém sabe quando abre"
            )
        return shifts

    def _holidays(self, value: object, *, any_hours: bool) -> Container[date]:
        texts = (
            self._texts("feriados", [value] if isinstance(value, str) else value, self._any)
            if value != []
            else []
        )
        calendar, problems = holiday_calendar.parse(texts)
        self.problems += [f"feriados: {problem}" for problem in problems]
        if texts and not any_hours:
            self.problems.append(
                "feriados: sem atendimento não têm efeito; escreva os horários em atendimento"
            )
        return calendar


_Check = Callable[[str, str], str]

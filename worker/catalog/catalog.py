"""The catalogue of setores, motivos and departamentos, and which spellings match it (contract §6)."""

import difflib
import unicodedata
from collections.abc import Container, Iterable, Mapping, Sequence
from datetime import UTC, date, tzinfo
from pathlib import Path
from typing import Self
from zoneinfo import ZoneInfo

from worker.catalog import file as catalog_file
from worker.catalog.opening_hours import OpeningHours, Shift
from worker.errors import ConfigError
from worker.settings import Settings

_NEAR = 0.75
"""How alike (difflib ratio, 0 to 1) a suggestion must be; at 0.65 PAGAMENTO would stand for CANCELAMENTO."""


def schemas_dir() -> Path:
    """Where catalogue and schemas lie: in an installed wheel, or beside the package in a checkout."""
    packaged = Path(__file__).parents[1] / "schemas"
    return packaged if packaged.is_dir() else packaged.parents[1] / "schemas"


def fold(text: str) -> str:
    """A text without case, accents, underscores and superfluous white space: equal folds are equal spellings.

    Compatibility decomposition (NFKD), so that `2ª` and full-width letters fold as well.
    """
    decomposed = unicodedata.normalize("NFKD", text)
    bare = "".join(char for char in decomposed if not unicodedata.combining(char))
    return " ".join(bare.casefold().replace("_", " ").split())


class Spellings:
    """Names in their one exact spelling, found by whatever folds to them or to one of their aliases.

    Raises `ConfigError` when a spelling would stand for two names, or folds to nothing.
    """

    def __init__(self, names: Iterable[str], aliases: Mapping[str, Sequence[str]] | None = None) -> None:
        self.names = tuple(names)
        self._by_fold: dict[str, str] = {}
        problems = []
        for name in self.names:
            for spelling in (name, *(aliases or {}).get(name, ())):
                folded = fold(spelling)
                if not folded or self._by_fold.setdefault(folded, name) != name:
                    problems.append(f'a grafia "{spelling}" é vazia ou vale para dois nomes')
        problems += [f'"{name}" aparece mais de uma vez' for name in _repeated(self.names)]
        if problems:
            raise ConfigError(*problems)

    def match(self, text: str) -> str | None:
        """The name in its exact spelling, or None: never a guess."""
        return self._by_fold.get(fold(text))

    def nearest(self, text: str) -> str | None:
        """The name whose spelling is closest, to be suggested; None when none is near."""
        near = difflib.get_close_matches(fold(text), self._by_fold, n=1, cutoff=_NEAR)
        return self._by_fold[near[0]] if near else None


def _repeated(names: Sequence[str]) -> Sequence[str]:
    return [name for name in dict.fromkeys(names) if names.count(name) > 1]


EVERY_OTHER = "*"
"""Stands in `atendimento` for every departamento that is not named there."""


class Catalog:
    """Which setores, motivos and departamentos exist, and when people attend (contract §6, §12)."""

    def __init__(
        self,
        setores: Mapping[str, Sequence[str]],
        departamentos: Sequence[str],
        aliases: Mapping[str, Sequence[str]],
        *,
        shifts: Mapping[str, Sequence[Shift]] | None = None,
        holidays: Container[date] = frozenset(),
        zone: tzinfo = UTC,
    ) -> None:
        """`shifts`: by departamento, or `*`; without any it is always open.

        Raises `ConfigError` with every problem at once.
        """
        problems = _Problems()
        existing = {motivo for motivos in setores.values() for motivo in motivos}
        if strangers := sorted(aliases.keys() - existing):
            problems.append(f"aliases de motivos que não existem: {', '.join(strangers)}")
        self.setores = problems.spellings("setores", setores)
        self.departamentos = problems.spellings("departamentos", departamentos)
        #: Keyed by the setor's exact spelling.
        self.motivos = {
            setor: problems.spellings(f"setores, {setor}", motivos, aliases)
            for setor, motivos in setores.items()
        }
        opening = problems.attendance(self.departamentos, shifts or {})
        #: TIMEZONE, in which the hours are meant.
        self.zone = zone
        #: When people attend, by the departamento's exact spelling.
        self.hours = {
            name: OpeningHours(zone, opening.get(name, ()), holidays) for name in self.departamentos.names
        }
        if problems:
            raise ConfigError(*problems)

    @classmethod
    def load(cls, path: Path | None = None, zone: tzinfo = UTC) -> Self:
        """Read a catalogue, the shipped one by default.

        Raises `ConfigError` with every problem of the file.
        """
        path = path or schemas_dir() / "catalogo.json"
        file = catalog_file.read(path)
        problems = list(file.problems)
        try:
            catalog = cls(
                file.setores,
                file.departamentos,
                file.aliases,
                shifts=file.shifts,
                holidays=file.holidays,
                zone=zone,
            )
        except ConfigError as error:
            problems += error.problems
        if problems:
            raise ConfigError(*(f"{path}: {problem}" for problem in problems))
        return catalog

    @classmethod
    def configured(cls, settings: Settings) -> Self:
        """The catalogue of CATALOG_FILE, its hours in TIMEZONE. Raises `ConfigError` as `load` does."""
        path = Path(settings.CATALOG_FILE) if settings.CATALOG_FILE else None
        return cls.load(path, ZoneInfo(settings.TIMEZONE))

    def words(self) -> dict[str, Sequence[str]]:
        """Every word of the catalogue by its kind: what a log may show."""
        motivos = {name for spellings in self.motivos.values() for name in spellings.names}
        return {
            "setor": self.setores.names,
            "motivo": sorted(motivos),
            "departamento": self.departamentos.names,
        }

    def setor(self, text: str) -> str | None:
        """The setor in the catalogue's spelling, or None."""
        return self.setores.match(text)

    def motivo(self, setor: str, text: str) -> str | None:
        """The motivo in the catalogue's spelling if it belongs to this setor (exact spelling), or None."""
        return self.motivos[setor].match(text)

    def departamento(self, text: str) -> str | None:
        """The departamento in the catalogue's spelling, or None."""
        return self.departamentos.match(text)


class _Problems(list[str]):
    """What is wrong with a catalogue. Names that clash are left out, so that the rest can be judged."""

    def spellings(
        self, where: str, names: Iterable[str], aliases: Mapping[str, Sequence[str]] | None = None
    ) -> Spellings:
        try:
            return Spellings(names, aliases)
        except ConfigError as error:
            self.extend(f"{where}: {problem}" for problem in error.problems)
            distinct = {fold(name): name for name in names if fold(name)}
            return Spellings(distinct.values())

    def attendance(
        self, departamentos: Spellings, shifts: Mapping[str, Sequence[Shift]]
    ) -> Mapping[str, Sequence[Shift]]:
        """The shifts of each departamento that has any."""
        opening = dict.fromkeys(departamentos.names, shifts.get(EVERY_OTHER, ()))
        named: dict[str, str] = {}
        for text in sorted(shifts.keys() - {EVERY_OTHER}) if departamentos.names else ():
            name = departamentos.match(text)
            if name is None:
                self.append(
                    f'atendimento: o departamento "{text}" não existe{_suggestion(departamentos, text)}'
                )
            elif named.setdefault(name, text) != text:
                self.append(f'atendimento: "{text}" e "{named[name]}" são o mesmo departamento')
            else:
                opening[name] = shifts[text]
        return opening


def _suggestion(spellings: Spellings, text: str) -> str:
    near = spellings.nearest(text)
    return f"; você quis dizer {near}?" if near else ""

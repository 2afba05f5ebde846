"""The catalogue of setores, motivos and departamentos, and which spellings match it (contract §6)."""

import difflib
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from worker.errors import ConfigError

_NEAR = 0.75
"""How alike (difflib ratio, 0 to 1) a suggestion must be; at 0.65 PAGAMENTO would stand for CANCELAMENTO."""


def schemas_dir() -> Path:
    """Where catalogue and schemas lie: in an installed wheel, or beside the package in a checkout."""
    packaged = Path(__file__).parent / "schemas"
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
        for name in self.names:
            for spelling in (name, *(aliases or {}).get(name, ())):
                folded = fold(spelling)
                if not folded or self._by_fold.setdefault(folded, name) != name:
                    raise ConfigError(f'catálogo: a grafia "{spelling}" é vazia ou vale para dois nomes')

    def match(self, text: str) -> str | None:
        """The name in its exact spelling, or None: never a guess."""
        return self._by_fold.get(fold(text))

    def nearest(self, text: str) -> str | None:
        """The name whose spelling is closest, to be suggested; None when none is near."""
        near = difflib.get_close_matches(fold(text), self._by_fold, n=1, cutoff=_NEAR)
        return self._by_fold[near[0]] if near else None


class _File(BaseModel):
    """`catalogo.json`: exact spellings, typos included; `aliases` are further spellings of a motivo."""

    model_config = ConfigDict(extra="forbid", strict=True, hide_input_in_errors=True)

    setores: dict[str, list[str]]
    departamentos: list[str]
    aliases: dict[str, list[str]]


class Catalog:
    """Which setores, motivos and departamentos exist. `motivos` is keyed by the setor's exact spelling."""

    def __init__(
        self,
        setores: Mapping[str, Sequence[str]],
        departamentos: Sequence[str],
        aliases: Mapping[str, Sequence[str]],
    ) -> None:
        known = {motivo for motivos in setores.values() for motivo in motivos}
        if unknown := sorted(aliases.keys() - known):
            raise ConfigError(f"catálogo: aliases de motivos que não existem: {', '.join(unknown)}")
        self.setores = Spellings(setores)
        self.departamentos = Spellings(departamentos)
        self.motivos = {setor: Spellings(motivos, aliases) for setor, motivos in setores.items()}

    @classmethod
    def load(cls, path: Path | None = None) -> "Catalog":
        """Read `catalogo.json`, the shipped one by default. Raises `ConfigError` when it cannot be used."""
        path = path or schemas_dir() / "catalogo.json"
        try:
            file = _File.model_validate_json(path.read_bytes())
        except (OSError, ValidationError):
            raise ConfigError(
                f"{path} não é um catálogo válido; corrija-o ou reinstale o ticket-worker"
            ) from None
        return cls(file.setores, file.departamentos, file.aliases)

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

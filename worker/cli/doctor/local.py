"""What the doctor finds on this machine: the database, and whether texts keep their accents."""

import contextlib
import io
import shutil
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from worker import logs
from worker.catalog import Catalog
from worker.catalog.opening_hours import in_words
from worker.cli.doctor.finding import Finding, bad, note, ok
from worker.errors import ConfigError, NotMigrated, StoreError, StoreUnavailable
from worker.settings import Settings
from worker.store.queries.inspection import Inspection

_SAMPLE = "ÇÃÉ"


async def database(settings: Settings) -> Sequence[Finding]:
    try:
        async with Inspection.open(settings) as database:
            kept = await database.keeps(_SAMPLE)
    except NotMigrated as error:
        return [note("database", problem) for problem in error.problems]
    except ConfigError as error:
        return [bad("database", problem) for problem in error.problems]
    except StoreUnavailable as error:
        return [bad("database", f"banco: {error}; confira DATABASE_URL e o servidor")]
    except StoreError as error:
        return [bad("database", f"banco: não grava ({error}); confira o servidor, o disco e a permissão")]
    return [
        ok("database", "banco: aberto e gravável, no esquema desta versão; DATA_KEYS o abrem"),
        ok("utf8_database", f"banco: {_SAMPLE} volta como foi gravado, cifrado e em claro")
        if kept
        else bad("utf8_database", f"banco: {_SAMPLE} não volta como foi gravado; recrie o banco em UTF-8"),
    ]


_LITTLE_BYTES, _NOTHING_BYTES = 1_000_000_000, 50_000_000


async def disk(settings: Settings) -> Sequence[Finding]:
    """Free space where the database and the log are; writing a row proves nothing about the next."""
    places = {"log": None if settings.LOG_DIR == "-" else Path(settings.LOG_DIR)}
    if settings.DATABASE_URL.startswith("sqlite:///"):
        places["banco"] = Path(settings.DATABASE_URL.removeprefix("sqlite:///"))
    return [_free(name, path.absolute()) for name, path in places.items() if path is not None]


def _free(name: str, path: Path) -> Finding:
    folder = next(each for each in (path, *path.parents) if each.is_dir())
    free = shutil.disk_usage(folder).free
    space = f"disco: {free / 1e9:.1f} GB livres em {folder} ({name})".replace(".", ",", 1)
    if free >= _LITTLE_BYTES:
        return ok("disk", space)
    return (note if free >= _NOTHING_BYTES else bad)("disk", f"{space}; libere espaço")


async def hours(settings: Settings) -> Sequence[Finding]:
    """The catalogue, and when each departamento opens next; those that open together in one line."""
    catalog = Catalog.configured(settings)
    at = time.time()
    together: dict[str, list[str]] = {}
    for departamento, opening in catalog.hours.items():
        opens_at = opening.opens_at(at)
        words = "aberto agora" if opens_at is None else f"abre {in_words(opens_at, catalog.zone)}"
        together.setdefault(words, []).append(departamento)
    motivos = sum(len(spellings.names) for spellings in catalog.motivos.values())
    counted = f"{len(catalog.setores.names)} setores, {motivos} motivos"
    return [
        ok("catalog", f"catálogo: {settings.CATALOG_FILE or 'o do documento'}, {counted}"),
        *(ok("hours", f"atendimento: {words}: {', '.join(names)}") for words, names in together.items()),
    ]


async def utf8(settings: Settings) -> Sequence[Finding]:
    return [_utf8_output(), _utf8_log(settings.LOG_DIR)]


def _utf8_output() -> Finding:
    encoding = sys.stdout.encoding or "?"
    try:
        fits = _SAMPLE.encode(encoding).decode("utf-8") == _SAMPLE
    except (UnicodeError, LookupError):
        fits = False
    if fits:
        return ok("utf8_output", f"terminal: {_SAMPLE} sai em UTF-8")
    return note("utf8_output", f"terminal: a saída é {encoding}, não UTF-8; use LC_ALL=C.UTF-8")


def _utf8_log(directory: str) -> Finding:
    """Through the real sink, in a folder of its own where the log is, or would be."""
    if directory == "-":
        return ok("utf8_log", "log: só em stderr (LOG_DIR=-)")
    path = Path(directory).absolute()
    place = next(each for each in (path, *path.parents) if each.exists())
    try:
        with tempfile.TemporaryDirectory(prefix=".check-", dir=place) as folder:
            kept = _logged(Path(folder))
    except (OSError, ConfigError):
        return bad(
            "utf8_log", f"log: LOG_DIR={directory} não pode ser gravada; confira a permissão e o espaço"
        )
    if kept:
        return ok("utf8_log", f"log: {_SAMPLE} volta como foi gravado em {directory}")
    return bad("utf8_log", f"log: {_SAMPLE} não volta como foi gravado em {directory}")


def _logged(folder: Path) -> bool:
    with contextlib.redirect_stderr(io.StringIO()):
        path = logs.setup(directory=folder)
        logs.event("ÇÃÉ")  # _SAMPLE: a log message is a literal
        logs.shutdown()
    return path is not None and path.read_text("utf-8", "replace").rstrip().endswith(_SAMPLE)

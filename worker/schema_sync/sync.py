"""One definition made what it should be: read, compare, save what was, write, read back (contract §8)."""

import json
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from enum import Enum
from pathlib import Path
from typing import Protocol
from urllib.parse import quote

from worker.errors import PlatformError, PlatformRefused, WorkerError
from worker.schema_sync import functions
from worker.schema_sync.functions import Json, canonical
from worker.schema_sync.instructions import BrokenMarkers
from worker.schema_sync.plan import Envelope, Plan, Wanted, plan

BACKUPS = Path("data/schema-backups")


class Definitions(Protocol):
    """The stored assistants (agents, sessions) of one platform, as raw JSON.

    Both methods raise only `PlatformError`s; `RunGone`: there is none of this id.
    """

    @property
    def envelope(self) -> Envelope: ...

    async def read(self, identifier: str) -> Json:
        """The definition: `tools` is a list of objects; whatever else it has."""

    async def write(self, identifier: str, changes: Json) -> None:
        """Replace these top-level fields; the others stay."""


class Result(Enum):
    """What became of one definition."""

    EQUAL = "equal"
    DIFFERS = "differs"
    """It was not to be written."""
    WRITTEN = "written"
    NOT_STRICT = "not_strict"
    """Written, but the platform took our functions only without `strict`."""


class NotSaved(WorkerError):
    """The previous definition could not be saved, so nothing was written. `reason` is the system's word."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class NotApplied(WorkerError):
    """The platform took the change, and shows another definition than was written."""


async def compare(definitions: Definitions, identifier: str, wanted: Wanted) -> Plan:
    """What this definition lacks now. Raises `PlatformError`, `BrokenMarkers`."""
    return plan(await definitions.read(identifier), wanted, definitions.envelope)


async def drift(definitions: Definitions, identifiers: Mapping[str, str]) -> dict[str, bool]:
    """Whether each definition differs from our functions, by name; what could not be read is left out.

    Raises `ConfigError` when our own schemas cannot be read.
    """
    wanted = Wanted(functions.load())
    found: dict[str, bool] = {}
    for name, identifier in identifiers.items():
        try:
            found[name] = bool((await compare(definitions, identifier, wanted)).changes)
        except PlatformError:
            continue
    return found


async def sync(
    definitions: Definitions,
    identifier: str,
    wanted: Wanted,
    *,
    show: Callable[[Plan], None],
    backups: Path | None = BACKUPS,
) -> Result:
    """Write what differs, and nothing where nothing does. `backups` None: only look.

    Raises `PlatformError`, `BrokenMarkers` and `NotSaved` (nothing was written), `NotApplied`.
    """
    before = await definitions.read(identifier)
    found = plan(before, wanted, definitions.envelope)
    show(found)
    if not found.changes:
        return Result.EQUAL
    if backups is None:
        return Result.DIFFERS
    _save(before, identifier, backups)
    result = await _write(definitions, identifier, before, wanted)
    await _verify(definitions, identifier, found.kept, wanted)
    return result


def _save(definition: Json, identifier: str, folder: Path) -> None:
    now = datetime.now(UTC).strftime("%Y%m%dT%H%M%S.%fZ")
    path = folder / f"{quote(identifier, safe='')[:128]}-{now}.json"
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        path.touch(mode=0o600, exist_ok=False)
        path.write_text(json.dumps(definition, ensure_ascii=False, indent=2) + "\n", "utf-8", "surrogatepass")
    except OSError as error:
        raise NotSaved(error.strerror or type(error).__name__) from None


async def _write(definitions: Definitions, identifier: str, before: Json, wanted: Wanted) -> Result:
    """With `strict` where the platform has it; once more without where that was refused."""
    envelope = definitions.envelope
    strict, plain = (plan(before, wanted, envelope, strict=each).changes for each in (True, False))
    try:
        await definitions.write(identifier, strict)
    except PlatformRefused as refusal:
        if refusal.status not in {400, 422} or strict == plain:
            raise
        await definitions.write(identifier, plain)
        return Result.NOT_STRICT
    return Result.WRITTEN


async def _verify(definitions: Definitions, identifier: str, kept: Sequence[Json], wanted: Wanted) -> None:
    try:
        found = await compare(definitions, identifier, wanted)
    except BrokenMarkers:
        raise NotApplied from None
    if found.changes or canonical(found.kept) != canonical(kept):
        raise NotApplied

"""One definition made what it should be: read, compare, save what was, write, read back (contract §8)."""

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol
from urllib.parse import quote

from worker.errors import PlatformError, PlatformRefused, WorkerError
from worker.schema_sync.functions import Json, holds
from worker.schema_sync.instructions import BrokenMarkers
from worker.schema_sync.plan import Envelope, Plan, Wanted, plan

BACKUPS = Path("data/schema-backups")


class Definitions(Protocol):
    """The stored assistants (agents, sessions) of one platform, as raw JSON.

    `read` and `write` raise only `PlatformError`s; `RunGone`: there is none of this id.
    """

    @property
    def envelope(self) -> Envelope: ...

    async def read(self, identifier: str) -> Json:
        """The definition: `tools` is a list of objects; whatever else it has."""

    async def write(self, identifier: str, changes: Json) -> None:
        """Replace these top-level fields; the others stay."""

    def complete(self, definition: Json) -> bool:
        """Whether its tools were shown with everything that writing them back needs."""


class NotSaved(WorkerError):
    """The previous definition could not be saved, so nothing was written. `reason` is the system's word."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class NotComplete(WorkerError):
    """Writing back what was shown would lose something that is not shown, so nothing was written."""


class NotApplied(WorkerError):
    """The platform took the change, and shows another definition than was written."""


async def compare(definitions: Definitions, identifier: str, wanted: Wanted) -> Plan:
    """What this definition lacks now. Raises `PlatformError`, `BrokenMarkers`."""
    return plan(await definitions.read(identifier), wanted, definitions.envelope)


async def drift(
    definitions: Definitions, identifiers: Mapping[str, str], functions: Sequence[Json]
) -> dict[str, bool]:
    """Whether each definition differs from our functions, by name; what could not be read is left out."""
    wanted = Wanted(functions)
    found: dict[str, bool] = {}
    for name, identifier in identifiers.items():
        try:
            found[name] = bool((await compare(definitions, identifier, wanted)).changes)
        except PlatformError:
            continue
    return found


async def apply(
    definitions: Definitions, identifier: str, found: Plan, wanted: Wanted, *, backups: Path = BACKUPS
) -> bool:
    """Write what `compare` found; False: the platform took our functions only without `strict`.

    Raises `NotSaved` and `NotComplete` (nothing was written), `PlatformError`, `NotApplied`.
    """
    if "tools" in found.changes and not definitions.complete(found.before):
        raise NotComplete
    _save(found.before, identifier, backups)
    strict = await _write(definitions, identifier, found, wanted)
    await _verify(definitions, identifier, found, wanted)
    return strict


def _save(definition: Json, identifier: str, folder: Path) -> None:
    now = datetime.now(UTC).strftime("%Y%m%dT%H%M%S.%fZ")
    path = folder / f"{quote(identifier, safe='')[:128]}-{now}.json"
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        path.touch(mode=0o600, exist_ok=False)
        path.write_text(json.dumps(definition, ensure_ascii=False, indent=2) + "\n", "utf-8", "surrogatepass")
    except OSError as error:
        raise NotSaved(error.strerror or type(error).__name__) from None


async def _write(definitions: Definitions, identifier: str, found: Plan, wanted: Wanted) -> bool:
    """With `strict` where the platform has it; once more without where that was refused."""
    plain = plan(found.before, wanted, definitions.envelope, strict=False).changes
    try:
        await definitions.write(identifier, found.changes)
    except PlatformRefused as refusal:
        if refusal.status not in {400, 422} or found.changes == plain:
            raise
        await definitions.write(identifier, plain)
        return False
    return True


async def _verify(definitions: Definitions, identifier: str, found: Plan, wanted: Wanted) -> None:
    try:
        shown = await compare(definitions, identifier, wanted)
    except BrokenMarkers:
        raise NotApplied from None
    if shown.changes or not holds(shown.kept, found.kept):
        raise NotApplied

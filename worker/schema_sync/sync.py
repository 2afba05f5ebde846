"""Brings a definition to the target: read, compare, save a copy, write, read back (contract §8)."""

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol
from urllib.parse import quote

from worker.errors import PlatformError, PlatformRefused, WorkerError
from worker.schema_sync.functions import Json, contains
from worker.schema_sync.instructions import BrokenMarkers
from worker.schema_sync.plan import Envelope, Plan, Target, plan

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
        """Whether the definition shows everything that is needed to write its tools back."""


class NotSaved(WorkerError):
    """The previous definition could not be saved, so nothing was written. `reason` is the system's word."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class NotComplete(WorkerError):
    """The platform hides part of a tool; writing the tools back would lose it, so nothing was written."""


class NotApplied(WorkerError):
    """The platform accepted the change, but shows another definition than the one written."""


async def compare(definitions: Definitions, identifier: str, target: Target) -> Plan:
    """Read a definition and compare it with the target. Raises `PlatformError`, `BrokenMarkers`."""
    return plan(await definitions.read(identifier), target, definitions.envelope)


async def drift(
    definitions: Definitions, identifiers: Mapping[str, str], functions: Sequence[Json]
) -> dict[str, bool]:
    """By name, whether each definition differs from these functions; unreadable ones are left out."""
    target = Target(functions)
    differs: dict[str, bool] = {}
    for name, identifier in identifiers.items():
        try:
            differs[name] = bool((await compare(definitions, identifier, target)).changes)
        except PlatformError:
            continue
    return differs


async def apply(
    definitions: Definitions, identifier: str, change: Plan, target: Target, *, backups: Path = BACKUPS
) -> bool:
    """Write the changes of a plan; False if the platform accepted the functions only without `strict`.

    Raises `NotSaved` and `NotComplete` (nothing was written), `PlatformError`, `NotApplied`.
    """
    if "tools" in change.changes and not definitions.complete(change.before):
        raise NotComplete
    _save(change.before, identifier, backups)
    strict = await _write(definitions, identifier, change, target)
    await _verify(definitions, identifier, change, target)
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


async def _write(definitions: Definitions, identifier: str, change: Plan, target: Target) -> bool:
    """Write with `strict` where the platform has it, and again without it if that was refused."""
    plain = plan(change.before, target, definitions.envelope, strict=False).changes
    try:
        await definitions.write(identifier, change.changes)
    except PlatformRefused as refusal:
        if refusal.status not in {400, 422} or change.changes == plain:
            raise
        await definitions.write(identifier, plain)
        return False
    return True


async def _verify(definitions: Definitions, identifier: str, change: Plan, target: Target) -> None:
    try:
        after = await compare(definitions, identifier, target)
    except BrokenMarkers:
        raise NotApplied from None
    if after.changes or not contains(after.kept, change.kept):
        raise NotApplied

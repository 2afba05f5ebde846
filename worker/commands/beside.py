"""How a command comes to the daemon's database, and reads what a person means by a time (contract §1)."""

import contextlib
import time
from collections.abc import AsyncIterator
from zoneinfo import ZoneInfo

from worker import times
from worker.errors import ConfigError
from worker.settings import Settings
from worker.store.store import Store


@contextlib.asynccontextmanager
async def beside(settings: Settings) -> AsyncIterator[Store]:
    """The daemon's database, neither locked nor migrated. Raises `ConfigError`: see `Store.open`."""
    if not settings.data_keys:
        raise ConfigError("DATA_KEYS não está definida: use as mesmas chaves do daemon")
    store = await Store.open(settings, settings.PLATFORM or "", owner=False)
    try:
        yield store
    finally:
        await store.close()


def since_option(text: str, zone: ZoneInfo) -> float:
    """`--since`, in seconds since the epoch (see `times.parse_since`). Raises `ConfigError`."""
    try:
        return times.parse_since(text, zone, time.time())
    except ValueError as error:
        raise ConfigError(f"--since {error}") from None

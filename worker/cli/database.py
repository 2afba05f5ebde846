"""Shared by the commands: the database, waiting for the daemon, the operator's name (contract §1)."""

import contextlib
import getpass
import os
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import TypeVar
from zoneinfo import ZoneInfo

from worker import times
from worker.errors import ConfigError
from worker.ports import Clock
from worker.settings import Settings
from worker.store.store import Store

NOT_TAKEN_UP = (
    "! O pedido está gravado, mas nenhum worker o assumiu ainda: será atendido quando o worker estiver em "
    "execução (ticket-worker run)"
)

NO_DAEMON = (
    "! O pedido está gravado, mas nenhum worker está em execução: será atendido quando um iniciar "
    "(ticket-worker run)"
)

_WITHIN_S = 30.0
_POLL_S = 0.25

_Record = TypeVar("_Record")


@contextlib.asynccontextmanager
async def beside(settings: Settings) -> AsyncIterator[Store]:
    """Open the daemon's database without locking or migrating it. Raises `ConfigError` (see `Store.open`)."""
    if not settings.data_keys:
        raise ConfigError("DATA_KEYS não está definida: use as mesmas chaves do worker")
    store = await Store.open(settings, settings.PLATFORM or "", owner=False)
    try:
        yield store
    finally:
        await store.close()


def since_option(text: str, zone: ZoneInfo, option: str = "--since") -> float:
    """A time, as `times.parse_since` reads it, in seconds since the epoch. Raises `ConfigError`."""
    try:
        return times.parse_since(text, zone, time.time())
    except ValueError as error:
        raise ConfigError(f"{option} {error}") from None


def moment_option(text: str | None, zone: ZoneInfo, option: str = "--since") -> float | None:
    """`since_option` for an option that may be absent."""
    return None if text is None else since_option(text, zone, option)


async def daemon_lives(store: Store) -> bool:
    """Whether a daemon works on this database."""
    return bool(await store.daemons.living())


async def wait_for_daemon(
    read: Callable[[], Awaitable[_Record]], done: Callable[[_Record], bool], clock: Clock
) -> _Record:
    """Read a record until `done` accepts it, for at most 30 s; returns the last one read."""
    until = clock.monotonic() + _WITHIN_S
    while not done(record := await read()) and clock.monotonic() < until:
        await clock.sleep(_POLL_S)
    return record


def reader() -> str:
    """The operator's name for the access log: the user of this terminal."""
    try:
        name = getpass.getuser()
    except (OSError, KeyError):  # a user without a name, as in a container
        name = str(os.getuid())
    return f"{name}@cli"[:64]

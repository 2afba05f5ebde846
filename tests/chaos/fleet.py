"""Worker processes under a supervisor that starts again whatever has ended."""

import asyncio
import contextlib
import os
import signal
from collections import Counter
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any, Self

from tests.forked import Forked, forked

_ROOT = Path(__file__).resolve().parents[2]
_INHERITED = ("PATH", "HOME", "LANG", "LC_ALL", "TZ", "TMPDIR", "VIRTUAL_ENV")
_RESTART_S = 0.2
_STOP_S = 15.0


class Fleet:
    """`size` processes of `python -m module run`, each ended by its own id when the block ends."""

    def __init__(self, folder: Path, settings: Mapping[str, str], size: int, module: str) -> None:
        self._folder = folder
        kept = {name: os.environ[name] for name in _INHERITED if name in os.environ}
        self._environ = {**kept, **settings, "PYTHONPATH": str(_ROOT)}
        self._size = size
        self._module = module
        self._processes: dict[int, Forked] = {}
        self._stopped: set[int] = set()
        self._ending = False
        self.exits: Counter[int] = Counter()
        """Exit codes of processes that ended before they were told to."""

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[Self]:
        async with asyncio.TaskGroup() as keepers:
            for number in range(self._size):
                keepers.create_task(self._keep(number))
            try:
                yield self
            finally:
                await self._end()

    @property
    def pids(self) -> set[int]:
        """Those that are alive and not stopped."""
        return self._processes.keys() - self._stopped

    def kill(self, pid: int) -> None:
        self._signal(pid, signal.SIGKILL)

    async def freeze(self, pid: int, seconds: float) -> None:
        """SIGSTOP, and SIGCONT so much later."""
        self._signal(pid, signal.SIGSTOP)
        self._stopped.add(pid)
        try:
            await asyncio.sleep(seconds)
        finally:
            self._stopped.discard(pid)
            self._signal(pid, signal.SIGCONT)

    def said(self) -> str:
        """The end of what the processes wrote to stderr."""
        files = sorted(self._folder.glob("worker-*.txt"))
        return "".join(file.read_text("utf-8", "replace")[-3000:] for file in files)

    async def _keep(self, number: int) -> None:
        while not self._ending:
            process = self._start(number)
            code = await process.wait()
            del self._processes[process.pid]
            if not self._ending:
                self.exits[code] += 1
                await asyncio.sleep(_RESTART_S)

    def _start(self, number: int) -> Forked:
        with (self._folder / f"worker-{number}.txt").open("ab") as said:
            where: dict[str, Any] = {"cwd": self._folder, "env": self._environ}
            process = forked(self._module, "run", **where, stdout=said, stderr=said)
        self._processes[process.pid] = process
        return process

    async def _end(self) -> None:
        self._ending = True
        processes = list(self._processes.values())
        for process in processes:
            self._signal(process.pid, signal.SIGTERM)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_STOP_S):
                await asyncio.gather(*(process.wait() for process in processes))
        for pid in list(self._processes):
            self._signal(pid, signal.SIGKILL)

    def _signal(self, pid: int, number: signal.Signals) -> None:
        """To a process we started and have not waited for: its id cannot be another's by now."""
        process = self._processes.get(pid)
        if process is not None and process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                process.send_signal(number)

"""Processes on their cores: started, pinned, measured from outside, ended by their own ids."""

import asyncio
import contextlib
import os
import sys
import time
from collections.abc import AsyncIterator, Iterable
from pathlib import Path

import psutil

ROOT = Path(__file__).parents[1]
_STOP_S = 30.0
_INHERITED = ("PATH", "HOME", "LANG", "TMPDIR", "VIRTUAL_ENV", "LD_LIBRARY_PATH")

CORES = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def pin(pid: int, *, contender: bool) -> None:
    """Keep a process on its core: contenders on the first, everything else on the others. Linux only."""
    if hasattr(os, "sched_setaffinity") and CORES > 1:
        first, *others = sorted(os.sched_getaffinity(0))
        for thread in psutil.Process(pid).threads():  # only the main one would be moved
            with contextlib.suppress(ProcessLookupError):
                os.sched_setaffinity(thread.id, {first} if contender else set(others))


class Gauge:
    """CPU and memory of some processes, measured from outside, with their children."""

    def __init__(self, pids: Iterable[int]) -> None:
        self._processes = [psutil.Process(pid) for pid in pids]

    def cpu_s(self) -> float:
        """Seconds of CPU so far, user and system, with what children used that have ended."""
        return sum(sum(process.cpu_times()[:4]) for process in self._all())

    def rss_mb(self) -> float:
        """Memory held now."""
        return sum(process.memory_info().rss for process in self._all()) / 1e6

    def _all(self) -> list[psutil.Process]:
        return [each for one in self._processes for each in (one, *one.children(recursive=True))]


class Child:
    """A running process of ours."""

    def __init__(self, process: asyncio.subprocess.Process, said: Path) -> None:
        self.pid = process.pid
        self._process = process
        self._said = said

    async def line(self) -> str:
        """Its next line on stdout."""
        if self._process.stdout is None:
            raise RuntimeError("stdout is not piped")
        line = await self._process.stdout.readline()
        if not line:
            raise RuntimeError(self.said())
        return line.decode().strip()

    async def go(self) -> None:
        """Let it begin: a contender waits for a line on stdin."""
        if self._process.stdin is None:
            raise RuntimeError("stdin is not piped")
        self._process.stdin.write(b"\n")
        await self._process.stdin.drain()

    def check(self) -> None:
        """Raises `RuntimeError` when it has ended."""
        if self._process.returncode is not None:
            raise RuntimeError(self.said())

    def said(self) -> str:
        """The end of its stderr."""
        return self._said.read_text("utf-8", "replace")[-3000:]


@contextlib.asynccontextmanager
async def child(
    folder: Path, *arguments: str, settings: dict[str, str] | None = None
) -> AsyncIterator[Child]:
    """`python ARGUMENTS` in `folder`, ended with the block. Of our environment it gets the least."""
    kept = {name: os.environ[name] for name in _INHERITED if name in os.environ}
    said = folder / f"stderr-{time.monotonic_ns()}.txt"
    with said.open("wb") as errors:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            *arguments,
            cwd=folder,
            env={**kept, "PYTHONPATH": str(ROOT), **(settings or {})},
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=errors,
        )
    try:
        yield Child(process, said)
    finally:
        await _end(process)


async def _end(process: asyncio.subprocess.Process) -> None:
    if process.returncode is None:
        process.terminate()
    try:
        async with asyncio.timeout(_STOP_S):
            await process.communicate()
    except TimeoutError:
        process.kill()
        await process.wait()

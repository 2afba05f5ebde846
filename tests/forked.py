"""Processes forked from one that has imported everything: a tenth of a second of CPU each instead of two.

Such a process is as real as a new one: it has its own id, signals, files and settings, and can be killed.
Only Python's start and the imports lie behind it: `python -m worker` is for the tests that are about those.
"""

import asyncio
import atexit
import multiprocessing
import os
import runpy
import signal
import sys
import time
from collections.abc import Mapping, Sequence
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import BinaryIO

_FORKS = multiprocessing.get_context("forkserver")
_FORKS.set_forkserver_preload(["worker.cli.main", "worker.daemon", "worker.platforms.assistants"])


class Forked:
    """As much of an `asyncio.subprocess.Process` as the tests need."""

    def __init__(self, process: BaseProcess) -> None:
        assert process.pid
        self.pid = process.pid
        self._process = process
        self._ended = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(process.sentinel, self._has_ended)

    @property
    def returncode(self) -> int | None:
        """Negative: the signal that ended it."""
        return self._process.exitcode

    async def wait(self) -> int:
        await self._ended.wait()
        assert self.returncode is not None
        return self.returncode

    def send_signal(self, number: signal.Signals) -> None:
        os.kill(self.pid, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    def _has_ended(self) -> None:
        self._loop.remove_reader(self._process.sentinel)
        self._ended.set()


def forked(*words: str, cwd: Path, env: Mapping[str, str], stdout: BinaryIO, stderr: BinaryIO) -> Forked:
    """`words`: what follows `python -m`. Both files are opened again by their names."""
    said = (stdout.name, stderr.name)
    process = _FORKS.Process(target=_become, args=(words, cwd, dict(env), said))
    process.start()
    return Forked(process)


def _become(words: Sequence[str], cwd: Path, env: dict[str, str], said: tuple[str, str]) -> None:
    """In the new process: everything that starting it anew would give it."""
    os.setsid()
    os.chdir(cwd)
    os.environ.clear()
    os.environ.update(env)
    time.tzset()
    for number, name in enumerate(said, 1):
        os.dup2(os.open(name, os.O_WRONLY | os.O_APPEND), number)
    sys.argv = list(words)
    try:
        runpy.run_module(words[0], run_name="__main__", alter_sys=True)
    finally:
        atexit._run_exitfuncs()  # multiprocessing leaves without them

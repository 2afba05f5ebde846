"""The real worker as a child process, as an operator would start it."""

import asyncio
import contextlib
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator, Mapping
from pathlib import Path

import httpx

_ROOT = Path(__file__).resolve().parents[3]
_INHERITED = ("PATH", "HOME", "LANG", "TZ", "TMPDIR", "VIRTUAL_ENV", "LD_LIBRARY_PATH")
_INHERITED_PREFIXES = ("LC_", "PYTHON", "COVERAGE")
_COMMAND = (sys.executable, "-m", "worker", "run")
_START_S = 60.0
_STOP_S = 10.0


class WorkerDied(Exception):
    """The child ended, or never became ready. `why` says which; `said` is what it wrote to stderr."""

    def __init__(self, why: str, said: str) -> None:
        super().__init__("the worker process ended, or was never ready")
        self.why = why
        self.said = said


class WorkerProcess:
    """A started worker: its URL, its folder (`logs/worker.log`, `stderr.txt`), and whether it lives."""

    def __init__(self, process: asyncio.subprocess.Process, url: str, folder: Path) -> None:
        self._process = process
        self.url = url
        self.folder = folder

    def check(self) -> None:
        """Raises `WorkerDied` with what the child said."""
        if self._process.returncode is not None:
            raise WorkerDied(f"O worker terminou sozinho (saída {self._process.returncode})", self._said())

    def _said(self) -> str:
        return (self.folder / "stderr.txt").read_text(encoding="utf-8", errors="replace")

    async def ready(self) -> None:
        """Wait until it serves. Raises `WorkerDied`."""
        try:
            async with asyncio.timeout(_START_S), httpx.AsyncClient(trust_env=False) as client:
                while not await self._is_ready(client):
                    self.check()
                    await asyncio.sleep(0.05)
        except TimeoutError:
            raise WorkerDied(f"O worker não ficou pronto em {_START_S:.0f} s", self._said()) from None

    async def _is_ready(self, client: httpx.AsyncClient) -> bool:
        with contextlib.suppress(httpx.TransportError):
            return (await client.get(f"{self.url}/readyz")).status_code == 200
        return False

    async def stop(self) -> None:
        """SIGTERM, and SIGKILL if it does not leave."""
        if self._process.returncode is not None:
            return
        self._process.send_signal(signal.SIGTERM)
        try:
            async with asyncio.timeout(_STOP_S):
                await self._process.wait()
        except TimeoutError:
            self._process.kill()
            await self._process.wait()


@contextlib.asynccontextmanager
async def worker_process(folder: Path, settings: Mapping[str, str]) -> AsyncIterator[WorkerProcess]:
    """`python -m worker run` in `folder`, ready to be spoken to; it ends with the block.

    Of our own environment it gets nothing that configures a worker. Raises `WorkerDied`.
    """
    port = _free_port()
    environ = {**_inherited(), **settings, "HTTP_PORT": str(port), "LOG_DIR": str(folder / "logs")}
    with (folder / "stderr.txt").open("wb") as said:
        process = await asyncio.create_subprocess_exec(
            *_COMMAND,
            cwd=folder,
            env=environ,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=said,
            stderr=said,
            start_new_session=True,  # a Ctrl-C at the terminal is ours to handle, in order
        )
    worker = WorkerProcess(process, f"http://127.0.0.1:{port}", folder)
    try:
        await worker.ready()
        yield worker
    finally:
        await worker.stop()


def _inherited() -> dict[str, str]:
    kept = {
        name: value
        for name, value in os.environ.items()
        if name in _INHERITED or name.startswith(_INHERITED_PREFIXES)
    }
    path = os.pathsep.join(filter(None, (str(_ROOT), kept.get("PYTHONPATH"))))
    return {**kept, "PYTHONPATH": path}


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port: int = probe.getsockname()[1]
    return port

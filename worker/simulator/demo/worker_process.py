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
    """The child ended or never became ready: `reason` (Portuguese) and the text of its stderr."""

    def __init__(self, reason: str, stderr: str) -> None:
        super().__init__("the worker process ended, or was never ready")
        self.reason = reason
        self.stderr = stderr


class WorkerProcess:
    """A started worker: its URL and its folder, which holds `logs/worker.log` and `stderr.txt`."""

    def __init__(self, process: asyncio.subprocess.Process, url: str, folder: Path) -> None:
        self._process = process
        self.url = url
        self.folder = folder

    def check(self) -> None:
        """Raises `WorkerDied` with the child's stderr if it has ended."""
        if self._process.returncode is not None:
            raise WorkerDied(
                f"O worker terminou sozinho (saída {self._process.returncode})", self._stderr_text()
            )

    def _stderr_text(self) -> str:
        return (self.folder / "stderr.txt").read_text(encoding="utf-8", errors="replace")

    async def ready(self) -> None:
        """Wait until it serves. Raises `WorkerDied`."""
        try:
            async with asyncio.timeout(_START_S), httpx.AsyncClient(trust_env=False) as client:
                while not await self._is_ready(client):
                    self.check()
                    await asyncio.sleep(0.05)
        except TimeoutError:
            raise WorkerDied(f"O worker não ficou pronto em {_START_S:.0f} s", self._stderr_text()) from None

    async def _is_ready(self, client: httpx.AsyncClient) -> bool:
        with contextlib.suppress(httpx.TransportError):
            return (await client.get(f"{self.url}/readyz")).status_code == 200
        return False

    async def stop(self) -> None:
        """Send SIGTERM, and SIGKILL if the child has not ended after `_STOP_S` seconds."""
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
    """Run `python -m worker run` in `folder` until the block ends; yields it once it is ready.

    The child inherits no environment variable that configures a worker. Raises `WorkerDied`.
    """
    port = _free_port()
    environ = {**_inherited(), **settings, "HTTP_PORT": str(port), "LOG_DIR": str(folder / "logs")}
    with (folder / "stderr.txt").open("wb") as stderr:
        process = await asyncio.create_subprocess_exec(
            *_COMMAND,
            cwd=folder,
            env=environ,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=stderr,
            stderr=stderr,
            start_new_session=True,  # a Ctrl-C reaches only the demo, which stops the child
        )
    worker = WorkerProcess(process, f"http://127.0.0.1:{port}", folder)
    try:
        await worker.ready()
        yield worker
    finally:
        await worker.stop()


def _inherited() -> dict[str, str]:
    environment = {
        name: value
        for name, value in os.environ.items()
        if name in _INHERITED or name.startswith(_INHERITED_PREFIXES)
    }
    path = os.pathsep.join(filter(None, (str(_ROOT), environment.get("PYTHONPATH"))))
    return {**environment, "PYTHONPATH": path}


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port: int = probe.getsockname()[1]
    return port

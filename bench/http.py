"""CPU of one POST to the CRM and of one poll of a run, over loopback.

`python -m bench.http` measures this tree, `python -m bench.http TREE …` several by turns, each with its
own `.venv`, and prints the ratio of each to the first. Trust the ratios: absolute times are the machine's.
"""

import asyncio
import contextlib
import json
import statistics
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import cast

from bench.serving import Send, serve
from worker.outbound.guard import Guard, GuardPolicy
from worker.platforms.connection import Connection
from worker.times import SystemClock

_ROUNDS = 5
_CRM_S = 0.05
_TICKET = b'[{"data": [{"resposta": [{"protocolo": "2510271534789012"}]}]}]'
_RUN = json.dumps(
    {"id": "run_1", "object": "thread.run", "status": "in_progress", "thread_id": "thread_1"}
).encode()
_BODY = json.dumps({"documento": "52998224725", "resumo": "Sem acesso ao portal " * 10}).encode()


class Attempts:
    """A ledger that always lets us send."""

    used = 0

    def alive(self) -> bool:
        return True

    async def begin(self) -> None: ...

    async def end(self, *, certain: bool, detail: str) -> None:
        raise AssertionError(detail)


def _answer(method: str, _path: str, _body: bytes, send: Send) -> None:
    """The other side: a ticket takes 50 ms, a poll no time."""
    if method == "POST":
        asyncio.get_running_loop().call_later(_CRM_S, send, 200, _TICKET)
    else:
        send(200, _RUN)


async def _cpu_ms(once: Callable[[], Awaitable[object]], at_once: int, count: int) -> float:
    """CPU for each of `count` requests, `at_once` under way; connecting and warming up are not counted."""

    async def some(number: int) -> None:
        for _ in range(number):
            await once()

    await asyncio.gather(*(some(3) for _ in range(at_once)))
    before = time.process_time()
    await asyncio.gather(*(some(count // at_once) for _ in range(at_once)))
    return (time.process_time() - before) / (count // at_once * at_once) * 1e3


async def _measure(port: int) -> dict[str, float]:
    server = f"http://127.0.0.1:{port}"
    policy = GuardPolicy(10, 3, 0.1, 1.0, 5, 30.0, concurrency=32, resend_ambiguous=False)
    guard = Guard(policy, SystemClock())
    platform = Connection(api_key="key", base_url=server, timeout_s=10.0)
    headers = {"Content-Type": "application/json; charset=utf-8", "Idempotency-Key": "tw-1"}

    async def post() -> object:
        return await guard.post(f"{server}/abrir_ticket", _BODY, headers, Attempts())  # type: ignore[arg-type]

    async def poll() -> object:
        return await platform.get("/threads/thread_1/runs/run_1")

    try:
        return {
            "POST, 4 at once": await _cpu_ms(post, 4, 200),
            "POST, 32 at once": await _cpu_ms(post, 32, 1600),
            "poll, 1 at once": await _cpu_ms(poll, 1, 1000),
            "poll, 20 at once": await _cpu_ms(poll, 20, 2000),
        }
    finally:
        await guard.aclose()
        await platform.aclose()


@contextlib.asynccontextmanager
async def _server() -> AsyncIterator[int]:
    """The other side in a process of its own; yields its port."""
    command = sys.executable, "-m", "bench.http", "--serve"
    process = await asyncio.create_subprocess_exec(*command, stdout=subprocess.PIPE)
    try:
        yield int(await cast(asyncio.StreamReader, process.stdout).readline())
    finally:
        process.terminate()
        await process.wait()


async def _measure_tree(tree: Path, port: int) -> dict[str, float]:
    command = tree / ".venv/bin/python", "-m", "bench.http", "--measure", str(port)
    process = await asyncio.create_subprocess_exec(*command, cwd=tree, stdout=subprocess.PIPE)
    output, _ = await process.communicate()
    measured: dict[str, float] = json.loads(output)
    return measured


async def _compare(trees: list[Path]) -> None:
    rounds: dict[Path, list[dict[str, float]]] = {tree: [] for tree in trees}
    async with _server() as port:
        for _ in range(_ROUNDS):
            for tree in trees:
                rounds[tree].append(await _measure_tree(tree, port))
    print(f"ms of CPU, median of {_ROUNDS} rounds by turns (least … most), ratio to the first tree")  # noqa: T201
    for name in rounds[trees[0]][0]:
        first = statistics.median(each[name] for each in rounds[trees[0]])
        for tree in trees:
            print(_row(name, tree, [each[name] for each in rounds[tree]], first))  # noqa: T201


def _row(name: str, tree: Path, values: list[float], first: float) -> str:
    median = statistics.median(values)
    spread = f"({min(values):.2f} … {max(values):.2f})"
    return f"{name:17} {median:5.2f} {spread:16} {median / first:5.2f}  {tree.name}"


def main(arguments: list[str]) -> None:
    """One of the three roles of this module."""
    match arguments:
        case ["--serve"]:
            asyncio.run(serve(_answer))
        case ["--measure", port]:
            print(json.dumps(asyncio.run(_measure(int(port)))))  # noqa: T201  # read by who compares
        case _:
            asyncio.run(_compare([Path(each).resolve() for each in arguments or ["."]]))


if __name__ == "__main__":
    main(sys.argv[1:])

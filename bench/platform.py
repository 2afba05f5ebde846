"""The platform, as a process: runs of the Assistants protocol, and when each waited and was answered.

Each of so many slots has one run at a time, which takes seeded random times: the same for every contender.
When a poll has shown that it completed, the slot's next run begins; it is announced to the worker over HTTP
by the bot in here, while other contenders just go on to it. A slot's first run begins when it is announced,
or looked at.
"""

import asyncio
import itertools
import json
import math
import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.serving import Send, as_json, serve
from bench.sockets import Sockets

_ANNOUNCING = 16
"""Requests of the bot to the worker at once."""

_SCHEMAS = Path(__file__).parents[1] / "schemas"
_INSTRUCTIONS = "Você atende clientes da TR Telecom pelo WhatsApp, em português, com cordialidade. " * 20


def run_id(slot: int, turn: int) -> str:
    """The run that a slot has at its turn."""
    return f"run_{slot}_{turn}"


def thread_id(slot: int) -> str:
    return f"thread_{slot}"


@dataclass(slots=True)
class _Run:
    acts_at: float
    works_s: float
    done_at: float = math.inf
    answered: bool = False


class Platform:
    """`POST /bench/go` begins a scene, `POST /bench/mark` tells what happened since the last mark."""

    def __init__(self) -> None:
        self._runs: dict[int, _Run] = {}
        self._turns: dict[int, int] = {}
        self._scene: dict[str, Any] = {}
        self._bot: _Bot | None = None
        self._seen: dict[str, Any] = {}
        self._shape = _shape()
        self._forget()

    def answer(self, method: str, path: str, body: bytes, send: Send) -> None:
        parts = path.split("/")
        if path.startswith("/bench/"):
            self._command(parts[2], json.loads(body), send)
        elif parts[2] != "threads":
            send(200, b'{"data": [], "object": "list"}')  # what is asked at start
        elif method == "GET":
            self._show(*_numbers(parts[5]), send)
        else:
            self._take(*_numbers(parts[5]), json.loads(body), send)

    # ------------------------------------------------------------------------------------------ the scene

    def _command(self, name: str, said: dict[str, Any], send: Send) -> None:
        if name == "go":
            self._scene, self._runs, self._bot = said, {}, None
            self._turns = dict.fromkeys(range(said["slots"]), 0)
            self._forget()
            send(200, b"{}")
        elif name == "announce":
            self._bot = _Bot(said["ports"], self._begin)
            self._bot.meet(said["slots"], lambda: send(200, b"{}"))
        else:
            send(200, as_json(self._seen | {"at": time.monotonic(), "watched": len(self._runs)}))
            self._forget()

    def _forget(self) -> None:
        self._seen = {"reads": 0, "ended": 0, "refused": 0, "waited": {}}

    # ------------------------------------------------------------------------------------------- the runs

    def _show(self, slot: int, turn: int, send: Send) -> None:
        self._seen["reads"] += 1
        now = time.monotonic()
        if turn != self._turns.get(slot):
            send(404, b'{"error": {"message": "No run found", "code": null}}')
            return
        run = self._begin(slot)
        status = "in_progress" if now < run.acts_at or run.answered else "requires_action"
        if now >= run.done_at:
            status = "completed"
            self._end(slot)
        send(200, self._body(slot, turn, status))

    def _begin(self, slot: int) -> _Run:
        """The slot's run: from now on, if it had not begun."""
        if slot not in self._runs:
            draw = random.Random(f"{slot} {self._turns[slot]}")  # noqa: S311  # the same times for every contender
            thinks, works = (
                draw.uniform(each["least_s"], each["most_s"])
                for each in (self._scene["thinks"], self._scene["works"])
            )
            self._runs[slot] = _Run(time.monotonic() + thinks, works)
        return self._runs[slot]

    def _end(self, slot: int) -> None:
        del self._runs[slot]
        self._turns[slot] += 1
        self._seen["ended"] += 1
        self._begin(slot)
        if self._bot:
            self._bot.announce(slot, self._turns[slot])

    def _take(self, slot: int, turn: int, said: dict[str, Any], send: Send) -> None:
        now, run = time.monotonic(), self._runs.get(slot)
        if run is None or turn != self._turns[slot] or run.answered or now < run.acts_at:
            self._seen["refused"] += 1
            send(400, b'{"error": {"message": "Runs in status do not accept tool outputs."}}')
            return
        if not json.loads(said["tool_outputs"][0]["output"])["success"]:
            self._seen["refused"] += 1
        self._seen["waited"][run_id(slot, turn)] = now - run.acts_at
        run.answered, run.done_at = True, now + run.works_s
        send(200, self._body(slot, turn, "queued"))

    def _body(self, slot: int, turn: int, status: str) -> bytes:
        action = "null"
        if status == "requires_action":
            resumo = f"#{run_id(slot, turn)}# Cliente enviou o comprovante de pagamento da fatura do mês."
            arguments = {"resumo": resumo, "setor": "FINANCEIRO", "motivo": "INFORMAR PAGAMENTO"}
            function = {"name": "abrir_ticket_crm", "arguments": json.dumps(arguments)}
            call = {"id": f"call_{slot}_{turn}", "type": "function", "function": function}
            action = json.dumps(
                {"type": "submit_tool_outputs", "submit_tool_outputs": {"tool_calls": [call]}}
            )
        before, after = self._shape
        own = f'"id":"{run_id(slot, turn)}","thread_id":"{thread_id(slot)}","status":"{status}"'
        return f'{before}{own},{self._expires()},"required_action":{action},{after}'.encode()

    def _expires(self) -> str:
        created = int(time.time()) - 5
        return f'"created_at":{created},"started_at":{created},"expires_at":{created + 600}'


def _numbers(run: str) -> tuple[int, int]:
    _, slot, turn = run.split("_")
    return int(slot), int(turn)


def _shape() -> tuple[str, str]:
    """What all runs have in common: instructions and tools of a usual size (some 6 kB)."""
    names = ("abrir_ticket_crm", "transferir_para_humano")
    schemas = [json.loads((_SCHEMAS / f"{name}.json").read_text(encoding="utf-8")) for name in names]
    rest: dict[str, Any] = {
        "assistant_id": "asst_bench",
        "completed_at": None,
        "cancelled_at": None,
        "failed_at": None,
        "last_error": None,
        "incomplete_details": None,
        "model": "gpt-4o",
        "instructions": _INSTRUCTIONS,
        "tools": [{"type": "function", "function": schema} for schema in schemas],
        "metadata": {},
        "parallel_tool_calls": True,
        "tool_choice": "auto",
        "usage": None,
    }
    return '{"object":"thread.run",', json.dumps(rest, ensure_ascii=False)[1:]


class _Bot:
    """Tells the workers of runs as a bot does: each conversation once, each run when it begins."""

    def __init__(self, ports: list[int], begin: Callable[[int], object]) -> None:
        self._begin_run = begin
        self._workers = itertools.cycle([Sockets(port) for port in ports])
        self._room = asyncio.Semaphore(_ANNOUNCING)
        self._tasks: set[asyncio.Task[None]] = set()

    def meet(self, slots: int, done: Any) -> None:
        """Hand over all conversations, then their first runs; `done()` once every one is announced."""
        self._begin(self._meet(slots, done))

    def announce(self, slot: int, turn: int) -> None:
        self._begin(self._announce(slot, turn))

    def _begin(self, work: Any) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _meet(self, slots: int, done: Any) -> None:
        await asyncio.gather(*map(self._introduce, range(slots)))
        await asyncio.gather(*(self._announce_first(slot) for slot in range(slots)))
        done()

    async def _introduce(self, slot: int) -> None:
        known = {"thread_id": thread_id(slot), "client_document": cpf(slot), "contact": f"5524{slot:09}"}
        async with self._room:
            await next(self._workers).ask("PUT", f"/v1/conversations/c{slot}", known)

    async def _announce_first(self, slot: int) -> None:
        self._begin_run(slot)
        await self._announce(slot, 0)

    async def _announce(self, slot: int, turn: int) -> None:
        said = {"conversation_id": f"c{slot}", "run_id": run_id(slot, turn)}
        async with self._room:
            await next(self._workers).ask("POST", "/v1/runs", said)


def cpf(number: int) -> str:
    """A CPF with right check digits."""
    digits = [int(digit) for digit in f"{number + 1:09}"]
    for _ in range(2):
        weighted = sum(digit * weight for digit, weight in zip(reversed(digits), range(2, 12), strict=False))
        digits.append(-weighted % 11 % 10)
    return "".join(map(str, digits))


if __name__ == "__main__":
    asyncio.run(serve(Platform().answer))

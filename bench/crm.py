"""The CRM, as a process: one protocolo a ticket after a fixed time, and how long each one took here."""

import asyncio
import json
import time
from typing import Any

from bench.serving import Send, as_json, serve


class Crm:
    """Answers tickets after `latency_s`; `POST /bench/go` sets it, `POST /bench/mark` tells what was."""

    def __init__(self) -> None:
        self._latency_s = 0.0
        self._opened = 0
        self._took: dict[str, float] = {}

    def answer(self, method: str, path: str, body: bytes, send: Send) -> None:
        asked = json.loads(body or b"{}")
        if path == "/bench/go":
            self._latency_s = asked["latency_s"]
            send(200, b"{}")
        elif path == "/bench/mark":
            took, self._took = self._took, {}
            send(200, as_json({"took": took, "opened": self._opened}))
        else:
            self._later(asked, send)

    def _later(self, ticket: dict[str, Any], send: Send) -> None:
        """The resumo's first word after any prefix names the run: see `bench.platform`."""
        began, run_id = time.monotonic(), ticket["resumo"].partition("#")[2].partition("#")[0]
        self._opened += 1
        protocolo = f"{2510270000000000 + self._opened}"
        answer = as_json([{"data": [{"resposta": [{"protocolo": protocolo}]}]}])

        def open_it() -> None:
            self._took[run_id] = time.monotonic() - began
            send(200, answer)

        if self._latency_s:
            asyncio.get_running_loop().call_later(self._latency_s, open_it)
        else:
            open_it()


if __name__ == "__main__":
    asyncio.run(serve(Crm().answer))

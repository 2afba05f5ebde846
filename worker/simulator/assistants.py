"""The simulated platform: the Assistants v2 protocol over HTTP, its assistants played by a script."""

import asyncio
from collections import Counter
from typing import Any

from starlette.requests import Request

from worker.simulator.clock import Clock
from worker.simulator.conversations import Conversations
from worker.simulator.faults import Desk, Faults, Sleep
from worker.simulator.platform import PlatformApp, presets
from worker.simulator.registry import Registry
from worker.simulator.runs import Timings, refused
from worker.simulator.scripts import Script, decide

PRESETS = presets("retrieve_run", "submit_tool_outputs", "No run found")
"""The platform's faults that have a name. `on` is an operation's name (`operations()` lists them)."""


class AssistantsSimulator:
    """A platform to be served: `async with serve(simulator.app) as url`.

    `base`: the path before the protocol's own (Foundry has one); `/v1` after it is accepted and not needed.
    `require_api_version`: refuse requests without the `api-version` query, as Foundry does.
    """

    def __init__(
        self,
        *,
        script: Script = decide,
        timings: Timings | None = None,
        clock: Clock | None = None,
        base: str = "",
        require_api_version: bool = False,
        sleep: Sleep = asyncio.sleep,
    ) -> None:
        self.clock = clock or Clock()
        self.faults = Faults(PRESETS)
        self.registry = Registry(self.clock)
        self.conversations = Conversations(self.registry, self.clock, script, timings or Timings())
        self._require_api_version = require_api_version
        desk = Desk(self.faults, self.clock, sleep)
        self.requests = desk.requests
        self.app = PlatformApp(
            desk,
            (self.registry, self.conversations),
            self.conversations,
            self._state,
            base=base,
            check=self._check,
        )

    def _check(self, request: Request) -> None:
        if self._require_api_version and not request.query_params.get("api-version"):
            raise refused("Missing required query parameter: api-version", code="MissingApiVersionParameter")

    def _state(self) -> dict[str, Any]:
        runs = [run for thread in self.conversations.threads.values() for run in thread.runs]
        for run in runs:
            run.advance(self.clock.now())
        return {
            "assistants": {item["name"]: item["id"] for item in self.registry.assistants.values()},
            "threads": len(self.conversations.threads),
            "runs": Counter(run.status for run in runs),
        }

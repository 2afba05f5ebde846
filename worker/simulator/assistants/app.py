"""The simulated Assistants v2 API over HTTP, its assistants played by a script."""

from collections import Counter
from typing import Any, Unpack

from starlette.requests import Request

from worker.simulator.assistants.conversations import Conversations
from worker.simulator.assistants.files import Files
from worker.simulator.assistants.registry import Registry
from worker.simulator.assistants.runs import Timings, invalid_request
from worker.simulator.platform import SimulatedPlatform, SimulatorOptions, presets
from worker.simulator.script import Script, decide

PRESETS = presets("retrieve_run", "submit_tool_outputs", "No run found")
"""The platform's named faults. `on` is an operation's name (`operations()` lists them)."""


class AssistantsSimulator(SimulatedPlatform):
    """A platform to be served. Its protocol has no webhooks.

    `require_api_version`: refuse requests without the `api-version` query, as Foundry does.
    """

    def __init__(
        self,
        *,
        script: Script = decide,
        timings: Timings | None = None,
        require_api_version: bool = False,
        **common: Unpack[SimulatorOptions],
    ) -> None:
        super().__init__(PRESETS, **common)
        self.registry = Registry(self.clock)
        self.files = Files(self.clock)
        self.conversations = Conversations(
            self.registry, self.files, self.clock, script, timings or Timings()
        )
        self._require_api_version = require_api_version
        parts = (self.registry, self.conversations, self.files)
        self._build_app(self.conversations, parts, check=self._check)

    def _check(self, request: Request) -> None:
        if self._require_api_version and not request.query_params.get("api-version"):
            raise invalid_request(
                "Missing required query parameter: api-version", code="MissingApiVersionParameter"
            )

    def _state(self) -> dict[str, Any]:
        runs = [run for thread in self.conversations.threads.values() for run in thread.runs]
        for run in runs:
            run.advance(self.clock.now())
        return {
            "assistants": {item["name"]: item["id"] for item in self.registry.assistants.values()},
            "threads": len(self.conversations.threads),
            "runs": Counter(run.status for run in runs),
        }

"""The simulated platform: the Responses API over HTTP, its model played by a script."""

import asyncio
import json
from collections import Counter
from typing import Any

from worker.simulator.clock import Clock
from worker.simulator.faults import Desk, Fault, Faults, Sleep
from worker.simulator.generation import conversation_locked
from worker.simulator.platform import PlatformApp, presets
from worker.simulator.response_operations import ConversationOperations, ResponseOperations
from worker.simulator.runs import Timings
from worker.simulator.scripts import Script, decide
from worker.simulator.webhooks import Webhooks

PRESETS = {
    **presets("retrieve_response", "create_response", "Response not found"),
    "locked": Fault(
        on="create_response",
        status=400,
        body=json.dumps(conversation_locked().body),
        content_type="application/json",
    ),
}
"""The platform's faults that have a name. `on` is an operation's name (`operations()` lists them)."""


class ResponsesSimulator:
    """A platform to be served: `async with serve(simulator.app) as url`.

    `base`: the path before the protocol's own; `/v1` after it is accepted and not needed. Where the end of a
    background response is told to: `webhook_url`, signed with `webhook_secret` (`whsec_…`).
    """

    def __init__(
        self,
        *,
        script: Script = decide,
        timings: Timings | None = None,
        clock: Clock | None = None,
        base: str = "",
        webhook_url: str | None = None,
        webhook_secret: str | None = None,
        sleep: Sleep = asyncio.sleep,
    ) -> None:
        self.clock = clock or Clock()
        self.faults = Faults(PRESETS)
        self.webhooks = Webhooks(self.clock, url=webhook_url, secret=webhook_secret, sleep=sleep)
        self.conversations = ConversationOperations(self.clock)
        self.responses = ResponseOperations(
            self.conversations, self.clock, script, timings or Timings(), self.webhooks
        )
        desk = Desk(self.faults, self.clock, sleep)
        self.requests = desk.requests
        self.app = PlatformApp(
            desk,
            (self.responses, self.conversations),
            self.responses,
            self._state,
            base=base,
            lifespan=self.webhooks.lifespan(self.responses.advance),
        )

    def _state(self) -> dict[str, Any]:
        self.responses.advance()
        return {
            "conversations": len(self.conversations.kept),
            "responses": Counter(item.status for item in self.responses.kept.values()),
            "webhook_url": self.webhooks.url,
        }

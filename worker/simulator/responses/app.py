"""The simulated Responses API over HTTP, its model played by a script."""

import json
from collections import Counter
from typing import Any, Unpack

from worker.simulator.assistants.runs import Timings
from worker.simulator.faults import Fault
from worker.simulator.platform import WebhookOptions, WebhookPlatform, presets
from worker.simulator.responses.generation import conversation_locked
from worker.simulator.responses.operations import ConversationOperations, ResponseOperations
from worker.simulator.script import Script, decide

PRESETS = {
    **presets("retrieve_response", "create_response", "Response not found"),
    "locked": Fault(
        on="create_response",
        status=400,
        body=json.dumps(conversation_locked().body),
        content_type="application/json",
    ),
}
"""The platform's named faults. `on` is an operation's name (`operations()` lists them)."""


class ResponsesSimulator(WebhookPlatform):
    """A platform to be served. It sends a webhook when a background response ends."""

    def __init__(
        self, *, script: Script = decide, timings: Timings | None = None, **common: Unpack[WebhookOptions]
    ) -> None:
        super().__init__(PRESETS, **common)
        self.conversations = ConversationOperations(self.clock)
        self.responses = ResponseOperations(
            self.conversations, self.clock, script, timings or Timings(), self.webhooks
        )
        lifespan = self.webhooks.lifespan(self.responses.advance)
        self._build_app(self.responses, (self.responses, self.conversations), lifespan=lifespan)

    def _state(self) -> dict[str, Any]:
        self.responses.advance()
        return {
            "conversations": len(self.conversations.by_id),
            "responses": Counter(item.status for item in self.responses.by_id.values()),
            "webhook_url": self.webhooks.url,
        }

"""The simulated platform: the Responses API over HTTP, its model played by a script."""

import json
from collections import Counter
from typing import Any, Unpack

from worker.simulator.assistants.runs import Timings
from worker.simulator.faults import Fault
from worker.simulator.platform import Telling, TellingPlatform, presets
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
"""The platform's faults that have a name. `on` is an operation's name (`operations()` lists them)."""


class ResponsesSimulator(TellingPlatform):
    """A platform to be served, which tells by webhook how a background response ended."""

    def __init__(
        self, *, script: Script = decide, timings: Timings | None = None, **common: Unpack[Telling]
    ) -> None:
        super().__init__(PRESETS, **common)
        self.conversations = ConversationOperations(self.clock)
        self.responses = ResponseOperations(
            self.conversations, self.clock, script, timings or Timings(), self.webhooks
        )
        lifespan = self.webhooks.lifespan(self.responses.advance)
        self._open(self.responses, (self.responses, self.conversations), lifespan=lifespan)

    def _state(self) -> dict[str, Any]:
        self.responses.advance()
        return {
            "conversations": len(self.conversations.kept),
            "responses": Counter(item.status for item in self.responses.kept.values()),
            "webhook_url": self.webhooks.url,
        }

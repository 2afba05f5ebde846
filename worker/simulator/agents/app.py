"""The simulated OpenAI Agents API over HTTP: sessions whose agents are played by a script.

Sandboxes, subagents, event streams and vaults are left out. Where OpenAI does not document the behaviour,
this server is strict: it requires the `OpenAI-Beta` header, and a failed session accepts no message.
"""

from collections import Counter
from typing import Any, Unpack

from starlette.requests import Request

from worker.simulator.agents import wire
from worker.simulator.agents.operations import Sessions
from worker.simulator.agents.saved_agents import SavedAgents
from worker.simulator.agents.sessions import Session, SessionTimings
from worker.simulator.assistants.runs import invalid_request
from worker.simulator.platform import WebhookOptions, WebhookPlatform, presets
from worker.simulator.script import Script, decide

PRESETS = presets("retrieve_session", "create_events", "No session found")
"""The platform's named faults. `on` is an operation's name (`operations()` lists them)."""


class AgentsSimulator(WebhookPlatform):
    """A platform to be served. It sends a webhook for each action that a session requires."""

    def __init__(
        self,
        *,
        script: Script = decide,
        timings: SessionTimings | None = None,
        **common: Unpack[WebhookOptions],
    ) -> None:
        super().__init__(PRESETS, **common)
        self.agents = SavedAgents(self.clock)
        self.sessions = Sessions(
            self.agents, self.clock, script, timings or SessionTimings(), self._send_webhooks
        )
        lifespan = self.webhooks.lifespan(self.sessions.advance)
        self._build_app(self.sessions, (self.sessions, self.agents), check=_check, lifespan=lifespan)

    def _send_webhooks(self, session: Session) -> None:
        """Send one event for each required action. OpenAI does not document how many it sends."""
        for action in wire.required_actions(session):
            data = {"id": session.id, "required_action": {"type": action["type"]}}
            self.webhooks.send("agent.session.action_required", data)

    def _state(self) -> dict[str, Any]:
        self.sessions.advance()
        return {
            "agents": {agent["name"]: agent["id"] for agent in self.agents.agents.values()},
            "sessions": Counter(session.status for session in self.sessions.sessions.values()),
        }


def _check(request: Request) -> None:
    if request.headers.get("openai-beta") != "agents=v1":
        raise invalid_request("You must provide the 'OpenAI-Beta: agents=v1' header.", code="invalid_beta")

"""The simulated OpenAI Agents API over HTTP: sessions whose agents are played by a script.

What it leaves out: sandboxes, subagents, event streams, vaults. Where OpenAI does not say what happens it is
a strict server: the `OpenAI-Beta` header is required, a failed session takes no message.
"""

from collections import Counter
from typing import Any, Unpack

from starlette.requests import Request

from worker.simulator.agents import wire
from worker.simulator.agents.operations import Sessions
from worker.simulator.agents.saved_agents import SavedAgents
from worker.simulator.agents.sessions import Session, SessionTimings
from worker.simulator.assistants.runs import refused
from worker.simulator.platform import Telling, TellingPlatform, presets
from worker.simulator.script import Script, decide

PRESETS = presets("retrieve_session", "create_events", "No session found")
"""The platform's faults that have a name. `on` is an operation's name (`operations()` lists them)."""


class AgentsSimulator(TellingPlatform):
    """A platform to be served, which tells by webhook whatever a session waits for."""

    def __init__(
        self,
        *,
        script: Script = decide,
        timings: SessionTimings | None = None,
        **common: Unpack[Telling],
    ) -> None:
        super().__init__(PRESETS, **common)
        self.agents = SavedAgents(self.clock)
        self.sessions = Sessions(self.agents, self.clock, script, timings or SessionTimings(), self._tell)
        lifespan = self.webhooks.lifespan(self.sessions.advance)
        self._open(self.sessions, (self.sessions, self.agents), check=_check, lifespan=lifespan)

    def _tell(self, session: Session) -> None:
        """One event for each thing it waits for: how many there are is not documented."""
        for action in wire.required_actions(session):
            data = {"id": session.id, "required_action": {"type": action["type"]}}
            self.webhooks.tell("agent.session.action_required", data)

    def _state(self) -> dict[str, Any]:
        self.sessions.advance()
        return {
            "agents": {agent["name"]: agent["id"] for agent in self.agents.agents.values()},
            "sessions": Counter(session.status for session in self.sessions.sessions.values()),
        }


def _check(request: Request) -> None:
    if request.headers.get("openai-beta") != "agents=v1":
        raise refused("You must provide the 'OpenAI-Beta: agents=v1' header.", code="invalid_beta")

"""The simulated OpenAI Agents API over HTTP: sessions whose agents are played by a script.

What it leaves out: sandboxes, subagents, event streams, vaults. Where OpenAI does not say what happens it is
a strict server: the `OpenAI-Beta` header is required, a failed session takes no message.
"""

import asyncio
from collections import Counter
from typing import Any

from starlette.requests import Request

from worker.simulator import session_wire
from worker.simulator.clock import Clock
from worker.simulator.faults import Desk, Faults, Sleep
from worker.simulator.platform import PlatformApp, presets
from worker.simulator.runs import refused
from worker.simulator.saved_agents import SavedAgents
from worker.simulator.scripts import Script, decide
from worker.simulator.session_operations import Sessions
from worker.simulator.sessions import Session, SessionTimings
from worker.simulator.webhooks import Webhooks

PRESETS = presets("retrieve_session", "create_events", "No session found")
"""The platform's faults that have a name. `on` is an operation's name (`operations()` lists them)."""


class AgentsSimulator:
    """A platform to be served: `async with serve(simulator.app) as url`.

    `base`: the path before the protocol's own; `/v1` after it is accepted and not needed. Whatever a session
    waits for is told to `webhook_url`, signed with `webhook_secret` (`whsec_…`); both are in `webhooks`, too.
    """

    def __init__(
        self,
        *,
        script: Script = decide,
        timings: SessionTimings | None = None,
        clock: Clock | None = None,
        base: str = "",
        webhook_url: str | None = None,
        webhook_secret: str | None = None,
        sleep: Sleep = asyncio.sleep,
    ) -> None:
        self.clock = clock or Clock()
        self.faults = Faults(PRESETS)
        self.webhooks = Webhooks(self.clock, url=webhook_url, secret=webhook_secret, sleep=sleep)
        self.agents = SavedAgents(self.clock)
        self.sessions = Sessions(self.agents, self.clock, script, timings or SessionTimings(), self._tell)
        desk = Desk(self.faults, self.clock, sleep)
        self.requests = desk.requests
        self.app = PlatformApp(
            desk,
            (self.sessions, self.agents),
            self.sessions,
            self._state,
            base=base,
            check=_check,
            lifespan=self.webhooks.lifespan(self.sessions.advance),
        )

    def _tell(self, session: Session) -> None:
        """One event for each thing it waits for: how many there are is not documented."""
        for action in session_wire.required_actions(session):
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

"""The saved agents of the simulated platform, stored in the shape of their responses."""

from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from worker.simulator.agents.agent_bodies import AgentChange, NewAgent, configured
from worker.simulator.assistants import wire
from worker.simulator.assistants.bodies import read
from worker.simulator.assistants.runs import invalid_request, new_id
from worker.simulator.clock import Clock
from worker.simulator.platform import OperationRow

Json = dict[str, Any]

AGENTS = {
    "FINANCEIRO": "agent_FinanceiroSimulado000001",
    "SUPORTE": "agent_SuporteSimulado000000001",
    "RECEPÇÃO": "agent_RecepcaoSimulada00000001",
    "MENTIROSO": "agent_mentiroso",
}
"""The agents that exist from the start. The last one lies."""


class SavedAgents:
    """Agents by id, and the operations on them. A change applies only to sessions created after it."""

    def __init__(self, clock: Clock) -> None:
        self.agents: dict[str, Json] = {}
        self._clock = clock
        for name, agent_id in AGENTS.items():
            self._store(NewAgent(model="gpt-5.5", name=name), agent_id)

    def operations(self) -> tuple[OperationRow, ...]:
        """Name, method, path and handler."""
        path = "/agents/{agent_id}"
        return (
            ("list_agents", "GET", "/agents", self._list),
            ("create_agent", "POST", "/agents", self._create),
            ("retrieve_agent", "GET", path, self._retrieve),
            ("update_agent", "POST", path, self._update),
            ("delete_agent", "DELETE", path, self._delete),
        )

    def get(self, agent_id: str) -> Json:
        """Raises `ApiError` 404."""
        if agent_id not in self.agents:
            raise invalid_request(f"No agent found with id '{agent_id}'.", 404)
        return self.agents[agent_id]

    def _store(self, body: NewAgent, agent_id: str) -> Json:
        now = int(self._clock.now())
        fixed = {"id": agent_id, "object": "agent", "created_at": now, "updated_at": now}
        self.agents[agent_id] = {**fixed, **configured(body.changes())}
        return self.agents[agent_id]

    async def _list(self, request: Request) -> Response:
        return JSONResponse(wire.page(list(self.agents.values()), request.query_params, lambda item: item))

    async def _create(self, request: Request) -> Response:
        return JSONResponse(self._store(read(NewAgent, await request.body()), new_id("agent")))

    async def _retrieve(self, request: Request) -> Response:
        return JSONResponse(self.get(request.path_params["agent_id"]))

    async def _update(self, request: Request) -> Response:
        stored = self.get(request.path_params["agent_id"])
        changes = read(AgentChange, await request.body()).changes()
        changed = {**configured(changes, stored), "updated_at": int(self._clock.now())}
        self.agents[stored["id"]] = changed
        return JSONResponse(changed)

    async def _delete(self, request: Request) -> Response:
        stored = self.get(request.path_params["agent_id"])
        del self.agents[stored["id"]]
        return JSONResponse({"id": stored["id"], "object": "agent.deleted", "deleted": True})

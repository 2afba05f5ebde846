"""The assistants of the simulated platform, stored in the shape of their responses."""

from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from worker.simulator.assistants import wire
from worker.simulator.assistants.bodies import AssistantChange, NewAssistant, read
from worker.simulator.assistants.runs import invalid_request, new_id
from worker.simulator.clock import Clock
from worker.simulator.faults import Handler

Json = dict[str, Any]

ASSISTANTS = {
    "FINANCEIRO": "asst_pRXVhoy1o4YxNxVmaRiNOTMX",
    "SUPORTE": "asst_aF7OvhbUuSfM8qUdR2JEFBhM",
    "RECEPÇÃO": "asst_RecepcaoSimulada0000001",
    "MENTIROSO": "asst_mentiroso",
}
"""The assistants that exist from the start: the mission's two, a reception, and one that lies."""


class Registry:
    """Assistants by id, and the operations on them."""

    def __init__(self, clock: Clock) -> None:
        self.assistants: dict[str, Json] = {}
        self._clock = clock
        for name, assistant_id in ASSISTANTS.items():
            self._store(NewAssistant(model="gpt-4o", name=name), assistant_id)

    def operations(self) -> tuple[tuple[str, str, str, Handler], ...]:
        """Name, method, path and handler."""
        path = "/assistants/{assistant_id}"
        return (
            ("list_assistants", "GET", "/assistants", self._list),
            ("create_assistant", "POST", "/assistants", self._create),
            ("retrieve_assistant", "GET", path, self._retrieve),
            ("update_assistant", "POST", path, self._update),
            ("delete_assistant", "DELETE", path, self._delete),
        )

    def get(self, assistant_id: str) -> Json:
        """Raises `ApiError` 404."""
        if assistant_id not in self.assistants:
            raise invalid_request(f"No assistant found with id '{assistant_id}'.", 404)
        return self.assistants[assistant_id]

    def _store(self, body: NewAssistant, assistant_id: str) -> Json:
        fixed = {"id": assistant_id, "object": "assistant", "created_at": int(self._clock.now())}
        self.assistants[assistant_id] = {**fixed, **body.model_dump(exclude={"reasoning_effort"})}
        return self.assistants[assistant_id]

    async def _list(self, request: Request) -> Response:
        return JSONResponse(
            wire.page(list(self.assistants.values()), request.query_params, lambda item: item)
        )

    async def _create(self, request: Request) -> Response:
        return JSONResponse(self._store(read(NewAssistant, await request.body()), new_id("asst")))

    async def _retrieve(self, request: Request) -> Response:
        return JSONResponse(self.get(request.path_params["assistant_id"]))

    async def _update(self, request: Request) -> Response:
        stored = self.get(request.path_params["assistant_id"])
        change = read(AssistantChange, await request.body())
        stored.update(change.model_dump(exclude_unset=True, exclude={"reasoning_effort"}))
        return JSONResponse(stored)

    async def _delete(self, request: Request) -> Response:
        stored = self.get(request.path_params["assistant_id"])
        del self.assistants[stored["id"]]
        return JSONResponse({"id": stored["id"], "object": "assistant.deleted", "deleted": True})

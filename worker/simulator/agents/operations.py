"""The operations on the sessions of the simulated Agents API."""

import re
from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from worker.simulator.agents import wire
from worker.simulator.agents.agent_bodies import configured
from worker.simulator.agents.saved_agents import SavedAgents
from worker.simulator.agents.session_bodies import (
    ApprovalEvent,
    MessageEvent,
    NewEvents,
    NewSession,
    SessionChange,
    ToolResultEvent,
)
from worker.simulator.agents.sessions import Session, SessionTimings, Turn
from worker.simulator.assistants.bodies import read
from worker.simulator.assistants.runs import invalid_request, new_id
from worker.simulator.assistants.wire import page
from worker.simulator.clock import Clock
from worker.simulator.platform import OperationRow
from worker.simulator.script import Script, script_for

Json = dict[str, Any]

_SNAPSHOT = (
    "id",
    "compaction",
    "experimental",
    "instructions",
    "model",
    "multi_agent",
    "name",
    "reasoning",
    "service_tier",
    "text",
    "tools",
)
_LONGEST_KEY = 256


class Sessions:
    """Sessions by id, and the operations on them.

    `script`, `timings` and `also_requires` apply to sessions created later.
    """

    def __init__(
        self,
        agents: SavedAgents,
        clock: Clock,
        script: Script,
        timings: SessionTimings,
        on_waiting: Callable[[Session], None],
    ) -> None:
        self.sessions: dict[str, Session] = {}
        self.script = script
        self.timings = timings
        #: Actions of other kinds (for example approvals) that every round of calls also waits for.
        self.also_requires: Sequence[Json] = ()
        self._agents = agents
        self._clock = clock
        self._on_waiting = on_waiting

    def operations(self) -> tuple[OperationRow, ...]:
        """Name, method, path and handler."""
        all_sessions = "/agents/sessions"
        path = f"{all_sessions}/{{session_id}}"
        turn = f"{path}/turns/{{turn_id}}"
        return (
            ("list_sessions", "GET", all_sessions, self._list),
            ("create_session", "POST", all_sessions, self._create),
            ("retrieve_session", "GET", path, self._retrieve),
            ("update_session", "POST", path, self._update),
            ("delete_session", "DELETE", path, self._delete),
            ("create_events", "POST", f"{path}/events", self._create_events),
            ("list_items", "GET", f"{path}/items", self._list_items),
            ("list_turns", "GET", f"{path}/turns", self._list_turns),
            ("retrieve_turn", "GET", turn, self._retrieve_turn),
            ("list_turn_items", "GET", f"{turn}/items", self._list_turn_items),
        )

    def session(self, session_id: str) -> Session:
        """A session in its current state. Raises `ApiError` 404."""
        if session_id not in self.sessions:
            raise invalid_request(f"No session found with id '{session_id}'.", 404)
        self.sessions[session_id].advance(self._clock.now())
        return self.sessions[session_id]

    def advance(self) -> None:
        """Apply the due changes in every session."""
        for session in self.sessions.values():
            session.advance(self._clock.now())

    # ------------------------------------------------------------------------------------------ sessions

    def _session_in(self, request: Request) -> Session:
        return self.session(request.path_params["session_id"])

    async def _list(self, request: Request) -> Response:
        self.advance()
        matching = [session for session in self.sessions.values() if _matches(session, request.query_params)]
        return JSONResponse(page(matching, request.query_params, wire.session))

    async def _create(self, request: Request) -> Response:
        body = read(NewSession, await request.body())
        now = self._clock.now()
        session = Session(
            self._snapshot(body),
            body.settings(),
            script_for(body.agent_id or "", self.script),
            self.timings,
            now,
            spend_limit=body.spend_control.limit if body.spend_control else None,
            also_requires=self.also_requires,
            on_waiting=self._on_waiting,
        )
        for content in body.messages():
            session.add_message(content, now)
        self.sessions[session.id] = session
        return JSONResponse(wire.session(session))

    def _snapshot(self, body: NewSession) -> Json:
        """The agent's current configuration with this session's changes."""
        changes = body.agent.changes() if body.agent else {}
        saved = self._agents.get(body.agent_id) if body.agent_id else configured({"id": new_id("agent")})
        agent = configured(changes, saved)
        if not agent.get("model"):
            raise invalid_request(
                "Missing required parameter: 'agent.model'.", code="missing_required_parameter"
            )
        return {name: deepcopy(agent[name]) for name in _SNAPSHOT}

    async def _retrieve(self, request: Request) -> Response:
        return JSONResponse(wire.session(self._session_in(request)))

    async def _update(self, request: Request) -> Response:
        session = self._session_in(request)
        body = read(SessionChange, await request.body())
        if body.agent:
            session.agent = configured(body.agent.changes(), session.agent)
        session.settings.update(body.settings())
        if "spend_control" in body.model_fields_set:
            session.set_budget(body.spend_control.limit if body.spend_control else None, self._clock.now())
        return JSONResponse(wire.session(session))

    async def _delete(self, request: Request) -> Response:
        session = self._session_in(request)
        if session.turn:
            raise invalid_request("The session has a running execution: cancel it first.", 409)
        del self.sessions[session.id]
        return JSONResponse({"id": session.id, "object": "agent.session.deleted", "deleted": True})

    # -------------------------------------------------------------------------------------------- events

    async def _create_events(self, request: Request) -> Response:
        """Accept events (202). A repeated key has no effect, and is refused with a different body."""
        session, raw = self._session_in(request), await request.body()
        key = request.headers.get("idempotency-key")
        if key is not None and not 1 <= len(key) <= _LONGEST_KEY:
            raise invalid_request("Invalid 'Idempotency-Key': expected 1 to 256 characters.")
        if key is None or key not in session.idempotency_keys:
            self._apply_events(session, read(NewEvents, raw))
        elif session.idempotency_keys[key] != raw:
            raise invalid_request("This Idempotency-Key was used with another body.", 409)
        if key is not None:
            session.idempotency_keys[key] = raw
        return Response(status_code=202)

    def _apply_events(self, session: Session, body: NewEvents) -> None:
        now = self._clock.now()
        for event in body.events:
            match event:
                case MessageEvent():
                    for message in event.input:
                        session.add_message(message.parts(), now)
                case ToolResultEvent():
                    session.accept(event.turn_id, event.call_id, event.result(), now)
                case ApprovalEvent():
                    session.decide(event.request_id, now)
                case _:
                    session.cancel(now)

    # --------------------------------------------------------------------------------- turns and history

    def _turn(self, request: Request) -> Turn:
        for turn in self._session_in(request).turns:
            if turn.id == request.path_params["turn_id"]:
                return turn
        raise invalid_request(f"No turn found with id '{request.path_params['turn_id']}'.", 404)

    async def _list_turns(self, request: Request) -> Response:
        return JSONResponse(page(self._session_in(request).turns, request.query_params, wire.turn))

    async def _retrieve_turn(self, request: Request) -> Response:
        return JSONResponse(wire.turn(self._turn(request)))

    async def _list_items(self, request: Request) -> Response:
        items = self._session_in(request).history.items
        return JSONResponse(page(items, request.query_params, lambda item: item))

    async def _list_turn_items(self, request: Request) -> Response:
        turn = self._turn(request)
        items = [item for item in turn.session.history.items if item["turn_id"] == turn.id]
        return JSONResponse(page(items, request.query_params, lambda item: item))


def _matches(session: Session, query: Mapping[str, str]) -> bool:
    """The session matches the query's `agent_id` and every `metadata[key]`."""
    metadata_filters = {
        match[1]: value for name, value in query.items() if (match := re.fullmatch(r"metadata\[(.*)\]", name))
    }
    metadata = session.settings["metadata"]
    return (
        query.get("agent_id") in {None, session.agent["id"]} and metadata_filters.items() <= metadata.items()
    )

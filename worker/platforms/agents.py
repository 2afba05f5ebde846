"""The OpenAI Agents API: a run is a session. After a turn it is idle; the next message starts a new turn."""

import asyncio
import contextlib
import hashlib
import re
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from typing import Any
from urllib.parse import quote

from worker.errors import PlatformError, PlatformUnavailable, RunGone
from worker.model import (
    Answer,
    RunRef,
    RunSnapshot,
    RunStatus,
    Spoken,
    ThreadRule,
    ToolCall,
    Traits,
    Utterance,
)
from worker.platforms import dialogue, payloads
from worker.platforms.connection import Connection
from worker.platforms.credentials import credentials
from worker.platforms.definitions import Envelope, Json, Stored, connection
from worker.platforms.entra import EntraToken
from worker.platforms.spec import PlatformSpec
from worker.ports import Dialogue

_ENDINGS = {"idle": "ociosa", "failed": "falhou", "budget_reached": "limite_de_gasto"}
"""A session at its spending limit is paused. After the limit is raised, discovery finds it active again."""

_ACTIVE = {"in_progress", "requires_action"}
_NOT_PENDING = re.compile("Unknown pending tool call", re.IGNORECASE)
_REGISTRATION_WAITS_S = (0.1, 0.3, 0.6)
"""Delays while the events endpoint does not know a call that is shown already: the SDK's own values."""

_TURN_WAITS_S = (0.1, 0.2, 0.4, 0.8, 1.5, 3.0)
"""Delays while the turn of an accepted message has not begun."""

_TURN_ENDINGS = {"cancelled": "cancelada", "failed": "falhou"}

_ENVELOPE = Envelope(nested=False, strict=False)

_BETA = "agents=v1"
"""`OpenAI-Beta` of this protocol."""


class AgentsPlatform:
    """Implements `worker.ports.Platform`. Polls are not retried here: the loop polls again.

    It uses the SDK's generic calls: importing its Agents resources takes a second of CPU.
    """

    name = "agents"
    traits = Traits(
        ThreadRule.IS_THE_RUN,
        one_by_one=True,
        settling_s=15.0,  # contract §3: a message just sent may find its session still idle
        # No expiry of sessions or calls is documented. This worker answers in minutes: a session that works
        # for an hour waits for others (for example an approval), and discovery finds it when it continues.
        life_s=3600.0,
    )

    def __init__(
        self,
        *,
        api_key: str | EntraToken,
        base_url: str | None = None,
        api_version: str | None = None,
        assistant_ids: Collection[str] = (),
        timeout_s: float = 20.0,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        """`assistant_ids`: agents probed, and whose sessions are discovered (none: all)."""
        self._agent_ids = tuple(dict.fromkeys(assistant_ids))
        self._sleep = sleep
        self._connection = Connection(
            api_key=api_key,
            base_url=base_url,
            api_version=api_version,
            beta=_BETA,
            transient=_NOT_PENDING,
            timeout_s=timeout_s,
        )

    async def probe(self) -> Sequence[str]:
        """Read the configured agents, else the list of sessions. Returns warnings in Portuguese.

        Never `PlatformGone`: OpenAI serves this protocol, so a 404 is a wrong id, path or project.
        """
        paths = [f"/agents/{quote(agent_id, safe='')}" for agent_id in self._agent_ids]
        return self._connection.warnings(await self._connection.probe(paths or ["/agents/sessions?limit=1"]))

    async def inspect(self, ref: RunRef) -> RunSnapshot:
        """See `worker.ports.Platform.inspect`. Decides on the status, never on `required_actions` alone."""
        session = await self._session(ref.run_id)
        status = session["status"]
        if session["id"] != ref.run_id or ref.thread_id not in {None, ref.run_id}:
            return RunSnapshot(RunStatus.LOST, status, reason="isolamento")
        if status in _ENDINGS:
            return RunSnapshot(
                RunStatus.ENDED, status, reason=_ENDINGS[status], tokens=payloads.tokens(session.get("usage"))
            )
        if status != "requires_action":
            return RunSnapshot(RunStatus.WORKING, status)
        calls, unanswerable = _calls(session.get("required_actions"))
        run_status = RunStatus.REQUIRES_ACTION if calls else RunStatus.WORKING
        return RunSnapshot(run_status, status, calls, unanswerable)

    async def submit(self, ref: RunRef, answers: Sequence[Answer], *, again: bool = False) -> None:
        """See `worker.ports.Platform.submit`: one request an answer, so that none is refused with another.

        An accepted answer is applied later: the session may still show the call, and the same answer may be
        sent again with the same key and bytes. A call that is not pending raises `PlatformUnavailable`.
        """
        failures = [failure for answer in answers if (failure := await self._failure_of(ref, answer))]
        if failures:
            raise failures[0]

    async def discover(self, thread_id: str) -> RunRef | None:
        """See `worker.ports.Platform.discover`: the session itself, if it is at work."""
        try:
            session = await self._session(thread_id)
        except RunGone:
            return None
        active = session["id"] == thread_id and session["status"] in _ACTIVE
        return RunRef(thread_id, thread_id) if active and self._serves(session) else None

    async def listed(self) -> Sequence[tuple[str, str]]:
        """See `worker.ports.Platform.listed`: the first page of sessions, newest first."""
        newest = await self._connection.get("/agents/sessions?limit=100&order=desc")
        return payloads.bot_threads(filter(self._serves, payloads.entries(newest.body)))

    async def thread_of(self, run_id: str) -> str | None:
        """The session is both run and thread."""
        return run_id

    async def reply(self, ref: RunRef) -> Spoken:
        """See `worker.ports.Platform.reply`: the newest turn of the session, by its newest items."""
        listing = await self._connection.get(f"{_path(ref.run_id)}/items?order=desc&limit=100")
        items = payloads.entries(listing.body)
        newest = next((item.get("turn_id") for item in items if item.get("turn_id")), None)
        return Spoken(
            dialogue.assistant_text([item for item in items if item.get("turn_id") == newest][::-1])
        )

    def converse(self, assistant: str | Mapping[str, object]) -> Dialogue:
        return AgentsDialogue(self._connection, str(assistant), self._sleep)

    async def aclose(self) -> None:
        await self._connection.aclose()

    def _serves(self, session: dict[str, Any]) -> bool:
        return not self._agent_ids or _agent_id(session) in self._agent_ids

    async def _session(self, session_id: str) -> dict[str, Any]:
        """A session with id and status. Raises `RunGone`."""
        session = (await self._connection.get(_path(session_id))).body
        if isinstance(session.get("id"), str) and payloads.is_word(session.get("status")):
            return session
        raise PlatformUnavailable(200)

    async def _failure_of(self, ref: RunRef, answer: Answer) -> PlatformError | None:
        try:
            await self._submit_one(ref, answer)
        except PlatformError as failure:
            return failure
        return None

    async def _submit_one(self, ref: RunRef, answer: Answer) -> None:
        for wait_s in _REGISTRATION_WAITS_S:
            try:
                return await self._post(ref.run_id, answer)
            except PlatformUnavailable as failure:
                if failure.status != 400:
                    raise
            await self._sleep(wait_s)
        return await self._post(ref.run_id, answer)

    async def _post(self, session_id: str, answer: Answer) -> None:
        headers = {"Idempotency-Key": _idempotency_key(session_id, answer)}
        body = {"events": [_event(answer)]}
        response = await self._connection.submit(f"{_path(session_id)}/events", body, headers)
        if response.status != 202:
            raise PlatformUnavailable(response.status)


class AgentsDialogue:
    """Implements `worker.ports.Dialogue`: a session, a turn for each message."""

    def __init__(
        self, connection: Connection, agent_id: str, sleep: Callable[[float], Awaitable[None]]
    ) -> None:
        self._connection = connection
        self._agent_id = agent_id
        self._sleep = sleep
        self._created = dialogue.CreatedObjects(connection, sleep)
        self._session = ""
        self._turn: Json = {}

    async def say(self, utterance: Utterance) -> RunRef:
        """See `worker.ports.Dialogue.say`: starts the session, or sends an event, and waits for the turn."""
        message = {"role": "user", "content": dialogue.input_parts(utterance)}
        if self._session:
            event = {"type": "agent.session.input.message", "input": [message]}
            await self._connection.submit(f"{self._session}/events", {"events": [event]})
        else:
            await self._begin(message)
        await self._wait_for_turn()
        session_id = self._session.removeprefix("/agents/sessions/")
        return RunRef(session_id, session_id)

    async def reply(self, ref: RunRef) -> Spoken:
        """See `worker.ports.Dialogue.reply`: of the newest turn. It may have failed in an idle session."""
        turn = await self._newest_turn()
        items = await self._connection.get(f"{self._session}/items?order=desc&limit=100")
        turn_items = [item for item in payloads.entries(items.body) if item.get("turn_id") == turn.get("id")]
        status = str(turn.get("status"))
        failure = None if status == "completed" else _TURN_ENDINGS.get(status, "falhou")
        return Spoken(dialogue.assistant_text(turn_items[::-1]), failure)

    async def delete(self, run_ids: Iterable[str] = ()) -> Sequence[str]:
        """See `worker.ports.Dialogue.delete`. An active session is cancelled first, which takes a moment."""
        if self._session:
            with contextlib.suppress(PlatformError):  # most often: it is idle
                cancel = {"events": [{"type": "agent.session.input.cancel"}]}
                await self._connection.submit(f"{self._session}/events", cancel)
        return await self._created.delete()

    async def _begin(self, message: Json) -> None:
        session = {
            "agent_id": self._agent_id,
            "environment": {"type": "none"},
            "input": [message],
            "metadata": dialogue.MARK,
        }
        session_id = dialogue.id_of(await dialogue.post(self._connection, "/agents/sessions", session))
        self._session = _path(session_id)
        self._created.add(f"session {session_id}", self._session)

    async def _wait_for_turn(self) -> None:
        """Wait for the turn of the message just sent. Raises `PlatformUnavailable` when there is none.

        A poll would take an idle session for an ended one, so the session must show the turn.
        """
        for wait_s in (*_TURN_WAITS_S, 0.0):
            turn = await self._newest_turn()
            if turn.get("id") != self._turn.get("id") and await self._session_shows(turn):
                self._turn = turn
                return
            await self._sleep(wait_s)
        raise PlatformUnavailable(200)

    async def _session_shows(self, turn: Json) -> bool:
        """True when the session's status reflects its newest turn."""
        if turn.get("status") in {"completed", *_TURN_ENDINGS}:
            return True
        return (await self._connection.get(self._session)).body.get("status") != "idle"

    async def _newest_turn(self) -> Json:
        listing = await self._connection.get(f"{self._session}/turns?order=desc&limit=1")
        return next(iter(payloads.entries(listing.body)), {})


# ------------------------------------------------------------------------------------------ sending answers


def _path(session_id: str) -> str:
    """The session's path. Raises `RunGone` for ids that no server can have."""
    if payloads.addressable(session_id):
        return f"/agents/sessions/{quote(session_id, safe='')}"
    raise RunGone


def _event(answer: Answer) -> dict[str, Any]:
    """The event that carries an answer: the whole object as `output` or as `error` (contract §6)."""
    return {
        "type": "agent.session.input.tool_result",
        "turn_id": answer.turn_id or "",
        "call_id": answer.platform_call_id,
        "success": answer.success,
        "output" if answer.success else "error": answer.output.reveal(),
    }


def _idempotency_key(session_id: str, answer: Answer) -> str:
    """The same key for the same call, across restarts too, in the characters and length of a header."""
    key = f"tool-result:{session_id}:{answer.turn_id}:{answer.platform_call_id}:{answer.content[:16]}"
    return key if payloads.is_id(key) else f"tool-result:{hashlib.sha256(key.encode()).hexdigest()}"


# ---------------------------------------------------------------------------------------- reading a run


def _agent_id(session: dict[str, Any]) -> str | None:
    match session.get("agent"):
        case {"id": agent_id} if payloads.is_id(agent_id):
            return agent_id
    return None


def _calls(actions: object) -> payloads.Calls:
    """The function calls. The worker does not handle a session's approvals and environments."""
    if not isinstance(actions, list):
        raise PlatformUnavailable(200)
    calls = [
        action for action in actions if isinstance(action, dict) and action.get("type") == "function_call"
    ]
    return payloads.unique_calls(map(_call, calls))


def _call(action: dict[str, Any]) -> ToolCall | None:
    """One call. The platform shows arguments parsed, as text where they are not an object."""
    turn_id, arguments = action.get("turn_id"), action.get("arguments")
    if not payloads.is_returnable(turn_id):
        return None
    arguments = {} if arguments is None else arguments
    return payloads.tool_call(action.get("call_id"), action.get("name"), arguments, turn_id)


# ------------------------------------------------------------------------------------- stored definitions


class StoredAgents(Stored):
    """The Agents API's saved agents. A change applies to sessions created after it."""

    path = "/agents"
    envelope = _ENVELOPE

    def __init__(self, connection: Connection) -> None:
        super().__init__(connection)
        self.sessions = StoredSessions(connection)


class StoredSessions(Stored):
    """The Agents API's sessions: the definition is the session's own copy of its agent."""

    path = "/agents/sessions"
    envelope = _ENVELOPE

    async def write(self, identifier: str, changes: Json) -> None:
        """Change the session's functions, from the model's next call on."""
        await super().write(identifier, {"agent": changes})

    def complete(self, definition: Json) -> bool:
        """False with an MCP server: its credentials are never shown, and writing would delete them."""
        return all(tool.get("type") != "mcp" for tool in definition["tools"])

    def _definition(self, body: Json) -> Json:
        agent = body.get("agent")
        if not isinstance(agent, dict):
            raise PlatformUnavailable(200)
        return super()._definition(agent)


SPEC = PlatformSpec(
    connect=lambda settings: AgentsPlatform(
        **credentials(settings), assistant_ids=settings.assistant_ids.values()
    ),
    envelope=_ENVELOPE,
    clock_path="/agents?limit=1",
    stored=lambda settings: StoredAgents(connection(settings, beta=_BETA)),
    has_sessions=True,
    wake_event="agent.session.action_required",
)

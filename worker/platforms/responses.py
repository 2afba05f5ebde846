"""The OpenAI Responses API: background responses, in a conversation or chained one after the other."""

import contextlib
import re
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any
from urllib.parse import quote

from worker import logs, metrics
from worker.errors import PlatformError, PlatformRefused, PlatformUnavailable, RunGone
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
from worker.personal import Personal
from worker.platforms import continuation, dialogue, payloads
from worker.platforms.connection import Connection, Reply, read
from worker.platforms.credentials import credentials
from worker.platforms.definitions import Envelope
from worker.platforms.entra import EntraToken
from worker.platforms.spec import PlatformSpec
from worker.ports import Dialogue

Json = dict[str, Any]

_ENDINGS = {
    "failed": (RunStatus.ENDED, "falhou"),
    "incomplete": (RunStatus.ENDED, "incompleta"),
    "cancelled": (RunStatus.LOST, "cancelada"),
}
_LOCKED = re.compile("conversation_locked|currently operating on this conversation")
_UNLOCKED_AFTER_S = 2.0
"""The platform asks for "a few seconds" and sends no number."""

_NEWEST_ITEMS = 100
_MAX_AWAITING = 256

_NOT_REUSABLE = {"input", "conversation", "previous_response_id", "stream", "stream_options"}
"""Fields of a recorded request that apply to that request only, or to its delivery."""

_ENVELOPE = Envelope(nested=False, strict=True)


class ResponsesPlatform:
    """Implements `worker.ports.Platform`. A run is one response; its answers go into a new one.

    There is no idempotency and no list of responses. Only the items of a conversation show whether a submit
    was accepted. They do not name the response that accepted it, but they show its calls.
    """

    name = "responses"
    traits = Traits(
        ThreadRule.OPTIONAL,
        new_run_per_round=True,
        # Responses do not expire. A step of a chat takes minutes at most; a ticket opened after an hour of
        # silence would come as a surprise.
        life_s=3600.0,
    )

    def __init__(
        self,
        *,
        api_key: str | EntraToken,
        base_url: str | None = None,
        api_version: str | None = None,
        timeout_s: float = 20.0,
    ) -> None:
        """`timeout_s`: limit of one request. Creating a background response takes no longer than others."""
        self._connection = Connection(
            api_key=api_key,
            base_url=base_url,
            api_version=api_version,
            transient=_LOCKED,
            timeout_s=timeout_s,
        )
        #: Ids of responses whose answers were sent without a confirmation.
        self._unconfirmed: set[str] = set()
        #: Completed responses whose calls are being answered. Their settings hold the customer's data: they
        #: stay in memory only, until the answers are submitted.
        self._awaiting_answers: OrderedDict[str, Json] = OrderedDict()

    async def probe(self) -> Sequence[str]:
        """Read the list of models, which tests key and base URL. Returns warnings in Portuguese."""
        return self._connection.warnings(await self._connection.probe(["/models"]))

    async def inspect(self, ref: RunRef) -> RunSnapshot:
        """See `worker.ports.Platform.inspect`. A response that cannot be answered is LOST, without calls.

        After an unconfirmed submit the items of the conversation decide. Calls made after the answers are
        returned as calls of this run, because the response that made them cannot be found.
        """
        reply = await self._retrieve(ref)
        snapshot = _snapshot(reply, ref)
        if snapshot.status is RunStatus.REQUIRES_ACTION and ref.run_id in self._unconfirmed:
            snapshot = replace(
                await self._check_conversation(reply.body, snapshot), thread_id=snapshot.thread_id
            )
        if snapshot.status is RunStatus.REQUIRES_ACTION:
            self._remember(ref.run_id, reply.body)
        else:
            self._unconfirmed.discard(ref.run_id)
            self._awaiting_answers.pop(ref.run_id, None)
        return snapshot

    async def submit(self, ref: RunRef, answers: Sequence[Answer], *, again: bool = False) -> RunRef | None:
        """See `worker.ports.Platform.submit`: all outputs in a new response, whose run is returned.

        The new response has the settings of the old one as the latest poll read them; a response that is not
        in memory is read once more. `again`: in a conversation the next poll must first show whether the
        answers were accepted. In a chain they are sent again, and the first continuation may remain as an
        orphan.
        """
        response = self._awaiting_answers.pop(ref.run_id, None)
        if response is None:
            reply = await self._retrieve(ref)
            if _snapshot(reply, ref).status is not RunStatus.REQUIRES_ACTION:
                raise PlatformUnavailable(200)  # the next poll decides
            response = reply.body
        conversation_id = _conversation_id(response)
        if again and conversation_id is None:
            _report_orphan(ref)
        elif again and ref.run_id not in self._unconfirmed:
            self._unconfirmed.add(ref.run_id)
            raise PlatformUnavailable(200)  # as above
        context = (
            {"conversation": conversation_id} if conversation_id else {"previous_response_id": ref.run_id}
        )
        self._unconfirmed.add(ref.run_id)
        new = await self._create(continuation.request(response, context, answers), ref)
        self._unconfirmed.discard(ref.run_id)
        return new

    async def discover(self, thread_id: str) -> RunRef | None:
        """None: this platform lists no responses."""
        return None

    async def listed(self) -> Sequence[tuple[str, str]]:
        """Nothing: this platform lists no conversations."""
        return ()

    async def thread_of(self, run_id: str) -> str | None:
        """See `worker.ports.Platform.thread_of`: the conversation; None for a response of a chain."""
        return _conversation_id((await self._retrieve(RunRef(run_id, None))).body)

    async def reply(self, ref: RunRef) -> Spoken:
        """See `worker.ports.Platform.reply`: the response itself contains the reply."""
        return Spoken(dialogue.assistant_text(_dicts((await self._retrieve(ref)).body.get("output"))))

    def converse(self, assistant: str | Mapping[str, object]) -> Dialogue:
        """See `worker.ports.Platform.converse`: this platform stores no assistant."""
        return ResponsesDialogue(self._connection, assistant if isinstance(assistant, Mapping) else {})

    async def aclose(self) -> None:
        await self._connection.aclose()

    async def _retrieve(self, ref: RunRef) -> Reply:
        if not payloads.addressable(ref.run_id):
            raise RunGone
        reply = await self._connection.get(f"/responses/{quote(ref.run_id, safe='')}")
        if reply.body.get("id") != ref.run_id:  # in a chain nothing else shows whose response it is
            raise PlatformUnavailable(200)
        return reply

    def _remember(self, run_id: str, response: Json) -> None:
        self._awaiting_answers[run_id] = response
        if len(self._awaiting_answers) > _MAX_AWAITING:  # a run lost before its answers never leaves
            self._awaiting_answers.popitem(last=False)

    async def _check_conversation(self, response: Json, snapshot: RunSnapshot) -> RunSnapshot:
        """The snapshot after an unconfirmed submit. In a chain nothing shows whether it was accepted."""
        conversation_id = _conversation_id(response)
        if conversation_id is None:
            return snapshot
        answered = [call.platform_call_id for call in snapshot.calls]
        with _missing_is_refused():
            listing = await self._connection.get(
                f"/conversations/{quote(conversation_id, safe='')}/items?limit={_NEWEST_ITEMS}&order=desc"
            )
        later_items = _items_after_answers(listing.body, answered)
        return snapshot if later_items is None else _unknown_continuation(response, later_items)

    async def _create(self, body: Json, ref: RunRef) -> RunRef:
        """Create a response. After a 400, which created none, retry without the sampling settings."""
        try:
            return await self._post(body, ref)
        except PlatformRefused as refusal:
            reduced = continuation.without_sampling(body)
            if refusal.status != 400 or reduced == body:
                raise
        return await self._post(reduced, ref)

    async def _post(self, body: Json, ref: RunRef) -> RunRef:
        try:
            with _missing_is_refused():
                reply = read(await self._connection.submit("/responses", body))
        except PlatformUnavailable as failure:
            if failure.status == 400 and failure.retry_after_s is None:
                failure.retry_after_s = _UNLOCKED_AFTER_S
            raise
        if not payloads.is_id(reply.body.get("id")):
            raise PlatformUnavailable(200)
        return RunRef(reply.body["id"], ref.thread_id)


class ResponsesDialogue:
    """Implements `worker.ports.Dialogue`: a conversation, a background response for each message.

    `request`: the body that the bot sends for each response, without message and conversation.
    """

    def __init__(self, connection: Connection, request: Mapping[str, object]) -> None:
        self._connection = connection
        self._request = {name: value for name, value in request.items() if name not in _NOT_REUSABLE}
        self._created = dialogue.CreatedObjects(connection)
        self._conversation_id = ""
        self._latest_run_id: str | None = None

    async def say(self, utterance: Utterance) -> RunRef:
        self._conversation_id = self._conversation_id or await self._begin()
        body = {
            **self._request,
            "input": [{"role": "user", "content": dialogue.input_parts(utterance)}],
            "conversation": self._conversation_id,
            "background": True,
            "store": True,
        }
        with _missing_is_refused():
            created = read(await self._connection.submit("/responses", body)).body
        return RunRef(self._track(dialogue.id_of(created)), self._conversation_id)

    async def reply(self, ref: RunRef) -> Spoken:
        response = await self._connection.get(f"/responses/{quote(ref.run_id, safe='')}")
        return Spoken(dialogue.assistant_text(_dicts(response.body.get("output"))))

    async def delete(self, run_ids: Iterable[str] = ()) -> Sequence[str]:
        """See `worker.ports.Dialogue.delete`. Deleting a conversation keeps its responses: delete each."""
        for run_id in run_ids:
            self._track(run_id)
        if self._latest_run_id is not None:
            with contextlib.suppress(PlatformError):  # most often: it has ended
                await dialogue.post(self._connection, f"/responses/{self._latest_run_id}/cancel")
        return await self._created.delete()

    def _track(self, run_id: str) -> str:
        self._latest_run_id = run_id
        self._created.add(f"response {run_id}", f"/responses/{quote(run_id, safe='')}")
        return run_id

    async def _begin(self) -> str:
        created = await dialogue.post(self._connection, "/conversations", {"metadata": dialogue.MARK})
        conversation_id = dialogue.id_of(created)
        self._created.add(f"conversation {conversation_id}", f"/conversations/{conversation_id}")
        return conversation_id


@contextlib.contextmanager
def _missing_is_refused() -> Iterator[None]:
    """For requests that do not read the run: a 404 there means the conversation or the model is missing."""
    try:
        yield
    except RunGone as missing:
        raise PlatformRefused(missing.status, missing.code) from None


# ---------------------------------------------------------------------------------------- reading a run


def _snapshot(reply: Reply, ref: RunRef) -> RunSnapshot:
    response = reply.body
    status = response.get("status")
    if not (isinstance(status, str) and payloads.is_word(status)):
        raise PlatformUnavailable(200)
    owner, tokens = _conversation_id(response), payloads.tokens(response.get("usage"))
    if owner and ref.thread_id and owner != ref.thread_id:
        return RunSnapshot(RunStatus.LOST, status, reason="isolamento")
    if status in _ENDINGS:
        run_status, reason = _ENDINGS[status]
        return RunSnapshot(run_status, status, reason=reason, tokens=tokens)
    if status == "completed":
        thread_id = owner if ref.thread_id is None else None
        return replace(_completed(response), thread_id=thread_id, tokens=tokens)
    return RunSnapshot(RunStatus.WORKING, status, poll_after_s=payloads.poll_after_s(reply.headers))


def _completed(response: Json) -> RunSnapshot:
    """The snapshot of a completed response: with calls, or ended. A call that was cut off is not executed."""
    items = _dicts(response.get("output"))
    calls = continuation.pending_calls(items)
    if not calls:
        return RunSnapshot(RunStatus.ENDED, "completed", reason="concluida", reply=_reply(items))
    if any(call.get("status") not in (None, "completed") for call in calls):
        return RunSnapshot(RunStatus.ENDED, "completed", reason="incompleta")
    if reason := continuation.obstacle(response, items):
        return RunSnapshot(RunStatus.LOST, "completed", reason=reason)
    answerable, unanswerable = payloads.unique_calls(map(_call, calls))
    status = RunStatus.REQUIRES_ACTION if answerable else RunStatus.WORKING
    return RunSnapshot(status, "completed", answerable, unanswerable)


def _reply(items: Sequence[Json]) -> Personal | None:
    text = dialogue.assistant_text(items)
    return None if text is None else Personal(text)


def _call(item: Json) -> ToolCall | None:
    return payloads.tool_call(item.get("call_id"), item.get("name"), item.get("arguments"))


def _conversation_id(response: Json) -> str | None:
    """The conversation of this response; None for a response of a chain."""
    match response.get("conversation"):
        case None:
            return None
        case {"id": str(value)} | str(value) if payloads.is_id(value) and payloads.addressable(value):
            return value
    raise PlatformUnavailable(200)


def _items_after_answers(listing: Json, call_ids: Sequence[str]) -> list[Json] | None:
    """The newest items of a conversation that follow the answers to these calls; None without answers.

    The listing is newest first, so an answer precedes its call. If neither is in it, the answers are older: a
    conversation accepts no other item while a call waits.
    """
    newest = _dicts(listing.get("data"))
    for position, item in enumerate(newest):
        if item.get("call_id") in call_ids:
            answered = item.get("type") == "function_call_output"
            return newest[:position][::-1] if answered else None
    return newest[::-1] if listing.get("has_more") is True else None


def _unknown_continuation(response: Json, items: list[Json]) -> RunSnapshot:
    """The snapshot of the unknown response after this one, from its items. It has the same settings.

    Items after the customer's next message belong to a response that the bot knows.
    """
    ended = RunSnapshot(RunStatus.ENDED, "completed", reason="continuacao_desconhecida")
    if any(item.get("role") == "user" for item in items):
        return ended
    snapshot = _completed({**response, "output": items})
    return ended if snapshot.status is RunStatus.ENDED else snapshot


def _dicts(items: object) -> list[Json]:
    if isinstance(items, list) and all(isinstance(item, dict) for item in items):
        return items
    raise PlatformUnavailable(200)


def _report_orphan(ref: RunRef) -> None:
    metrics.orphan_responses.inc()
    logs.event(
        "! respostas enviadas de novo: pode haver uma continuação órfã | run_id={run_id}",
        level="WARNING",
        run_id=ref.run_id,
    )


SPEC = PlatformSpec(
    connect=lambda settings: ResponsesPlatform(**credentials(settings)),
    envelope=_ENVELOPE,
    clock_path="/models",
    wake_event="response.completed",
    discovers=False,
)

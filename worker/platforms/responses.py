"""The OpenAI Responses API: background responses, in a conversation or one after the other."""

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
from worker.platforms import continuation, dialogue, wire
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
_ASKING = 256

_OF_ONE_REQUEST = {"input", "conversation", "previous_response_id", "stream", "stream_options"}
"""What a recorded request says of itself alone, or of how it was to be delivered."""

_ENVELOPE = Envelope(nested=False, strict=True)


class ResponsesPlatform:
    """Implements `worker.ports.Platform`. A run is one response; what answers it is a new one.

    There is no idempotency and no list of responses. Whether a submit was taken can be told in a conversation
    only, by its items; which response took it is shown nowhere, but what that one asked for is.
    """

    name = "responses"
    traits = Traits(
        ThreadRule.OPTIONAL,
        new_run_per_round=True,
        # Nothing expires here. A step of a chat takes minutes at most, and a ticket opened after an hour of
        # silence would surprise everybody.
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
        """`timeout_s`: one request; creating in the background takes no longer than any other."""
        self._connection = wire.Connection(
            api_key=api_key, base_url=base_url, api_version=api_version, passing=_LOCKED, timeout_s=timeout_s
        )
        self._items = self._connection.client.conversations.items.with_raw_response
        self._unsure: set[str] = set()  # answers were sent to these, and what became of them is not known
        #: Completed responses whose calls are being answered. Their settings hold the customer's data: they
        #: stay in memory only, until the answers are submitted.
        self._asking: OrderedDict[str, Json] = OrderedDict()

    async def probe(self) -> Sequence[str]:
        """Ask for the models, which proves key and base URL and makes nothing; warnings in Portuguese."""
        return self._connection.warnings(await self._connection.probe(["/models"]))

    async def inspect(self, ref: RunRef) -> RunSnapshot:
        """See `worker.ports.Platform.inspect`. What cannot be answered is LOST before any call is shown.

        Where answers may have been taken, the items of the conversation tell, and what they show to be asked
        since is asked of this run: the response that took them cannot be found.
        """
        reply = await self._retrieve(ref)
        look = _look(reply, ref)
        if look.status is RunStatus.REQUIRES_ACTION and ref.run_id in self._unsure:
            look = replace(await self._in_conversation(reply.body, look), thread_id=look.thread_id)
        if look.status is RunStatus.REQUIRES_ACTION:
            self._keep(ref.run_id, reply.body)
        else:
            self._unsure.discard(ref.run_id)
            self._asking.pop(ref.run_id, None)
        return look

    async def submit(self, ref: RunRef, answers: Sequence[Answer], *, again: bool = False) -> RunRef | None:
        """See `worker.ports.Platform.submit`: all outputs in a new response, whose run is returned.

        The new response has the settings of the old one, as the latest poll read them; one that is not in
        memory is read once more. `again`: in a conversation a look has to tell first whether they were taken;
        on a chain they are sent again, and the first may live on as an orphan.
        """
        response = self._asking.pop(ref.run_id, None)
        if response is None:
            reply = await self._retrieve(ref)
            if _look(reply, ref).status is not RunStatus.REQUIRES_ACTION:
                raise PlatformUnavailable(200)  # the next look tells
            response = reply.body
        conversation_id = _conversation_id(response)
        if again and conversation_id is None:
            _tell_of_orphan(ref)
        elif again and ref.run_id not in self._unsure:
            self._unsure.add(ref.run_id)
            raise PlatformUnavailable(200)  # as above
        goes_on = (
            {"conversation": conversation_id} if conversation_id else {"previous_response_id": ref.run_id}
        )
        self._unsure.add(ref.run_id)
        new = await self._create(continuation.request(response, goes_on, answers), ref)
        self._unsure.discard(ref.run_id)
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
        """See `worker.ports.Platform.reply`: the response holds it."""
        return Spoken(dialogue.spoken(_dicts((await self._retrieve(ref)).body.get("output"))))

    def converse(self, assistant: str | Mapping[str, object]) -> Dialogue:
        """See `worker.ports.Platform.converse`: this platform stores no assistant."""
        return ResponsesDialogue(self._connection, assistant if isinstance(assistant, Mapping) else {})

    async def aclose(self) -> None:
        """Close the connections."""
        await self._connection.aclose()

    async def _retrieve(self, ref: RunRef) -> wire.Reply:
        if not wire.addressable(ref.run_id):
            raise RunGone
        return await self._connection.look(f"/responses/{quote(ref.run_id, safe='')}")

    def _keep(self, run_id: str, response: Json) -> None:
        self._asking[run_id] = response
        if len(self._asking) > _ASKING:  # a run that was lost while it asked is never answered
            self._asking.popitem(last=False)

    async def _in_conversation(self, response: Json, look: RunSnapshot) -> RunSnapshot:
        """A look at a response whose answers may have been taken; on a chain nobody can know."""
        conversation_id = _conversation_id(response)
        if conversation_id is None:
            return look
        listing = self._items.list(conversation_id, limit=_NEWEST_ITEMS, order="desc")
        answered = [call.platform_call_id for call in look.calls]
        with _not_of_the_run():
            items = (await self._connection.ask(listing)).body
        since = _since_answers(items, answered)
        return look if since is None else _unnamed(response, since)

    async def _create(self, body: Json, ref: RunRef) -> RunRef:
        """One new response. After a 400 there is surely none: once more, without the sampling settings."""
        try:
            return await self._post(body, ref)
        except PlatformRefused as refusal:
            bare = continuation.without_sampling(body)
            if refusal.status != 400 or bare == body:
                raise
        return await self._post(bare, ref)

    async def _post(self, body: Json, ref: RunRef) -> RunRef:
        try:
            with _not_of_the_run():
                reply = wire.read(await self._connection.submit("/responses", body))
        except PlatformUnavailable as failure:
            if failure.status == 400 and failure.retry_after_s is None:
                failure.retry_after_s = _UNLOCKED_AFTER_S
            raise
        if not wire.is_id(reply.body.get("id")):
            raise PlatformUnavailable(200)
        return RunRef(reply.body["id"], ref.thread_id)


class ResponsesDialogue:
    """Implements `worker.ports.Dialogue`: a conversation, a background response for each message.

    `request`: what the bot sends with each response; message and conversation are put in.
    """

    def __init__(self, connection: wire.Connection, request: Mapping[str, object]) -> None:
        self._connection = connection
        self._request = {name: value for name, value in request.items() if name not in _OF_ONE_REQUEST}
        self._belongings = dialogue.Belongings(connection)
        self._conversation_id = ""
        self._newest: str | None = None

    async def say(self, utterance: Utterance) -> RunRef:
        """See `worker.ports.Dialogue.say`."""
        self._conversation_id = self._conversation_id or await self._begin()
        body = {
            **self._request,
            "input": [{"role": "user", "content": dialogue.input_parts(utterance)}],
            "conversation": self._conversation_id,
            "background": True,
            "store": True,
        }
        with _not_of_the_run():
            made = wire.read(await self._connection.submit("/responses", body)).body
        return RunRef(self._made(dialogue.made_id(made)), self._conversation_id)

    async def reply(self, ref: RunRef) -> Spoken:
        """See `worker.ports.Dialogue.reply`."""
        response = await dialogue.get(self._connection, f"/responses/{quote(ref.run_id, safe='')}")
        return Spoken(dialogue.spoken(_dicts(response.get("output"))))

    async def delete(self, run_ids: Iterable[str] = ()) -> Sequence[str]:
        """See `worker.ports.Dialogue.delete`. A conversation keeps its responses: each goes by itself."""
        for run_id in run_ids:
            self._made(run_id)
        if self._newest is not None:
            with contextlib.suppress(PlatformError):  # most often: it has ended
                await dialogue.post(self._connection, f"/responses/{self._newest}/cancel")
        return await self._belongings.delete()

    def _made(self, run_id: str) -> str:
        self._newest = run_id
        self._belongings.add(f"response {run_id}", f"/responses/{quote(run_id, safe='')}")
        return run_id

    async def _begin(self) -> str:
        made = await dialogue.post(self._connection, "/conversations", {"metadata": dialogue.MARK})
        conversation_id = dialogue.made_id(made)
        self._belongings.add(f"conversation {conversation_id}", f"/conversations/{conversation_id}")
        return conversation_id


@contextlib.contextmanager
def _not_of_the_run() -> Iterator[None]:
    """A request about something else than the run: a 404 means its conversation, or its model."""
    try:
        yield
    except RunGone as missing:
        raise PlatformRefused(missing.status, missing.code) from None


# ---------------------------------------------------------------------------------------- what a look saw


def _look(reply: wire.Reply, ref: RunRef) -> RunSnapshot:
    response = reply.body
    status = response.get("status")
    if not (isinstance(status, str) and wire.is_word(status)):
        raise PlatformUnavailable(200)
    owner, tokens = _conversation_id(response), wire.tokens(response.get("usage"))
    if owner and ref.thread_id and owner != ref.thread_id:
        return RunSnapshot(RunStatus.LOST, status, reason="isolamento")
    if status in _ENDINGS:
        run_status, reason = _ENDINGS[status]
        return RunSnapshot(run_status, status, reason=reason, tokens=tokens)
    if status == "completed":
        thread_id = owner if ref.thread_id is None else None
        return replace(_completed(response), thread_id=thread_id, tokens=tokens)
    return RunSnapshot(RunStatus.WORKING, status, poll_after_s=wire.poll_after_s(reply.headers))


def _completed(response: Json) -> RunSnapshot:
    """A completed response wants answers, or nothing more. A call that was cut off is not executed."""
    items = _dicts(response.get("output"))
    calls = continuation.waiting(items)
    if not calls:
        return RunSnapshot(RunStatus.ENDED, "completed", reason="concluida", reply=_reply(items))
    if any(call.get("status") not in (None, "completed") for call in calls):
        return RunSnapshot(RunStatus.ENDED, "completed", reason="incompleta")
    if reason := continuation.obstacle(response, items):
        return RunSnapshot(RunStatus.LOST, "completed", reason=reason)
    answerable, unanswerable = wire.each_once(map(_call, calls))
    status = RunStatus.REQUIRES_ACTION if answerable else RunStatus.WORKING
    return RunSnapshot(status, "completed", answerable, unanswerable)


def _reply(items: Sequence[Json]) -> Personal | None:
    said = dialogue.spoken(items)
    return None if said is None else Personal(said)


def _call(item: Json) -> ToolCall | None:
    return wire.tool_call(item.get("call_id"), item.get("name"), item.get("arguments"))


def _conversation_id(response: Json) -> str | None:
    """The conversation this response belongs to; None when it is one of a chain."""
    match response.get("conversation"):
        case None:
            return None
        case {"id": str(named)} | str(named) if wire.is_id(named) and wire.addressable(named):
            return named
    raise PlatformUnavailable(200)


def _since_answers(listing: Json, call_ids: Sequence[str]) -> list[Json] | None:
    """Of a conversation's newest items, those after the answers to these calls; None where they lack.

    An answer is shown before its call. Where neither is, so much has happened since that there was one: a
    conversation takes nothing else while a call waits.
    """
    newest = _dicts(listing.get("data"))
    for position, item in enumerate(newest):
        if item.get("call_id") in call_ids:
            answered = item.get("type") == "function_call_output"
            return newest[:position][::-1] if answered else None
    return newest[::-1] if listing.get("has_more") is True else None


def _unnamed(response: Json, items: list[Json]) -> RunSnapshot:
    """What the response after this one wants, by the items it left: it had the same settings.

    Whatever comes after the customer's next message is another's: whoever sent that knows its response.
    """
    ended = RunSnapshot(RunStatus.ENDED, "completed", reason="continuacao_desconhecida")
    if any(item.get("role") == "user" for item in items):
        return ended
    look = _completed({**response, "output": items})
    return ended if look.status is RunStatus.ENDED else look


def _dicts(items: object) -> list[Json]:
    if isinstance(items, list) and all(isinstance(item, dict) for item in items):
        return items
    raise PlatformUnavailable(200)


def _tell_of_orphan(ref: RunRef) -> None:
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

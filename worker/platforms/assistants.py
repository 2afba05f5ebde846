"""The Assistants v2 protocol: Microsoft Foundry Agent Service (classic) and compatible servers."""

import contextlib
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Literal
from urllib.parse import quote

from worker.errors import PlatformError, PlatformGone, PlatformRefused, PlatformUnavailable, RunGone
from worker.model import (
    Answer,
    Image,
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
from worker.platforms.connection import Connection, Reply, read
from worker.platforms.credentials import credentials
from worker.platforms.definitions import Envelope, Json, Stored, connection
from worker.platforms.entra import EntraToken
from worker.platforms.spec import PlatformSpec
from worker.ports import Dialogue

_ENDINGS = {
    "completed": (RunStatus.ENDED, "concluida"),
    "failed": (RunStatus.ENDED, "falhou"),
    "incomplete": (RunStatus.ENDED, "incompleta"),
    "cancelled": (RunStatus.LOST, "cancelada"),
    "expired": (RunStatus.LOST, "expirada"),
}
_MOVED_ON = re.compile("do not accept tool outputs|Expected tool outputs", re.IGNORECASE)

_ENVELOPE = Envelope(nested=True, strict=True)

_BETA = "assistants=v2"
"""`OpenAI-Beta` of this protocol."""


class AssistantsPlatform:
    """Implements `worker.ports.Platform`. Nothing is retried here: the loop polls again.

    It uses the SDK's generic calls: importing its Assistants resources takes a second of CPU.
    """

    name = "assistants"
    traits = Traits(ThreadRule.REQUIRED)

    def __init__(
        self,
        *,
        api_key: str | EntraToken,
        base_url: str | None = None,
        api_version: str | None = None,
        assistant_ids: Collection[str] = (),
        timeout_s: float = 20.0,
    ) -> None:
        """`assistant_ids`: assistants probed, whose runs are discovered (none: all).

        `timeout_s`: limit of one request.
        """
        self._assistant_ids = tuple(dict.fromkeys(assistant_ids))
        self._connection = Connection(
            api_key=api_key,
            base_url=base_url,
            api_version=api_version,
            beta=_BETA,
            transient=_MOVED_ON,
            timeout_s=timeout_s,
        )
        self._lists_threads = api_version is not None

    async def probe(self) -> Sequence[str]:
        """Read the configured assistants, else the list. Returns warnings in Portuguese.

        Raises `PlatformGone` when OpenAI itself answers 404: since 2026-08-26 it does so for the whole
        protocol. Elsewhere a 404 may be a wrong id, which must not prevent the start.
        """
        paths = [f"/assistants/{quote(each, safe='')}" for each in self._assistant_ids]
        failures = await self._connection.probe(paths or ["/assistants?limit=1"])
        if self._connection.at_openai and any(isinstance(each, RunGone) for each in failures.values()):
            raise PlatformGone(404)
        return self._connection.warnings(failures)

    async def inspect(self, ref: RunRef) -> RunSnapshot:
        """See `worker.ports.Platform.inspect`. Decides on the status, never on `required_action` alone."""
        return _snapshot(await self._connection.get(_path(ref)), ref.thread_id)

    async def submit(self, ref: RunRef, answers: Sequence[Answer], *, again: bool = False) -> None:
        """See `worker.ports.Platform.submit`: all outputs in one request, as the protocol demands.

        A 400 that says the run moved on is `PlatformUnavailable`; any other 400 is `PlatformRefused`.
        """
        outputs = [
            {"tool_call_id": answer.platform_call_id, "output": answer.output.reveal()} for answer in answers
        ]
        path = f"{_path(ref)}/submit_tool_outputs"
        read(await self._connection.submit(path, {"tool_outputs": outputs}))

    async def discover(self, thread_id: str) -> RunRef | None:
        """See `worker.ports.Platform.discover`. At most one run of a thread is at work: the newest."""
        try:
            newest = f"{_runs(thread_id)}?limit=1&order=desc"
            reply = await self._connection.get(newest)
        except RunGone:
            return None
        match reply.body:
            case {"data": []}:
                return None
            case {"data": [{"id": str(run_id), "status": str(status), **run}, *_]} if payloads.is_id(run_id):
                is_configured = not self._assistant_ids or run.get("assistant_id") in self._assistant_ids
                active = status not in _ENDINGS and run.get("thread_id") == thread_id
                return RunRef(run_id, thread_id) if is_configured and active else None
        raise PlatformUnavailable(200)

    async def listed(self) -> Sequence[tuple[str, str]]:
        """See `worker.ports.Platform.listed`: Foundry's own `GET /threads`, which OpenAI never had."""
        if not self._lists_threads:
            return ()
        try:
            threads = await self._connection.get("/threads?limit=100&order=desc")
            return payloads.bot_threads(payloads.entries(threads.body))
        except (RunGone, PlatformRefused) as failure:
            self._lists_threads = failure.status not in {404, 405}
            raise

    async def thread_of(self, run_id: str) -> str | None:
        """None: a run can only be read through its thread."""
        return None

    async def reply(self, ref: RunRef) -> Spoken:
        return await _reply(self._connection, ref)

    def converse(self, assistant: str | Mapping[str, object]) -> Dialogue:
        return AssistantsDialogue(self._connection, str(assistant))

    async def aclose(self) -> None:
        await self._connection.aclose()


class AssistantsDialogue:
    """Implements `worker.ports.Dialogue`: a thread, a run for each message, a file for each image."""

    def __init__(self, connection: Connection, assistant_id: str) -> None:
        self._connection = connection
        self._assistant_id = assistant_id
        self._created = dialogue.CreatedObjects(connection)
        self._thread = ""
        self._latest_run: RunRef | None = None

    async def say(self, utterance: Utterance) -> RunRef:
        thread = self._thread = self._thread or await self._begin()
        message = {"role": "user", "content": await self._content(utterance)}
        await dialogue.post(self._connection, f"{thread}/messages", message)
        run = await dialogue.post(self._connection, f"{thread}/runs", {"assistant_id": self._assistant_id})
        self._latest_run = RunRef(dialogue.id_of(run), thread.removeprefix("/threads/"))
        return self._latest_run

    async def reply(self, ref: RunRef) -> Spoken:
        return await _reply(self._connection, ref)

    async def delete(self, run_ids: Iterable[str] = ()) -> Sequence[str]:
        if self._latest_run is not None:
            with contextlib.suppress(PlatformError):  # most often: it has ended
                await dialogue.post(self._connection, f"{_path(self._latest_run)}/cancel")
        return await self._created.delete()

    async def _begin(self) -> str:
        thread = await dialogue.post(self._connection, "/threads", {"metadata": dialogue.MARK})
        thread_id = dialogue.id_of(thread)
        self._created.add(f"thread {thread_id}", f"/threads/{thread_id}")
        return f"/threads/{thread_id}"

    async def _content(self, utterance: Utterance) -> list[Json]:
        """The message's parts. An image is uploaded first: not every server accepts data URLs."""
        text = [{"type": "text", "text": utterance.text}] if utterance.text else []
        if utterance.image is None:
            return text
        file_id = await self._upload(utterance.image)
        return [{"type": "image_file", "image_file": {"file_id": file_id}}, *text]

    async def _upload(self, image: Image) -> str:
        """OpenAI's purpose for images, else the one that Foundry's own samples use."""
        try:
            file_id = await self._upload_as(image, "vision")
        except PlatformRefused as refusal:
            if refusal.status != 400:
                raise
            file_id = await self._upload_as(image, "assistants")
        self._created.add(f"file {file_id}", f"/files/{file_id}")
        return file_id

    async def _upload_as(self, image: Image, purpose: Literal["vision", "assistants"]) -> str:
        file = (image.name, image.content, image.media_type)
        request = self._connection.client.files.with_raw_response.create(file=file, purpose=purpose)
        return dialogue.id_of((await self._connection.ask(request)).body)


async def _reply(connection: Connection, ref: RunRef) -> Spoken:
    """The assistant's text in a run. Raises `PlatformError`."""
    thread = _runs(ref.thread_id).removesuffix("/runs")
    query = f"run_id={quote(ref.run_id, safe='')}&order=asc&limit=100"
    listing = await connection.get(f"{thread}/messages?{query}")
    texts = [text for message in payloads.entries(listing.body) for text in _texts(message)]
    return Spoken("\n".join(texts) or None)


def _texts(message: Json) -> list[str]:
    """The assistant's texts in a message."""
    if message.get("role") != "assistant":
        return []
    parts = [part.get("text") for part in dialogue.parts(message) if part.get("type") == "text"]
    texts = [part.get("value") if isinstance(part, dict) else part for part in parts]
    return [text for text in texts if isinstance(text, str)]


def _path(ref: RunRef) -> str:
    """The run's path. Raises `RunGone` for ids that no server can have."""
    if payloads.addressable(ref.run_id):
        return f"{_runs(ref.thread_id)}/{quote(ref.run_id, safe='')}"
    raise RunGone


def _runs(thread_id: str | None) -> str:
    if thread_id and payloads.addressable(thread_id):
        return f"/threads/{quote(thread_id, safe='')}/runs"
    raise RunGone


# ---------------------------------------------------------------------------------------- reading a run


def _snapshot(reply: Reply, thread_id: str | None) -> RunSnapshot:
    run = reply.body
    status, owner = run.get("status"), run.get("thread_id")
    if not (payloads.is_word(status) and isinstance(owner, str)):
        raise PlatformUnavailable(200)
    if owner != thread_id:
        return RunSnapshot(RunStatus.LOST, status, reason="isolamento")
    if status in _ENDINGS:
        run_status, reason = _ENDINGS[status]
        return RunSnapshot(run_status, status, reason=reason, tokens=payloads.tokens(run.get("usage")))
    calls, unanswerable = _calls(run.get("required_action")) if status == "requires_action" else _NO_CALLS
    return RunSnapshot(
        RunStatus.REQUIRES_ACTION if calls else RunStatus.WORKING,
        status,
        calls,
        unanswerable,
        expires_in_s=_expires_in_s(run, reply),
        poll_after_s=payloads.poll_after_s(reply.headers),
    )


def _expires_in_s(run: Mapping[str, object], reply: Reply) -> float | None:
    """Seconds until the run expires. None without a time, or with one in the past, which cannot be right."""
    expires_at = payloads.number(run.get("expires_at"))
    remaining_s = 0.0 if expires_at is None else expires_at - payloads.now(reply.headers)
    return remaining_s if remaining_s > 0 else None


_NO_CALLS = payloads.Calls((), 0)


def _calls(action: object) -> payloads.Calls:
    """The calls to answer; none when the run waits for something that this worker does not answer.

    All outputs travel in one request, so one call of another type excludes the whole action.
    """
    match action:
        case {"type": "submit_tool_outputs", "submit_tool_outputs": {"tool_calls": list(entries)}}:
            return _NO_CALLS if any(map(_is_foreign, entries)) else payloads.unique_calls(map(_call, entries))
        case {"type": str(other)} if other != "submit_tool_outputs":
            return _NO_CALLS
        case _ if not action:  # some servers empty it after the run moved on, others keep it
            return _NO_CALLS
    raise PlatformUnavailable(200)


def _is_foreign(entry: object) -> bool:
    """A call of another type. A call without a type counts as a function: some servers send none."""
    return isinstance(entry, dict) and entry.get("type") not in (None, "function")


def _call(entry: object) -> ToolCall | None:
    call = entry if isinstance(entry, dict) else {}
    function = call.get("function")
    details = function if isinstance(function, dict) else {}
    return payloads.tool_call(call.get("id"), details.get("name"), details.get("arguments"))


# ------------------------------------------------------------------------------------- stored definitions


class StoredAssistants(Stored):
    """The Assistants protocol's assistants."""

    path = "/assistants"
    envelope = _ENVELOPE

    async def _get(self, path: str) -> Reply:
        """Raises `PlatformGone` where OpenAI answers 404: it does so for the whole protocol."""
        try:
            return await super()._get(path)
        except RunGone:
            if self._connection.at_openai:
                raise PlatformGone(404) from None
            raise


SPEC = PlatformSpec(
    connect=lambda settings: AssistantsPlatform(
        **credentials(settings), assistant_ids=settings.assistant_ids.values()
    ),
    envelope=_ENVELOPE,
    clock_path="/assistants?limit=1",
    stored=lambda settings: StoredAssistants(connection(settings, beta=_BETA)),
)

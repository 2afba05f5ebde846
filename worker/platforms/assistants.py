"""The Assistants v2 protocol: Microsoft Foundry Agent Service (classic) and compatible servers.

The official SDK on aiohttp, its quickest transport. Looks are this worker's main cost, so answers are read as
plain JSON: the SDK's models would only add time, and do not check what they build.
"""

import asyncio
import json
import math
import re
import time
import warnings
from collections.abc import Awaitable, Collection, Mapping, Sequence
from datetime import UTC
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import quote, urlsplit

import httpx2
from openai import APIStatusError, AsyncOpenAI, DefaultAioHttpClient
from openai.types.beta.threads.run_submit_tool_outputs_params import ToolOutput

from worker.errors import PlatformError, PlatformGone, PlatformRefused, PlatformUnavailable, RunGone
from worker.model import Answer, Look, RunRef, Sight, ThreadRule, ToolCall, Traits
from worker.personal import Personal

if TYPE_CHECKING:
    from openai._legacy_response import LegacyAPIResponse  # what with_raw_response gives; exported nowhere

_OPENAI = "https://api.openai.com/v1"
_ENDINGS = {
    "completed": (Sight.ENDED, "concluida"),
    "failed": (Sight.ENDED, "falhou"),
    "incomplete": (Sight.ENDED, "incompleta"),
    "cancelled": (Sight.LOST, "cancelada"),
    "expired": (Sight.LOST, "expirada"),
}
_ID = re.compile(r"[!-~]{1,256}")  # contract §3: visible ASCII, no prefix assumed
_WORD = re.compile(r"[A-Za-z][A-Za-z0-9_.-]{0,63}")


class AssistantsPlatform:
    """Implements `worker.ports.Platform`. Nothing is retried here: the loop looks again."""

    name = "assistants"
    traits = Traits(ThreadRule.REQUIRED)

    def __init__(
        self,
        *,
        api_key: str,
        base_url: str | None = None,
        api_version: str | None = None,
        assistant_ids: Collection[str] = (),
        timeout_s: float = 20.0,
    ) -> None:
        """`assistant_ids`: probed, and whose runs are discovered (none: all); `timeout_s`: one request."""
        # Once for the process: `catch_warnings` is not safe between tasks.
        warnings.filterwarnings("ignore", "The Assistants API is deprecated", DeprecationWarning)
        url = base_url or _OPENAI
        self._host = urlsplit(url).hostname or ""
        self._at_openai = f".{self._host}".endswith(".api.openai.com")
        self._assistant_ids = tuple(dict.fromkeys(assistant_ids))
        self._timeout_s = timeout_s
        self._client = AsyncOpenAI(
            api_key=api_key,
            base_url=url,
            timeout=timeout_s,
            max_retries=0,
            default_headers={"OpenAI-Beta": "assistants=v2"},
            default_query={"api-version": api_version} if api_version else None,
            # A redirected submit would hand the customer's data to a host nobody configured.
            http_client=DefaultAioHttpClient(follow_redirects=False),
        )
        if not self._at_openai:  # the SDK takes both from the environment
            self._client.organization = self._client.project = None
        self._runs = self._client.beta.threads.runs.with_raw_response

    async def probe(self) -> Sequence[str]:
        """Ask for the configured assistants, else for the list; returns warnings in Portuguese.

        Raises `PlatformGone` when OpenAI itself answers 404: since 2026-08-26 it does so for the whole
        protocol. Elsewhere a 404 may as well be a wrong id, and nothing else is worth not starting for.
        """
        paths = [f"/assistants/{quote(each, safe='')}" for each in self._assistant_ids]
        asked = paths or ["/assistants?limit=1"]
        failures = await asyncio.gather(*map(self._failure_of, asked))
        if self._at_openai and any(isinstance(each, RunGone) for each in failures):
            raise PlatformGone(404)
        return [self._warning(path, each) for path, each in zip(asked, failures, strict=True) if each]

    async def _failure_of(self, path: str) -> PlatformError | None:
        try:
            await self._ask(self._client.get(path, cast_to=httpx2.Response))
        except PlatformError as failure:
            return failure
        return None

    def _warning(self, path: str, failure: PlatformError) -> str:
        unread = failure.status is None or failure.status < 300
        said = "não deu resposta legível" if unread else f"respondeu HTTP {failure.status}"
        refused = failure.status in {401, 403}
        hint = "OPENAI_API_KEY e as permissões dela" if refused else "OPENAI_BASE_URL e OPENAI_API_VERSION"
        return f"A plataforma {said} em {self._host}{path}: confira {hint}. O worker segue tentando."

    async def inspect(self, ref: RunRef) -> Look:
        """See `worker.ports.Platform.inspect`. Decides on the status, never on `required_action` alone."""
        thread_id = _addressable(ref)
        return _look(await self._ask(self._runs.retrieve(ref.run_id, thread_id=thread_id)), thread_id)

    async def submit(self, ref: RunRef, answers: Sequence[Answer], *, again: bool = False) -> None:
        """See `worker.ports.Platform.submit`: all outputs in one request, as the protocol demands.

        A 400 that says the run moved on is `PlatformUnavailable`; any other 400 is `PlatformRefused`.
        """
        outputs: list[ToolOutput] = [
            {"tool_call_id": answer.platform_call_id, "output": answer.output.reveal()} for answer in answers
        ]
        await self._ask(
            self._runs.submit_tool_outputs(ref.run_id, thread_id=_addressable(ref), tool_outputs=outputs)
        )

    async def discover(self, thread_id: str) -> RunRef | None:
        """See `worker.ports.Platform.discover`. At most one run of a thread is at work: the newest."""
        try:
            reply = await self._ask(self._runs.list(thread_id, limit=1, order="desc"))
        except RunGone:
            return None
        match reply.body:
            case {"data": []}:
                return None
            case {"data": [{"id": str(run_id), "status": str(status), **run}, *_]} if _ID.fullmatch(run_id):
                ours = not self._assistant_ids or run.get("assistant_id") in self._assistant_ids
                at_work = status not in _ENDINGS and run.get("thread_id") == thread_id
                return RunRef(run_id, thread_id) if ours and at_work else None
        raise PlatformUnavailable(200)

    async def aclose(self) -> None:
        """Close the connections."""
        await self._client.close()

    async def _ask(self, request: "Awaitable[LegacyAPIResponse[Any] | httpx2.Response]") -> "_Reply":
        """One request, read as a JSON object within the time limit. Raises only `PlatformError`s."""
        try:
            async with asyncio.timeout(self._timeout_s):  # the SDK's own limit is per socket operation
                response = await request
        except Exception as error:  # noqa: BLE001 - the SDK wraps most of what its transport raises, not all
            failure = _translated(error)
        else:
            return _read(response)
        raise failure  # out here, so that no traceback chains the SDK's error: it carries the server's text


class _Reply(NamedTuple):
    body: dict[str, Any]
    headers: Mapping[str, str]


def _read(response: "LegacyAPIResponse[Any] | httpx2.Response") -> _Reply:
    try:
        body = json.loads(response.content)
    except (ValueError, RecursionError):
        body = None
    if not isinstance(body, dict):
        raise PlatformUnavailable(response.status_code)
    return _Reply(body, response.headers)


def _addressable(ref: RunRef) -> str:
    """The run's thread. Raises `RunGone` for ids no server can have: the SDK refuses to build their URL."""
    if not ref.thread_id or {ref.run_id, ref.thread_id} & {".", ".."}:
        raise RunGone
    return ref.thread_id


# ---------------------------------------------------------------------------------------- what a look saw


def _look(reply: _Reply, thread_id: str) -> Look:
    run = reply.body
    status, owner = run.get("status"), run.get("thread_id")
    if not (isinstance(status, str) and _WORD.fullmatch(status) and isinstance(owner, str)):
        raise PlatformUnavailable(200)
    if owner != thread_id:
        return Look(Sight.LOST, status, reason="isolamento")
    if status in _ENDINGS:
        sight, reason = _ENDINGS[status]
        return Look(sight, status, reason=reason)
    calls = _calls(run.get("required_action")) if status == "requires_action" else ()
    expires_at = _number(run.get("expires_at"))
    poll_after_ms = _number(reply.headers.get("openai-poll-after-ms"))
    return Look(
        Sight.REQUIRES_ACTION if calls else Sight.WORKING,
        status,
        calls,
        expires_in_s=None if expires_at is None else expires_at - _now(reply.headers),
        poll_after_s=None if poll_after_ms is None else max(0.0, poll_after_ms / 1000),
    )


def _calls(action: object) -> tuple[ToolCall, ...]:
    """The calls to answer, each id once; none when the run waits for anything that is not ours.

    All outputs travel in one request, so one call of another type makes the whole action not ours.
    """
    match action:
        case {"type": "submit_tool_outputs", "submit_tool_outputs": {"tool_calls": list(entries)}}:
            if any(isinstance(entry, dict) and entry.get("type") != "function" for entry in entries):
                return ()
            return tuple({call.platform_call_id: call for call in map(_call, entries)}.values())
        case {"type": str(other)} if other != "submit_tool_outputs":
            return ()
        case _ if not action:  # some servers leave it filled after the run moved on, some empty it
            return ()
    raise PlatformUnavailable(200)


def _call(entry: object) -> ToolCall:
    match entry:
        case {"id": str(call_id), "function": {"name": str(name), "arguments": str(arguments)}}:
            if _ID.fullmatch(call_id) and name and name.isprintable():
                return ToolCall(call_id, name, Personal(arguments))
    raise PlatformUnavailable(200)


# ------------------------------------------------------------------------------------------- what failed

_MOVED_ON = re.compile("do not accept tool outputs|Expected tool outputs", re.IGNORECASE)


def _translated(error: Exception) -> PlatformError:
    """The one place where answers become errors. Keeps status and code: texts may carry personal data."""
    if not isinstance(error, APIStatusError):
        return PlatformUnavailable()
    status, headers = error.status_code, error.response.headers
    code = error.code if error.code and _WORD.fullmatch(error.code) else None
    if status == 404:
        return RunGone(status, code)
    moved_on = status == 400 and _MOVED_ON.search(error.response.text)
    passing = moved_on or status in {408, 409, 429} or status >= 500
    return (PlatformUnavailable if passing else PlatformRefused)(status, code, _retry_after_s(headers))


def _retry_after_s(headers: Mapping[str, str]) -> float | None:
    milliseconds = _number(headers.get("retry-after-ms"))
    seconds = _number(headers.get("retry-after")) if milliseconds is None else milliseconds / 1000
    if seconds is None and (date := _date(headers.get("retry-after"))) is not None:
        seconds = date - _now(headers)
    return None if seconds is None else max(0.0, seconds)


def _now(headers: Mapping[str, str]) -> float:
    """The platform's clock; ours where it shows none."""
    date = _date(headers.get("date"))
    return time.time() if date is None else date


def _date(text: str | None) -> float | None:
    try:
        date = parsedate_to_datetime(text or "")
        return (date if date.tzinfo else date.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError):
        return None


def _number(value: object) -> float | None:
    """A finite number out of JSON or a header; some servers send fractions, some send them as text."""
    try:
        number = float(value) if isinstance(value, (int, float, str)) else math.nan
    except (ValueError, OverflowError):
        return None
    return number if math.isfinite(number) else None

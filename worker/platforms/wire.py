"""What the adapters have in common: one connection, answers read as plain JSON, and what becomes of the rest.

The official SDK builds all requests but looks and submits; all are sent over the same connections
(`worker/platforms/direct.py`). Answers are read as plain JSON: the SDK's models would only add time, and do
not check what they build.
"""

import asyncio
import json
import math
import re
import time
from collections.abc import Awaitable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, TypeGuard
from urllib.parse import urlsplit

import httpx2
from openai import APIStatusError, AsyncOpenAI

from worker.errors import PlatformError, PlatformRefused, PlatformUnavailable, RunGone
from worker.model import PLATFORM_ID, ToolCall
from worker.personal import Personal
from worker.platforms.direct import Connections, DirectClient, RawResponse, SdkTransport
from worker.platforms.entra import EntraToken
from worker.times import http_date, retry_after_s

if TYPE_CHECKING:
    from openai._legacy_response import LegacyAPIResponse  # what with_raw_response gives; exported nowhere

_OPENAI = "https://api.openai.com/v1"
_WORD = re.compile(r"[A-Za-z][A-Za-z0-9_.-]{0,63}")
_NEVER = re.compile(r"(?!)")
_UNRECORDABLE = re.compile(r"[\x00\ud800-\udfff]")
_NO_OBJECT = "null"


class Reply(NamedTuple):
    """An answer that is a JSON object."""

    body: dict[str, Any]
    headers: Mapping[str, str]


class Connection:
    """One platform's server. Nothing is retried here: the loop looks again."""

    def __init__(
        self,
        *,
        api_key: str | EntraToken,
        base_url: str | None = None,
        api_version: str | None = None,
        beta: str | None = None,
        passing: re.Pattern[str] = _NEVER,
        timeout_s: float,
    ) -> None:
        """`beta`: the protocol's `OpenAI-Beta`; `passing`: what a 400 says that a later look explains."""
        url = base_url or _OPENAI
        self._api_key = api_key
        self.host = urlsplit(url).hostname or ""
        self.at_openai = f".{self.host}".endswith(".api.openai.com")
        self._passing = passing
        self._timeout_s = timeout_s
        connections = Connections(url)
        self.client = AsyncOpenAI(
            api_key=api_key,
            base_url=url,
            timeout=timeout_s,
            max_retries=0,
            default_headers={"OpenAI-Beta": beta} if beta else None,
            default_query={"api-version": api_version} if api_version else None,
            # A redirected submit would hand the customer's data to a host nobody configured.
            http_client=httpx2.AsyncClient(
                transport=SdkTransport(connections, timeout_s), follow_redirects=False, trust_env=False
            ),
        )
        if not self.at_openai:  # the SDK takes both from the environment
            self.client.organization = self.client.project = None
        self._connections = connections
        self._direct = DirectClient(connections, self.client, api_key)

    async def look(self, path: str) -> Reply:
        """One read of a run, as `ask` would do it, at a fifth of the cost. Raises only `PlatformError`s."""
        return read(await self._send(path))

    async def submit(
        self, path: str, body: Mapping[str, Any], headers: Mapping[str, str] | None = None
    ) -> RawResponse:
        """Hand answers over, once, as quick. Raises only `PlatformError`s."""
        return await self._send(path, json.dumps(body).encode(), headers)

    async def _send(
        self, path: str, body: bytes | None = None, headers: Mapping[str, str] | None = None
    ) -> RawResponse:
        try:
            async with asyncio.timeout(self._timeout_s):
                answer = await self._direct.send(path, body, headers)
        except Exception as error:  # noqa: BLE001 - what it is does not matter: there was no answer
            failure: PlatformError = _translated(error, self._passing)
        else:
            if 200 <= answer.status < 300:
                return answer
            failure = _refusal(answer, _code(answer.content), self._passing)
        raise failure  # out here, as in `send`

    async def ask(self, request: "Awaitable[LegacyAPIResponse[Any] | httpx2.Response]") -> Reply:
        """One request, read as a JSON object within the time limit. Raises only `PlatformError`s."""
        answer = await self.send(request)
        return read(RawResponse(answer.status_code, answer.headers, answer.content))

    async def send(
        self, request: "Awaitable[LegacyAPIResponse[Any] | httpx2.Response]"
    ) -> "LegacyAPIResponse[Any] | httpx2.Response":
        """One request whose answer need not be JSON. Raises only `PlatformError`s."""
        try:
            async with asyncio.timeout(self._timeout_s):  # the SDK's own limit is per socket operation
                return await request
        except Exception as error:  # noqa: BLE001 - the SDK wraps most of what its transport raises, not all
            failure = _translated(error, self._passing)
        raise failure  # out here, so that no traceback chains the SDK's error: it carries the server's text

    async def probe(self, paths: Sequence[str]) -> Mapping[str, PlatformError]:
        """Read each path once, side by side; what failed, by path."""
        failures = await asyncio.gather(*map(self._failure_of, paths))
        return {path: failure for path, failure in zip(paths, failures, strict=True) if failure}

    async def _failure_of(self, path: str) -> PlatformError | None:
        try:
            await self.ask(self.client.get(path, cast_to=httpx2.Response))
        except PlatformError as failure:
            return failure
        return None

    def warnings(self, failures: Mapping[str, PlatformError]) -> list[str]:
        """A Portuguese sentence for each failed path of a probe."""
        return [self._warning(path, failure) for path, failure in failures.items()]

    def _warning(self, path: str, failure: PlatformError) -> str:
        unread = failure.status is None or failure.status < 300
        said = "não deu resposta legível" if unread else f"respondeu HTTP {failure.status}"
        refused = failure.status in {401, 403}
        hint = "OPENAI_API_KEY e as permissões dela" if refused else "OPENAI_BASE_URL e OPENAI_API_VERSION"
        return f"A plataforma {said} em {self.host}{path}: confira {hint}. O worker segue tentando."

    async def aclose(self) -> None:
        """Close the connections."""
        await self._connections.aclose()
        await self.client.close()
        if isinstance(self._api_key, EntraToken):
            await self._api_key.aclose()


# --------------------------------------------------------------------------------------- reading an answer


def read(answer: RawResponse) -> Reply:
    """An answer as a JSON object. Raises `PlatformUnavailable` when it is none."""
    body = _json(answer.content)
    if not isinstance(body, dict):
        raise PlatformUnavailable(answer.status)
    return Reply(body, answer.headers)


def _json(content: bytes) -> object:
    try:
        return json.loads(content)
    except (ValueError, RecursionError):
        return None


def is_id(value: object) -> TypeGuard[str]:
    """One of the platform's ids, as contract §3 takes them."""
    return isinstance(value, str) and bool(PLATFORM_ID.fullmatch(value))


def is_word(value: object) -> TypeGuard[str]:
    """A status or code that can be shown and logged as it is."""
    return isinstance(value, str) and bool(_WORD.fullmatch(value))


def addressable(*ids: str | None) -> bool:
    """Whether a URL can hold these ids: the SDK refuses to build one with `.` or `..`, or an empty one."""
    return all(ids) and not {".", ".."} & set(ids)


def entries(listing: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The objects of a listing. Raises `PlatformUnavailable`."""
    data = listing.get("data")
    if isinstance(data, list) and all(isinstance(each, dict) for each in data):
        return data
    raise PlatformUnavailable(200)


def naming(threads: Iterable[dict[str, Any]]) -> list[tuple[str, str]]:
    """Of these threads, those whose metadata names a conversation of the bot: (conversation, thread)."""
    found = []
    for thread in threads:
        match thread:
            case {"id": thread_id, "metadata": {"ticket_worker_conversation": conversation_id}}:
                if is_id(conversation_id) and is_id(thread_id) and addressable(thread_id):
                    found.append((conversation_id, thread_id))
    return found


def is_returnable(value: object) -> TypeGuard[str]:
    """An id that can be sent back as it came, and recorded: any text without NUL and lone surrogates."""
    return isinstance(value, str) and not _UNRECORDABLE.search(value)


def tool_call(
    call_id: object, name: object, arguments: object, turn_id: str | None = None
) -> ToolCall | None:
    """A call that can be answered, whatever its name and arguments; None without an id to send back.

    A name that is no text is that of no function; arguments are read as `_text` says.
    """
    if not is_returnable(call_id):
        return None
    return ToolCall(call_id, name if isinstance(name, str) else "", Personal(_text(arguments)), turn_id)


def _text(arguments: object) -> str:
    """The model's JSON text; some servers show it parsed. What is too deep to be written is no object."""
    if isinstance(arguments, str):
        return arguments
    try:
        return json.dumps(arguments, ensure_ascii=False)
    except RecursionError:
        return _NO_OBJECT


class Calls(NamedTuple):
    """The calls of one look, in their order, and how many more have no id to be answered under."""

    calls: tuple[ToolCall, ...]
    unanswerable: int


def each_once(calls: Iterable[ToolCall | None]) -> Calls:
    """A call that is listed twice is one call; two with one id and other contents are two."""
    listed = list(calls)
    answerable = {call.identity: call for call in listed if call is not None}
    return Calls(tuple(answerable.values()), listed.count(None))


# ------------------------------------------------------------------------------------------- what failed


def _translated(error: Exception, passing: re.Pattern[str]) -> PlatformError:
    """The one place where answers become errors. Keeps status and code: texts may carry personal data."""
    if not isinstance(error, APIStatusError):
        return PlatformUnavailable()
    answer = error.response
    told = RawResponse(answer.status_code, answer.headers, answer.content, answer.text)
    return _refusal(told, error.code, passing)


def _refusal(answer: RawResponse, code: object, passing: re.Pattern[str]) -> PlatformError:
    word = code if is_word(code) else None
    said_by_platform = isinstance(_json(answer.content), dict)
    if answer.status == 404 and said_by_platform:
        return RunGone(answer.status, word)
    # A proxy's page says nothing about the run.
    passes = answer.status in {404, 408, 409, 429} or answer.status >= 500
    passes = passes or (answer.status == 400 and bool(passing.search(answer.text)))
    kind = PlatformUnavailable if passes else PlatformRefused
    return kind(answer.status, word, _retry_after_s(answer.headers))


def _code(content: bytes) -> object:
    """The code of an error, where the SDK looks for it."""
    body = _json(content)
    error = body.get("error", body) if isinstance(body, dict) else None
    return error.get("code") if isinstance(error, dict) else None


def _retry_after_s(headers: Mapping[str, str]) -> float | None:
    milliseconds = number(headers.get("retry-after-ms"))
    if milliseconds is not None:
        return max(0.0, milliseconds / 1000)
    return retry_after_s(headers.get("retry-after"), now(headers))


def tokens(usage: object) -> int | None:
    """The total of a `usage`, as all three platforms show it; None where there is none."""
    total = number(usage.get("total_tokens")) if isinstance(usage, dict) else None
    return None if total is None else int(total)


def poll_after_s(headers: Mapping[str, str]) -> float | None:
    """The platform's hint for the next look."""
    milliseconds = number(headers.get("openai-poll-after-ms"))
    return None if milliseconds is None else max(0.0, milliseconds / 1000)


def now(headers: Mapping[str, str]) -> float:
    """The platform's clock; ours where it shows none."""
    date = http_date(headers.get("date"))
    return time.time() if date is None else date


def number(value: object) -> float | None:
    """A finite number out of JSON or a header; some servers send fractions, some send them as text."""
    try:
        found = float(value) if isinstance(value, (int, float, str)) else math.nan
    except (ValueError, OverflowError):
        return None
    return found if math.isfinite(found) else None

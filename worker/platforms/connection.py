"""A connection to a platform, for all adapters: sends requests, and turns failures into `PlatformError`s.

The official SDK builds what creates, changes and deletes; GETs and submits are built here. All are sent over
the same connections (`worker/platforms/direct.py`). Responses are read as plain JSON: the SDK's models only
add time and do not validate.
"""

import asyncio
import json
import re
from collections.abc import Awaitable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import urlsplit

import httpx2
from openai import APIStatusError, AsyncOpenAI

from worker.errors import PlatformError, PlatformRefused, PlatformUnavailable, RunGone
from worker.platforms import payloads
from worker.platforms.direct import Connections, DirectClient, RawResponse, SdkTransport
from worker.platforms.entra import EntraToken
from worker.times import retry_after_s

if TYPE_CHECKING:
    from openai._legacy_response import LegacyAPIResponse  # what with_raw_response gives; exported nowhere

_OPENAI = "https://api.openai.com/v1"
_NO_MATCH = re.compile(r"(?!)")


class Reply(NamedTuple):
    """A response whose body is a JSON object."""

    body: dict[str, Any]
    headers: Mapping[str, str]


class Connection:
    """A connection to one platform's server. Nothing is retried here: the loop polls again."""

    def __init__(
        self,
        *,
        api_key: str | EntraToken,
        base_url: str | None = None,
        api_version: str | None = None,
        beta: str | None = None,
        transient: re.Pattern[str] = _NO_MATCH,
        timeout_s: float,
    ) -> None:
        """`beta`: the protocol's `OpenAI-Beta`. `transient`: matches the text of a 400 that may pass."""
        url = base_url or _OPENAI
        self._api_key = api_key
        self.host = urlsplit(url).hostname or ""
        self.at_openai = f".{self.host}".endswith(".api.openai.com")
        self._transient = transient
        self._timeout_s = timeout_s
        connections = Connections(url)
        self.client = AsyncOpenAI(
            api_key=api_key,
            base_url=url,
            timeout=timeout_s,
            max_retries=0,
            default_headers={"OpenAI-Beta": beta} if beta else None,
            default_query={"api-version": api_version} if api_version else None,
            # A redirected submit would send the customer's data to a host that is not configured.
            http_client=httpx2.AsyncClient(
                transport=SdkTransport(connections, timeout_s), follow_redirects=False, trust_env=False
            ),
        )
        if not self.at_openai:  # the SDK takes both from the environment
            self.client.organization = self.client.project = None
        self._connections = connections
        self._direct = DirectClient(connections, self.client, api_key)

    async def get(self, path: str) -> Reply:
        """Read a JSON object at a fifth of the cost of `ask`. Raises only `PlatformError`s."""
        return read(await self._send(path))

    async def submit(
        self, path: str, body: Mapping[str, Any], headers: Mapping[str, str] | None = None
    ) -> RawResponse:
        """Submit answers, once, at the same low cost. Raises only `PlatformError`s."""
        return await self._send(path, json.dumps(body).encode(), headers)

    async def _send(
        self, path: str, body: bytes | None = None, headers: Mapping[str, str] | None = None
    ) -> RawResponse:
        try:
            async with asyncio.timeout(self._timeout_s):
                response = await self._direct.send(path, body, headers)
        except Exception as error:  # noqa: BLE001 - any error means that there was no response
            failure: PlatformError = _platform_error(error, self._transient)
        else:
            if 200 <= response.status < 300:
                return response
            failure = _refusal(response, _code(response.content), self._transient)
        raise failure  # out here, as in `send`

    async def ask(self, request: "Awaitable[LegacyAPIResponse[Any] | httpx2.Response]") -> Reply:
        """Send one request and read its response as a JSON object. Raises only `PlatformError`s."""
        response = await self.send(request)
        return read(RawResponse(response.status_code, response.headers, response.content))

    async def send(
        self, request: "Awaitable[LegacyAPIResponse[Any] | httpx2.Response]"
    ) -> "LegacyAPIResponse[Any] | httpx2.Response":
        """Send one request whose response need not be JSON. Raises only `PlatformError`s."""
        try:
            async with asyncio.timeout(self._timeout_s):  # the SDK's own limit is per socket operation
                return await request
        except Exception as error:  # noqa: BLE001 - the SDK wraps most of what its transport raises, not all
            failure = _platform_error(error, self._transient)
        raise failure  # out here, so that no traceback chains the SDK's error: it carries the server's text

    async def probe(self, paths: Sequence[str]) -> Mapping[str, PlatformError]:
        """Read each path once, in parallel. Returns the failures by path."""
        failures = await asyncio.gather(*map(self._failure_of, paths))
        return {path: failure for path, failure in zip(paths, failures, strict=True) if failure}

    async def _failure_of(self, path: str) -> PlatformError | None:
        try:
            await self.get(path)
        except PlatformError as failure:
            return failure
        return None

    def warnings(self, failures: Mapping[str, PlatformError]) -> list[str]:
        """A Portuguese sentence for each failed path of a probe."""
        return [self._warning(path, failure) for path, failure in failures.items()]

    def _warning(self, path: str, failure: PlatformError) -> str:
        unreadable = failure.status is None or failure.status < 300
        problem = "não deu resposta legível" if unreadable else f"respondeu HTTP {failure.status}"
        return (
            f"A plataforma {problem} em {self.host}{path}: {_cure(failure.status)}. O worker segue tentando."
        )

    async def aclose(self) -> None:
        """Close the connections."""
        await self._connections.aclose()
        await self.client.close()
        if isinstance(self._api_key, EntraToken):
            await self._api_key.aclose()


def read(response: RawResponse) -> Reply:
    """The response's JSON object. Raises `PlatformUnavailable` for any other body."""
    body = _json(response.content)
    if not isinstance(body, dict):
        raise PlatformUnavailable(response.status)
    return Reply(body, response.headers)


def _json(content: bytes) -> object:
    try:
        return json.loads(content)
    except (ValueError, RecursionError):
        return None


# ------------------------------------------------------------------------------------------- errors


def _cure(status: int | None) -> str:
    """What an operator does about a path that cannot be read."""
    if status in {401, 403}:
        return "confira OPENAI_API_KEY e as permissões dela"
    if status is not None and (status >= 500 or status == 429):
        return "o erro é dela, não da configuração; veja a página de estado"
    return "confira OPENAI_BASE_URL e OPENAI_API_VERSION"


def _platform_error(error: Exception, transient: re.Pattern[str]) -> PlatformError:
    """Turn an error of SDK or network into a `PlatformError`.

    Only status and code are kept: texts may carry personal data.
    """
    if not isinstance(error, APIStatusError):
        return PlatformUnavailable()
    response = error.response
    raw = RawResponse(response.status_code, response.headers, response.content, response.text)
    return _refusal(raw, error.code, transient)


def _refusal(response: RawResponse, code: object, transient: re.Pattern[str]) -> PlatformError:
    word = code if payloads.is_word(code) else None
    is_json = isinstance(_json(response.content), dict)
    if response.status == 404 and is_json:
        return RunGone(response.status, word)
    # A proxy's page says nothing about the run.
    may_pass = response.status in {404, 408, 409, 429} or response.status >= 500
    may_pass = may_pass or (response.status == 400 and bool(transient.search(response.text)))
    kind = PlatformUnavailable if may_pass else PlatformRefused
    return kind(response.status, word, _retry_after_s(response.headers))


def _code(content: bytes) -> object:
    """The error code in the body, where the SDK reads it too."""
    body = _json(content)
    error = body.get("error", body) if isinstance(body, dict) else None
    return error.get("code") if isinstance(error, dict) else None


def _retry_after_s(headers: Mapping[str, str]) -> float | None:
    milliseconds = payloads.number(headers.get("retry-after-ms"))
    if milliseconds is not None:
        return max(0.0, milliseconds / 1000)
    return retry_after_s(headers.get("retry-after"), payloads.now(headers))

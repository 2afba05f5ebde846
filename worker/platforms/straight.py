"""The hot requests, looks and submits, straight on aiohttp. Everything else goes through the official SDK.

Through the SDK and the client below it the same request costs six times the CPU, and these are all that a run
asks of its platform (docs/decisions.md).
"""

from collections.abc import Mapping
from typing import NamedTuple
from urllib.parse import urlencode, urlsplit
from urllib.request import getproxies

import aiohttp
import httpx2
from openai import AsyncOpenAI
from yarl import URL

from worker.platforms.entra import EntraToken

_IDLE_S = 5.0
"""How long an unused connection is kept: as the SDK does."""


class Answered(NamedTuple):
    """An answer as it came; `text` only of one that is no 2xx, in its own encoding."""

    status: int
    headers: Mapping[str, str]
    content: bytes
    text: str = ""


class Straight:
    """Sends what the SDK would: its headers, its query, by its trust store, with the token of the moment."""

    def __init__(self, client: AsyncOpenAI, api_key: str | EntraToken) -> None:
        self._client = client
        self._api_key = api_key
        self._base = str(client.base_url).rstrip("/")
        query = urlencode(client.default_query)
        self._query = f"?{query}" if query else ""
        url, proxies = urlsplit(self._base), getproxies()
        proxied = proxies.get(url.scheme) or proxies.get("all")
        self.possible = bool(api_key) and not proxied and url.username is None
        """Not behind a proxy, with credentials in the URL, or without a key: the SDK knows those ways."""
        self._session: aiohttp.ClientSession | None = None

    async def send(
        self, path: str, body: bytes | None = None, headers: Mapping[str, str] | None = None
    ) -> Answered:
        """The answer to a GET, or to a POST of `body`, which is JSON; `path` is quoted.

        Raises what aiohttp raises; the caller limits the time.
        """
        session = self._session = self._session or self._open()
        url = URL(self._base + path + self._query, encoded=True)
        key = self._api_key if isinstance(self._api_key, str) else await self._api_key()
        told = {"Authorization": f"Bearer {key}", **(headers or {})}
        method = "GET"
        if body is not None:
            method = "POST"
            told["Content-Type"] = "application/json"
        async with session.request(method, url, data=body, headers=told, allow_redirects=False) as answer:
            content = await answer.read()
            if 200 <= answer.status < 300:
                return Answered(answer.status, answer.headers, content)
            text = content.decode(answer.charset or "utf-8", "replace")
            return Answered(answer.status, answer.headers, content, text)

    async def aclose(self) -> None:
        """Close the connections."""
        if self._session is not None:
            await self._session.close()

    def _open(self) -> aiohttp.ClientSession:
        told = self._client.default_headers
        secure = httpx2.create_ssl_context() if self._base.startswith("https:") else True
        return aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(ssl=secure, keepalive_timeout=_IDLE_S),
            headers={
                name: said for name, said in told.items() if isinstance(said, str) and name != "Content-Type"
            },
            cookie_jar=aiohttp.DummyCookieJar(),  # no cookie of one look goes with the next
            timeout=aiohttp.ClientTimeout(total=None),
        )

"""The hot read: one GET, straight on aiohttp. Everything else goes through the official SDK.

Through the SDK and the client below it the same request costs six times the CPU, and looks are most of what
this worker does (docs/decisions.md).
"""

from collections.abc import Mapping
from typing import NamedTuple
from urllib.parse import urlsplit
from urllib.request import getproxies

import aiohttp
import httpx2
from openai import AsyncOpenAI
from yarl import URL

from worker.platforms.entra import EntraToken

_IDLE_S = 5.0
"""How long an unused connection is kept: as the SDK does."""


class Read(NamedTuple):
    """An answer as it came; `text` only of one that is no 2xx, in its own encoding."""

    status: int
    headers: Mapping[str, str]
    content: bytes
    text: str = ""


class Reader:
    """Sends what the SDK would: its headers, its query, by its trust store, with the token of the moment."""

    def __init__(self, client: AsyncOpenAI, api_key: str | EntraToken) -> None:
        self._client = client
        self._api_key = api_key
        self._base = str(client.base_url).rstrip("/")
        self._query = {name: str(said) for name, said in client.default_query.items()}
        self._session: aiohttp.ClientSession | None = None

    def goes_straight(self) -> bool:
        """Not behind a proxy, with credentials in the URL, or without a key: there the SDK knows what to do."""
        url, proxies = urlsplit(self._base), getproxies()
        proxied = proxies.get(url.scheme) or proxies.get("all")
        return bool(self._api_key) and not proxied and url.username is None

    async def get(self, path: str) -> Read:
        """The answer to one GET; `path` is quoted. Raises what aiohttp raises; the caller limits the time."""
        session = self._session = self._session or self._open()
        url = URL(self._base + path, encoded=True)
        headers = {"Authorization": f"Bearer {await self._key()}"}
        async with session.get(
            url.update_query(self._query), headers=headers, allow_redirects=False
        ) as answer:
            content = await answer.read()
            if 200 <= answer.status < 300:
                return Read(answer.status, answer.headers, content)
            text = content.decode(answer.charset or "utf-8", "replace")
            return Read(answer.status, answer.headers, content, text)

    async def aclose(self) -> None:
        """Close the connections."""
        if self._session is not None:
            await self._session.close()

    async def _key(self) -> str:
        return self._api_key if isinstance(self._api_key, str) else await self._api_key()

    def _open(self) -> aiohttp.ClientSession:
        told = self._client.default_headers
        secure = httpx2.create_ssl_context() if self._base.startswith("https:") else True
        return aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(ssl=secure, keepalive_timeout=_IDLE_S),
            headers={name: said for name, said in told.items() if isinstance(said, str)},
            cookie_jar=aiohttp.DummyCookieJar(),  # no cookie of one look goes with the next
            timeout=aiohttp.ClientTimeout(total=None),
        )

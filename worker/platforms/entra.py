"""Tokens of Microsoft Entra for Foundry, which takes no API keys (contract §2, OPENAI_AUTH=entra)."""

from importlib import import_module
from typing import Any

from worker.errors import ConfigError

_SCOPE = "https://ai.azure.com/.default"


class EntraToken:
    """A source of tokens that the SDK awaits instead of a key. The credential renews the token itself.

    Raises `ConfigError` when the extra `azure` is not installed.
    """

    def __init__(self) -> None:
        try:
            identity: Any = import_module("azure.identity.aio")
        except ImportError:
            raise ConfigError(
                "OPENAI_AUTH=entra precisa do pacote azure-identity: pip install 'ticket-worker[azure]'"
            ) from None
        self._credential = identity.DefaultAzureCredential()

    async def __call__(self) -> str:
        token: str = (await self._credential.get_token(_SCOPE)).token
        return token

    async def aclose(self) -> None:
        """Close the credential's own connections."""
        await self._credential.close()

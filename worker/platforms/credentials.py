"""The platform's address and credentials, from the settings."""

from typing import TypedDict

from worker.platforms.entra import EntraToken
from worker.settings import Settings


class Credentials(TypedDict):
    """Keyword arguments that every adapter takes."""

    api_key: str | EntraToken
    base_url: str | None
    api_version: str | None


def credentials(settings: Settings) -> Credentials:
    """Address and credentials of the platform. Raises `ConfigError` when Entra tokens are unavailable."""
    return {
        "api_key": api_key(settings),
        "base_url": settings.OPENAI_BASE_URL,
        "api_version": settings.OPENAI_API_VERSION,
    }


def api_key(settings: Settings) -> str | EntraToken:
    """The configured key, or a token that renews itself. Raises `ConfigError`."""
    if settings.OPENAI_AUTH == "entra":
        return EntraToken()
    return settings.OPENAI_API_KEY.get_secret_value() if settings.OPENAI_API_KEY else ""

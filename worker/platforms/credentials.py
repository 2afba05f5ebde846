"""What authenticates requests to the platform, from the settings."""

from typing import TypedDict

from worker.platforms.entra import EntraToken
from worker.settings import Settings


class Credentials(TypedDict):
    """Keyword arguments that every adapter takes."""

    api_key: str | EntraToken
    base_url: str | None
    api_version: str | None


def credentials(settings: Settings) -> Credentials:
    """Where the platform is, and how it knows us. Raises `ConfigError` when Entra tokens cannot be had."""
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

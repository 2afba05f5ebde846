"""The platforms a worker can serve; a new one is a file and a line here. The only home of `openai`."""

from worker.platforms.entra import EntraToken
from worker.ports import Platform
from worker.settings import Settings


def connect(settings: Settings) -> Platform:
    """The platform that `PLATFORM` names. Only its module is imported: each costs start-up time.

    Raises `ConfigError` when Entra tokens are asked for and cannot be had.
    """
    key, base_url, version = api_key(settings), settings.OPENAI_BASE_URL, settings.OPENAI_API_VERSION
    ours = list(settings.assistant_ids.values())
    match settings.PLATFORM:
        case "agents":
            from worker.platforms.agents import AgentsPlatform  # noqa: PLC0415  # as said above

            return AgentsPlatform(api_key=key, base_url=base_url, api_version=version, assistant_ids=ours)
        case "responses":
            from worker.platforms.responses import ResponsesPlatform  # noqa: PLC0415  # as said above

            return ResponsesPlatform(api_key=key, base_url=base_url, api_version=version)
        case _:
            from worker.platforms.assistants import AssistantsPlatform  # noqa: PLC0415  # as said above

            return AssistantsPlatform(api_key=key, base_url=base_url, api_version=version, assistant_ids=ours)


def api_key(settings: Settings) -> str | EntraToken:
    """What authenticates us: the configured key, or a token that renews itself."""
    if settings.OPENAI_AUTH == "entra":
        return EntraToken()
    return settings.OPENAI_API_KEY.get_secret_value() if settings.OPENAI_API_KEY else ""

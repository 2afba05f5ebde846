"""The platforms a worker can serve; a new one is a file and a line here. The only home of `openai`."""

from worker.ports import Platform
from worker.settings import Settings


def connect(settings: Settings) -> Platform:
    """The platform that `PLATFORM` names. Only its module is imported: each costs start-up time."""
    key = settings.OPENAI_API_KEY.get_secret_value() if settings.OPENAI_API_KEY else ""
    where = {
        "api_key": key,
        "base_url": settings.OPENAI_BASE_URL,
        "api_version": settings.OPENAI_API_VERSION,
    }
    match settings.PLATFORM:
        case "agents":
            from worker.platforms.agents import AgentsPlatform  # noqa: PLC0415  # as said above

            return AgentsPlatform(**where, assistant_ids=list(settings.assistant_ids.values()))
        case "responses":
            from worker.platforms.responses import ResponsesPlatform  # noqa: PLC0415  # as said above

            return ResponsesPlatform(**where)
        case _:
            from worker.platforms.assistants import AssistantsPlatform  # noqa: PLC0415  # as said above

            return AssistantsPlatform(**where, assistant_ids=list(settings.assistant_ids.values()))

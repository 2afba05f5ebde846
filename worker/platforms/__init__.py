"""The platforms a worker can serve. The only home of `openai`.

A new platform is a module here with a `SPEC`, and a line in `worker.settings.platforms`.
"""

from importlib import import_module

from worker.platforms.definitions import Stored
from worker.platforms.spec import PlatformSpec
from worker.ports import Platform
from worker.settings import Settings
from worker.settings.platforms import PLATFORMS

__all__ = ["PlatformSpec", "connect", "spec", "stored_assistants"]


def spec(settings: Settings) -> PlatformSpec:
    """The platform that PLATFORM names. Only its module is imported: each costs start-up time."""
    found: PlatformSpec = import_module(PLATFORMS[settings.PLATFORM or "assistants"].module).SPEC
    return found


def connect(settings: Settings) -> Platform:
    """The adapter of the configured platform. Raises `ConfigError`: see `PlatformSpec.connect`."""
    return spec(settings).connect(settings)


def stored_assistants(settings: Settings) -> Stored | None:
    """Where the configured platform stores assistants; None where it stores none."""
    open_stored = spec(settings).stored
    return None if open_stored is None else open_stored(settings)

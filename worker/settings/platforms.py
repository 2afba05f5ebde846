"""The registry of platforms: what PLATFORM may be, and the module that serves it."""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class RegisteredPlatform:
    """One platform, known before its module is imported."""

    #: The adapter's module, which has a `SPEC` (`worker.platforms.spec.PlatformSpec`).
    module: str
    #: Run ids that begin with this exist on this platform only.
    id_prefix: str | None = None


PLATFORMS: Mapping[str, RegisteredPlatform] = {
    "assistants": RegisteredPlatform("worker.platforms.assistants"),
    "agents": RegisteredPlatform("worker.platforms.agents", id_prefix="sess_"),
    "responses": RegisteredPlatform("worker.platforms.responses", id_prefix="resp_"),
}
"""By the value of PLATFORM."""


def platform_names() -> str:
    """The values of PLATFORM as a Portuguese list: `a, b ou c`."""
    return " ou ".join(", ".join(PLATFORMS).rsplit(", ", 1))

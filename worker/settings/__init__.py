"""Settings from the environment and `.env` (contract §2)."""

from worker.settings.fields import NAMED_ASSISTANTS, Settings, is_loopback
from worker.settings.loading import load

__all__ = ["NAMED_ASSISTANTS", "Settings", "is_loopback", "load"]

"""The real clock and the real wait, behind `ports.Clock`."""

import asyncio
import time


class SystemClock:
    """What the daemon runs on; tests bring their own."""

    def monotonic(self) -> float:
        return time.monotonic()

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)

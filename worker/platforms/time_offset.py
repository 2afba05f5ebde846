"""The offset between this machine's clock and the platform's, which decides expiry and signs webhooks."""

import time

import httpx2
from openai import APIStatusError

from worker.platforms import definitions, payloads, spec
from worker.settings import Settings


async def time_offset_s(settings: Settings) -> float | None:
    """Seconds this machine's clock is ahead, to about one; None without a response or without a date."""
    connection = definitions.connection(settings)
    before = time.time()
    try:
        headers = (await connection.client.get(spec(settings).clock_path, cast_to=httpx2.Response)).headers
    except APIStatusError as error:  # a refusal has a date as well
        headers = error.response.headers
    except Exception:  # noqa: BLE001  # the probe reports the failure; here it only means no date
        return None
    finally:
        await connection.aclose()
    return (before + time.time()) / 2 - payloads.now(headers) if "date" in headers else None

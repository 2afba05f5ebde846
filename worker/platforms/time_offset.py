"""This machine's clock against the platform's: runs expire, and webhooks are signed, by that one."""

import time

import httpx2
from openai import APIStatusError

from worker.platforms import definitions, spec, wire
from worker.settings import Settings


async def time_offset_s(settings: Settings) -> float | None:
    """How far our clock is ahead, to about a second; None when the platform does not answer or shows none."""
    connection = definitions.connection(settings)
    before = time.time()
    try:
        headers = (await connection.client.get(spec(settings).clock_path, cast_to=httpx2.Response)).headers
    except APIStatusError as error:  # a refusal has a date as well
        headers = error.response.headers
    except Exception:  # noqa: BLE001  # whatever it was, the probe tells of it; here there is no date
        return None
    finally:
        await connection.aclose()
    return (before + time.time()) / 2 - wire.now(headers) if "date" in headers else None

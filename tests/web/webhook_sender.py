"""OpenAI as a sender of webhooks: signed, under an id of their own, now unless told otherwise."""

import json
from base64 import b64encode
from datetime import UTC, datetime, timedelta

import httpx
from standardwebhooks import Webhook

SECRET = "whsec_" + b64encode(b"0123456789abcdef01234567").decode()
PATH = "/v1/webhooks/openai"
ACTION_REQUIRED = "agent.session.action_required"
COMPLETED = "response.completed"


def event(run_id: object, kind: str = COMPLETED) -> bytes:
    """The body OpenAI sends: it names the run, and says nothing else about it."""
    data = {"id": run_id}
    return json.dumps({"id": "evt_1", "object": "event", "type": kind, "data": data}).encode()


def signed(
    body: bytes, webhook_id: str = "wh_1", *, age_s: float = 0.0, secret: str = SECRET
) -> dict[str, str]:
    """The headers of one delivery."""
    at = datetime.now(UTC) - timedelta(seconds=age_s)
    return {
        "content-type": "application/json",
        "webhook-id": webhook_id,
        "webhook-timestamp": str(int(at.timestamp())),
        "webhook-signature": Webhook(secret).sign(webhook_id, at, body.decode()),
    }


async def send(
    api: httpx.AsyncClient, run_id: object, webhook_id: str = "wh_1", kind: str = COMPLETED
) -> httpx.Response:
    """One delivery about a run."""
    body = event(run_id, kind)
    return await api.post(PATH, content=body, headers=signed(body, webhook_id))

"""The HTTP API over a real store, as `wiring` builds it."""

import re
from typing import Any
from zoneinfo import ZoneInfo

import httpx
from fastapi import FastAPI
from starlette.types import ASGIApp

from worker.engine.reply_check import ReplyCheck
from worker.store.store import Store
from worker.web.app import create_api
from worker.web.dependencies import Services

EPOCH = 1_761_590_040.25
"""2025-10-27T15:34:00.25-03:00."""


def api_at_epoch(store: Store, *, token: str | None = None, **changes: Any) -> FastAPI:
    """As `api_over`; by its clock it is `EPOCH`."""
    return api_over(store, token=token, now=lambda: EPOCH, **changes)


def api_over(store: Store, *, token: str | None = None, **changes: Any) -> FastAPI:
    """On the platform `assistants`, in São Paulo, without a token and webhooks.

    `changes` are fields of `Services`.
    """
    fields: dict[str, Any] = {
        "platform": "assistants",
        "zone": ZoneInfo("America/Sao_Paulo"),
        "protocolo": re.compile(r"^\d{8,20}$"),
        "wake": lambda run_id: None,
        "alive": lambda: True,
        "replies": ReplyCheck(store.replies),
    }
    return create_api(Services(store=store, **{**fields, **changes}), token=token)


def calling(app: ASGIApp, **options: Any) -> httpx.AsyncClient:
    """A client of `app` that needs no socket."""
    transport = httpx.ASGITransport(app, client=options.pop("client", ("127.0.0.1", 50000)))
    return httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:8080", **options)

"""The HTTP API over a real store, as the composition root builds it."""

from typing import Any

from fastapi import FastAPI

from worker.store.store import Store
from worker.web.app import create_api


def api_over(store: Store, **changes: Any) -> FastAPI:
    """Without a token and without webhooks, unless told otherwise."""
    settings: dict[str, Any] = {
        "operators": store.operators,
        "handoffs": store.handoffs,
        "board": store.board,
        "erasures": store.erasures,
        "webhooks": None,
        "token": None,
        "protocol_pattern": r"^\d{8,20}$",
        "wake": lambda run_id: None,
        "alive": lambda: True,
        "timezone": "America/Sao_Paulo",
    }
    return create_api(store.records, **{**settings, **changes})

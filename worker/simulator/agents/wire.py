"""Sessions and turns as JSON: every key of the SDK's types, times in whole Unix seconds."""

from collections.abc import Iterator
from typing import Any

from worker.simulator.agents.session_items import arguments
from worker.simulator.agents.sessions import Session, Turn

Json = dict[str, Any]

_USAGE = {
    "input_tokens": 0,
    "input_tokens_details": {"cached_tokens": 0},
    "output_tokens": 0,
    "output_tokens_details": {"reasoning_tokens": 0},
    "total_tokens": 0,
}


def session(item: Session) -> Json:
    return {
        "id": item.id,
        "object": "agent.session",
        "agent": item.agent,
        "created_at": int(item.created_at),
        "last_active_at": int(item.last_active_at),
        "status": item.status,
        "error": item.error,
        "required_actions": list(required_actions(item)),
        "usage": _USAGE,
        "spend_control": {"consumed": item.spent, "limit": item.spend_limit},
        **{name: value for name, value in item.settings.items() if value is not None},
    }


def required_actions(item: Session) -> Iterator[Json]:
    """The actions that the session waits for: other required actions, then calls."""
    current_round = item.turn.round if item.turn else None
    if item.turn is None or current_round is None:
        return
    for request_id, action in current_round.others.items():
        approval = {"turn_id": item.turn.id, "request_id": request_id}
        yield {**action, **({} if action["type"] == "environment_connection" else approval)}
    for call_id, call in current_round.pending.items():
        yield {
            "type": "function_call",
            "turn_id": item.turn.id,
            "call_id": call_id,
            "name": call.name,
            "arguments": arguments(call),
        }


_PUBLIC_STATUS = {"cancelling": "in_progress", "paused": "in_progress"}


def turn(item: Turn) -> Json:
    ended, started = item.times.get("ended"), item.times.get("started")
    return {
        "id": item.id,
        "object": "agent.session.turn",
        "session_id": item.session.id,
        "agent_id": item.session.agent["id"],
        "subagent_id": None,
        "status": _PUBLIC_STATUS.get(item.status, item.status),
        "error": item.error,
        "created_at": int(item.created_at),
        "started_at": None if started is None else int(started),
        "completed_at": None if ended is None else int(ended),
        "usage": None if item.active else _USAGE,
    }

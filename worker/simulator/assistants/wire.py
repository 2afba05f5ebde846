"""The Assistants v2 objects as JSON: every key of OpenAI's description, times in whole Unix seconds."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

from worker.simulator.assistants.runs import Message, Run, Step, Thread, invalid_request

Json = dict[str, Any]


Item = TypeVar("Item")


def page(items: Sequence[Item], query: Mapping[str, str], shape: Callable[[Item], Json]) -> Json:
    """The page of `items` (oldest first) that `limit`, `order`, `after` and `before` select."""
    limit = query.get("limit", "20")
    if not limit.isdecimal() or not 1 <= int(limit) <= 100:
        raise invalid_request("Invalid 'limit': expected an integer between 1 and 100.")
    order = query.get("order", "desc")
    if order not in {"asc", "desc"}:
        raise invalid_request("Invalid 'order': expected one of 'asc' or 'desc'.")
    matching = [shape(item) for item in (items if order == "asc" else reversed(items))]
    if after := query.get("after"):
        matching = matching[_position(matching, after) + 1 :]
    if before := query.get("before"):
        matching = matching[: _position(matching, before)]
    data = matching[: int(limit)]
    return {
        "object": "list",
        "data": data,
        "first_id": data[0]["id"] if data else "",
        "last_id": data[-1]["id"] if data else "",
        "has_more": len(matching) > len(data),
    }


def _position(items: Sequence[Json], item_id: str) -> int:
    for position, item in enumerate(items):
        if item["id"] == item_id:
            return position
    raise invalid_request(f"No object found with id '{item_id}'.")


def _seconds(at: float | None) -> int | None:
    return None if at is None else int(at)


def thread(item: Thread) -> Json:
    return {
        "id": item.id,
        "object": "thread",
        "created_at": int(item.created_at),
        "tool_resources": {},
        "metadata": item.metadata,
    }


def message(item: Message) -> Json:
    return {
        "id": item.id,
        "object": "thread.message",
        "created_at": int(item.created_at),
        "thread_id": item.thread_id,
        "status": "completed",
        "incomplete_details": None,
        "completed_at": int(item.created_at),
        "incomplete_at": None,
        "role": item.role,
        "content": item.content,
        "assistant_id": item.assistant_id,
        "run_id": item.run_id,
        "attachments": item.attachments,
        "metadata": item.metadata,
    }


def run(item: Run) -> Json:
    ends = {f"{state}_at": _seconds(item.times.get(state)) for state in ("completed", "failed", "cancelled")}
    return {
        "id": item.id,
        "object": "thread.run",
        "created_at": int(item.created_at),
        "thread_id": item.thread.id,
        "assistant_id": item.assistant_id,
        "status": item.status,
        "required_action": _required_action(item.pending),
        "last_error": _last_error(item),
        "expires_at": item.expires_at if item.active else None,
        "started_at": _seconds(item.times.get("started")),
        **ends,
        "incomplete_details": {"reason": "max_completion_tokens"} if item.status == "incomplete" else None,
        "usage": None if item.active else _USAGE,
        **item.settings,
    }


_USAGE = {"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0}


def _last_error(item: Run) -> Json | None:
    failed = item.status == "failed"
    return {"code": "server_error", "message": "Sorry, something went wrong."} if failed else None


def _required_action(pending: Step | None) -> Json | None:
    if pending is None:
        return None
    calls = [
        {"id": call_id, "type": "function", "function": {"name": call.name, "arguments": call.arguments}}
        for call_id, call in pending.calls.items()
    ]
    return {"type": "submit_tool_outputs", "submit_tool_outputs": {"tool_calls": calls}}


def step(owner: Run) -> Callable[[Step], Json]:
    """A function that shapes this run's steps."""

    def shape(item: Step) -> Json:
        ends = {
            f"{state}_at": _seconds(item.closed_at) if item.status == state else None
            for state in ("completed", "failed", "cancelled", "expired")
        }
        return {
            "id": item.id,
            "object": "thread.run.step",
            "created_at": int(item.created_at),
            "assistant_id": owner.assistant_id,
            "thread_id": owner.thread.id,
            "run_id": owner.id,
            "type": "message_creation" if item.message_id else "tool_calls",
            "status": item.status,
            "step_details": _step_details(item),
            "last_error": None,
            **ends,
            "metadata": {},
            "usage": None if item.status == "in_progress" else _USAGE,
        }

    return shape


def _step_details(item: Step) -> Json:
    if item.message_id:
        return {"type": "message_creation", "message_creation": {"message_id": item.message_id}}
    outputs = item.outputs or {}
    calls = [
        {
            "id": call_id,
            "type": "function",
            "function": {"name": call.name, "arguments": call.arguments, "output": outputs.get(call_id)},
        }
        for call_id, call in item.calls.items()
    ]
    return {"type": "tool_calls", "tool_calls": calls}

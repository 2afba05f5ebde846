"""Responses and conversations as JSON: the platform's keys, times in whole Unix seconds."""

from typing import Any

from worker.simulator.responses.generation import Conversation, ModelResponse

Json = dict[str, Any]

_USAGE = {
    "input_tokens": 0,
    "input_tokens_details": {"cache_write_tokens": 0, "cached_tokens": 0},
    "output_tokens": 0,
    "output_tokens_details": {"reasoning_tokens": 0},
    "total_tokens": 0,
}


def response(item: ModelResponse) -> Json:
    failed, incomplete = item.status == "failed", item.status == "incomplete"
    conversation_key = {"conversation": {"id": item.conversation.id}} if item.conversation else {}
    return {
        "id": item.id,
        "object": "response",
        "created_at": int(item.created_at),
        "status": item.status,
        "background": item.background,
        "completed_at": int(item.entered_at) if item.status == "completed" else None,
        "error": {"code": "server_error", "message": "Sorry, something went wrong."} if failed else None,
        "incomplete_details": {"reason": "max_output_tokens"} if incomplete else None,
        "output": item.output,
        "previous_response_id": item.previous_id,
        "store": item.store,
        "usage": None if item.active else _USAGE,
        **conversation_key,
        **item.settings,
    }


def conversation(item: Conversation) -> Json:
    return {
        "id": item.id,
        "object": "conversation",
        "created_at": int(item.created_at),
        "metadata": item.metadata,
    }

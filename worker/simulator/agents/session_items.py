"""The history of a session: messages, function calls and their results, in the shape of its responses."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from worker.simulator.assistants.runs import new_id
from worker.simulator.script import Call, CustomerMessage

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Result:
    """The result of a function call."""

    success: bool
    #: The output, or the error of a call that did not succeed.
    text: str


class History:
    """The items of one session, oldest first."""

    def __init__(self) -> None:
        self.items: list[Json] = []

    def add_user_message(self, turn_id: str, content: Sequence[Json]) -> None:
        """`content`: parts of type `input_text` or `input_image`."""
        self._message(turn_id, "user", list(content), phase=None)

    def add_agent_message(self, turn_id: str, text: str) -> None:
        self._message(turn_id, "assistant", [{"type": "output_text", "text": text}], phase="final_answer")

    def add_call(self, turn_id: str, call_id: str, call: Call) -> None:
        self._add(
            "fc",
            type="function_call",
            turn_id=turn_id,
            call_id=call_id,
            name=call.name,
            arguments=arguments(call),
            status="in_progress",
        )

    def add_result(self, turn_id: str, call_id: str, result: Result) -> None:
        """End the call with this result."""
        status = "completed" if result.success else "failed"
        for item in self.items:
            if item.get("call_id") == call_id:
                item["status"] = status
        self._add(
            "fco",
            type="function_call_output",
            turn_id=turn_id,
            call_id=call_id,
            output=result.text if result.success else None,
            error=None if result.success else result.text,
            status=status,
        )

    def customer_messages(self) -> list[CustomerMessage]:
        """The customer's messages as a script reads them."""
        return [_customer_message(item["content"]) for item in self.items if item.get("role") == "user"]

    def _message(self, turn_id: str, role: str, content: list[Json], phase: str | None) -> None:
        message = {"type": "message", "turn_id": turn_id, "role": role, "content": content}
        self._add("msg", **message, phase=phase, status="completed")

    def _add(self, prefix: str, **item: object) -> None:
        self.items.append({"id": new_id(prefix), **item})


def arguments(call: Call) -> object:
    """The parsed arguments, or the model's text where it is not a JSON object."""
    try:
        value = json.loads(call.arguments)
    except ValueError:
        return call.arguments
    return value if isinstance(value, dict) else call.arguments


def _customer_message(content: Sequence[Json]) -> CustomerMessage:
    text = " ".join(part["text"] for part in content if part["type"] == "input_text")
    return CustomerMessage(text, image=any(part["type"] == "input_image" for part in content))

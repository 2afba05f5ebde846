"""Forwards calls of the bot's own tools to the bot, through the same ledger and guard (contract §5)."""

import json
import re
from dataclasses import dataclass, field
from datetime import UTC, datetime

from worker.catalog import fold
from worker.errors import InternalError, InvalidArguments, ToolError, ToolFailed, UnknownConversation
from worker.model import CallRecord, CallState, Conversation, Intent, Outcome, Rejection, ToolKind
from worker.outbound import client
from worker.outbound.guard import Guard
from worker.outbound.post import Delivered
from worker.personal import Personal
from worker.ports import Attempts
from worker.tools.arguments import UNRECORDABLE, parse

_ESCAPED_NUL = re.compile(r"(?<!\\)(?:\\\\)*\\u0000")
"""An escaped NUL in JSON, and not an escaped backslash before the text `u0000`."""


@dataclass(frozen=True, slots=True)
class ForwardSettings:
    """`TOOL_FORWARD_URL`, and the secret that signs the requests to it."""

    url: str = field(repr=False)
    secret: str = field(repr=False)


class Forward:
    """Implements `ports.Tool` for every name that is not one of the worker's own tools.

    The bot honours the `Idempotency-Key`, so a request that may have arrived is sent again.
    """

    name = "*"
    kind = ToolKind.OTHER
    schema: str | None = None

    def __init__(self, guard: Guard, settings: ForwardSettings) -> None:
        self._guard = guard
        self._settings = settings

    def plan(self, arguments: Personal, conversation: Conversation | None) -> Intent | Rejection:
        """The intent for any JSON object of a known conversation, else a rejection."""
        try:
            text = _canonical(parse(arguments))
            if conversation is None:
                raise UnknownConversation
        except ToolError as error:
            return Rejection.of(error)
        document = conversation.document.reveal() if conversation.document else ""
        return Intent(equal_on=(fold(text), document), body=Personal(text))

    async def perform(self, call: CallRecord, attempts: Attempts) -> Outcome:
        """Send the call to the bot. Its output goes to the model as it is."""
        if call.body is None or call.idempotency_key is None:
            raise InternalError
        first = await attempts.first_try() if call.equal_to else call
        key, body = call.idempotency_key, _message(first, call.body.reveal()).encode()
        headers = client.signed(self._settings.secret, key, body) | {"Idempotency-Key": key}
        delivery = await self._guard.post(self._settings.url, body, headers, attempts)
        output = _output(delivery) if isinstance(delivery, Delivered) else None
        if output is None:
            return Outcome(CallState.FAILED, ToolFailed.code, certain=False)
        return Outcome(CallState.DONE, certain=False, output=output)

    async def recheck(self, call: CallRecord, attempts: Attempts) -> Outcome | None:
        """A forwarded call is never in doubt: it may be sent again."""
        return None

    def success(self, call: CallRecord) -> Personal:
        """The answer to an equal call when the output was not stored in time."""
        return Personal.json({"success": True, "mensagem": "A função foi executada."})


def _canonical(arguments: dict[str, object]) -> str:
    """Arguments as canonical JSON, so that equal ones have equal texts. Raises `InvalidArguments`."""
    try:
        text = json.dumps(arguments, ensure_ascii=False, sort_keys=True, allow_nan=False)
    except (ValueError, RecursionError):
        raise InvalidArguments("há um valor que não pode ser escrito em JSON") from None
    if UNRECORDABLE.search(text) or _ESCAPED_NUL.search(text):
        raise InvalidArguments("há caracteres que não podem ser registrados")
    return text


def _message(call: CallRecord, arguments: str) -> str:
    """The body, which is the same for every attempt under one key (contract §4).

    `call`: the call that the key was made for; its time is the event's. The signature has another.
    The stored arguments are inserted as text: writing deeply nested JSON may fail another time.
    """
    received = datetime.fromtimestamp(call.received_at, UTC).isoformat()
    ids = {
        "call_id": call.call_id,
        "run_id": call.run_id,
        "conversation_id": call.conversation_id,
        "tool": call.tool,
    }
    data = f'{json.dumps(ids)[:-1]}, "arguments": {arguments}}}'
    return f'{{"type": "tool.call", "timestamp": "{received}", "data": {data}}}'


def _output(answer: Delivered) -> Personal | None:
    """The bot's output for the model: a text as it is, an object as JSON; None if the answer has neither."""
    try:
        match json.loads(client.decoded(answer.body, answer.charset)):
            case {"output": str(text)}:
                pass
            case {"output": dict(fields)}:
                text = json.dumps(fields, ensure_ascii=False, allow_nan=False)
            case _:
                return None
    except (ValueError, RecursionError):
        return None
    # A lone surrogate cannot be sent to a platform, and a platform may refuse NUL.
    return None if UNRECORDABLE.search(text) else Personal(text)

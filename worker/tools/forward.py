"""Tools that the bot owns: answered in the same run, through the same ledger and guard (contract §5)."""

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
"""NUL as JSON writes it; an even number of backslashes before it would be a text about NUL."""


@dataclass(frozen=True, slots=True)
class ForwardSettings:
    """`TOOL_FORWARD_URL` and the secret that signs what goes there."""

    url: str = field(repr=False)
    secret: str = field(repr=False)


class Forward:
    """Implements `ports.Tool` for every name that is no tool of the worker's own.

    The bot honours the `Idempotency-Key`, so what may have been sent is sent again.
    """

    name = "*"
    kind = ToolKind.OTHER
    schema: str | None = None

    def __init__(self, guard: Guard, settings: ForwardSettings) -> None:
        self._guard = guard
        self._settings = settings

    def plan(self, arguments: Personal, conversation: Conversation | None) -> Intent | Rejection:
        """Any JSON object goes to the bot, of a conversation we know."""
        try:
            text = _written(parse(arguments))
            if conversation is None:
                raise UnknownConversation
        except ToolError as error:
            return Rejection.of(error)
        document = conversation.document.reveal() if conversation.document else ""
        return Intent(equal_on=(fold(text), document), body=Personal(text))

    async def perform(self, call: CallRecord, attempts: Attempts) -> Outcome:
        """Ask the bot; its output goes to the model unread."""
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
        """What an equal call is told when the output itself came too late to be kept."""
        return Personal.json({"success": True, "mensagem": "A função foi executada."})


def _written(given: dict[str, object]) -> str:
    """Arguments in one spelling, so that equal ones are equal. Raises `InvalidArguments`."""
    try:
        text = json.dumps(given, ensure_ascii=False, sort_keys=True, allow_nan=False)
    except (ValueError, RecursionError):
        raise InvalidArguments("há um valor que não pode ser escrito em JSON") from None
    if UNRECORDABLE.search(text) or _ESCAPED_NUL.search(text):
        raise InvalidArguments("há caracteres que não podem ser registrados")
    return text


def _message(call: CallRecord, arguments: str) -> str:
    """The same text for every attempt: the signature's time is in the headers, the event's is the call's.

    `call`: the one that the key was made for. What is sent under one key is one and the same (contract §4).
    The arguments go in as they are stored; what could just be written once might be too deep the next time.
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
    """What the bot wants the model to be told: a text as it is, an object as JSON."""
    try:
        match json.loads(client.decoded(answer.body, answer.charset)):
            case {"output": str(text)}:
                pass
            case {"output": dict(said)}:
                text = json.dumps(said, ensure_ascii=False, allow_nan=False)
            case _:
                return None
    except (ValueError, RecursionError):
        return None
    # A platform could not be sent half a character, and may not take NUL.
    return None if UNRECORDABLE.search(text) else Personal(text)

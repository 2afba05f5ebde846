"""Compares one played conversation with what its scenario expects. Pure: no I/O, no clock."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from worker.catalog import fold
from worker.model import CallState, ToolKind
from worker.rehearsal.results import Checks, Code, MadeCall, Mistake
from worker.rehearsal.scenarios import Expectation, ExpectedCall, functions
from worker.replies.findings import bare


@dataclass(frozen=True, slots=True)
class Happened:
    """The result of one played conversation."""

    calls: Sequence[MadeCall] = ()
    #: The last reply; None: no reply.
    reply: str | None = None
    #: Codes of the reply check, over all replies (contract §10).
    findings: Sequence[str] = ()
    #: The protocolos of the tickets that were opened.
    protocolos: Sequence[str] = ()
    #: Why a run did not end as it should; None: all did.
    end: str | None = None


def judge(expected: Expectation, happened: Happened) -> tuple[tuple[Mistake, ...], Checks]:
    """The mistakes of a conversation, and its counts for the report."""
    matched = _match(expected, happened.calls)
    mistakes = [
        *_of_the_end(happened),
        *_of_calls(expected, happened, matched),
        *_of_reply(expected, happened),
    ]
    return tuple(mistakes), _checks(expected, happened, matched)


# ---------------------------------------------------------------------------------------------- the calls


@dataclass(frozen=True, slots=True)
class _Matched:
    """Expected calls paired with the calls that were made."""

    right: Sequence[tuple[ExpectedCall, MadeCall]]
    #: The expected function was called with other values.
    wrong: Sequence[tuple[ExpectedCall, MadeCall]]
    #: The expected function was not called.
    missing: Sequence[ExpectedCall]
    #: Calls that no expectation has.
    extra: Sequence[MadeCall]


def _match(expected: Expectation, calls: Sequence[MadeCall]) -> _Matched:
    """Pair calls with expectations, required ones first. Rejected calls are left out: they did nothing."""
    expectations = sorted(expected.calls or (), key=lambda each: each.optional)
    made = [call for call in calls if call.state is not CallState.REJECTED]
    owners = _assign(expectations, made)
    right = [
        (expectation, made[owners[number]])
        for number, expectation in enumerate(expectations)
        if number in owners
    ]
    left = [call for position, call in enumerate(made) if position not in owners.values()]
    wrong, missing = [], []
    for number, expectation in enumerate(expectations):
        if number in owners or expectation.optional:
            continue
        near = next((call for call in left if call.function in expectation.function), None)
        if near is None:
            missing.append(expectation)
        else:
            left.remove(near)
            wrong.append((expectation, near))
    extra = left if expected.calls is not None else []
    return _Matched(right, wrong, missing, extra)


def _assign(expectations: Sequence[ExpectedCall], made: Sequence[MadeCall]) -> dict[int, int]:
    """Match as many expectations as possible with the position of a call (augmenting paths)."""
    taken: dict[int, int] = {}  # position of the call → number of the expectation

    def place(number: int, tried: set[int]) -> bool:
        for position, call in enumerate(made):
            if position in tried or not _accepts(expectations[number], call):
                continue
            tried.add(position)
            if position not in taken or place(taken[position], tried):
                taken[position] = number
                return True
        return False

    for number in range(len(expectations)):
        place(number, set())
    return {number: position for position, number in taken.items()}


def _accepts(expectation: ExpectedCall, call: MadeCall) -> bool:
    values = (
        (expectation.setor, call.setor),
        (expectation.motivo, call.motivo),
        (expectation.departamento, call.departamento),
    )
    return call.function in expectation.function and all(
        not names or value in names for names, value in values
    )


def _of_calls(expected: Expectation, happened: Happened, matched: _Matched) -> Iterator[Mistake]:
    for expectation, call in matched.wrong:
        code = Code.WRONG_PAIR if _opens_ticket(call.function) else Code.WRONG_DEPARTAMENTO
        yield Mistake(code=code, function=call.function, expected=str(expectation), detail=str(call))
    for expectation in matched.missing:
        yield _missing(expectation, happened.calls)
    never = [call for call in happened.calls if call.function in expected.never]
    for call in [*never, *(call for call in matched.extra if call not in never)]:
        yield Mistake(code=Code.CALLED, function=call.function, detail=str(call))


def _missing(expectation: ExpectedCall, calls: Sequence[MadeCall]) -> Mistake:
    """A call that was not made, or that the worker rejected and the assistant did not correct."""
    rejected = [
        call for call in calls if call.state is CallState.REJECTED and call.function in expectation.function
    ]
    code = Code.REJECTED if rejected else Code.NOT_CALLED
    detail = rejected[-1].error if rejected else None
    return Mistake(code=code, function=expectation.function[0], expected=str(expectation), detail=detail)


# ------------------------------------------------------------------------------------- the reply, the end


def _of_the_end(happened: Happened) -> Iterator[Mistake]:
    if happened.end is not None:
        yield Mistake(code=Code.ENDED_OTHERWISE, detail=happened.end)
    elif not (happened.reply or "").strip():
        yield Mistake(code=Code.NO_REPLY)


def _of_reply(expected: Expectation, happened: Happened) -> Iterator[Mistake]:
    for finding in dict.fromkeys(happened.findings):
        yield Mistake(code=Code.SUSPECT_REPLY, detail=finding)
    if happened.reply is None:
        return
    reply = bare(happened.reply)
    has_protocolo = any(bare(protocolo) in reply for protocolo in happened.protocolos)
    opened = (
        happened.protocolos or expected.calls is None
    )  # else a call is missing, which is a mistake already
    if expected.protocolo is True and opened and not has_protocolo:
        yield Mistake(code=Code.PROTOCOLO_MISSING)
    if expected.protocolo is False and has_protocolo:
        yield Mistake(code=Code.PROTOCOLO_PRESENT)
    yield from _of_text(expected, fold(happened.reply))


def _of_text(expected: Expectation, folded: str) -> Iterator[Mistake]:
    for spellings in expected.contains:
        if not any(fold(each) in folded for each in spellings):
            yield Mistake(code=Code.TEXT_MISSING, expected=" ou ".join(spellings))
    for text in expected.lacks:
        if fold(text) in folded:
            yield Mistake(code=Code.TEXT_PRESENT, expected=text)


# -------------------------------------------------------------------------------------------- the numbers


def _checks(expected: Expectation, happened: Happened, matched: _Matched) -> Checks:
    due = [expectation for expectation in expected.calls or () if not expectation.optional]
    right = [expectation for expectation, _ in matched.right if not expectation.optional]
    wrong = [expectation for expectation, _ in matched.wrong]
    forbidden = [function for function in functions() if expected.forbids(function)]
    return Checks(
        due=len(due),
        called=len(right) + len(wrong),
        forbidden=len(forbidden),
        kept=sum(not _was_called(function, expected, happened) for function in forbidden),
        pairs=_tickets(right) + _tickets(wrong),
        right=_tickets(right),
        rejected=sum(call.state is CallState.REJECTED for call in happened.calls),
    )


def _was_called(function: str, expected: Expectation, happened: Happened) -> bool:
    in_vain = function in expected.never
    return any(
        call.function == function and (in_vain or call.state is not CallState.REJECTED)
        for call in happened.calls
    )


def _tickets(expectations: Sequence[ExpectedCall]) -> int:
    return sum(any(map(_opens_ticket, expectation.function)) for expectation in expectations)


def _opens_ticket(function: str) -> bool:
    return functions().get(function) is ToolKind.TICKET

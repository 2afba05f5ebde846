"""Every row of contract §4 against the simulated CRM: what is sent again, what is looked up, what is told."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, replace

import pytest

from tests.tools.fake_attempts import FakeAttempts
from worker.errors import StoreError, Withdrawn
from worker.model import CallRecord, CallState, Outcome, Sent
from worker.outbound.guard import Guard, GuardPolicy
from worker.personal import Personal
from worker.simulator.crm import PRESETS, CrmSimulator, Ticket
from worker.simulator.faults import Fault
from worker.simulator.server import serve
from worker.times import SystemClock
from worker.tools.crm import Crm, CrmSettings
from worker.tools.lookup import Absent, Lookup, LookupSettings, TicketQuery

BODY = {
    "documento": "52998224725",
    "resumo": "Maria pagou. 💙",
    "setor": "FINANCEIRO",
    "motivo": "INFORMAR PAGAMENTO",
    "finalizar": "N",
}
CALL = CallRecord(
    call_id="tc_1",
    run_id="run_1",
    conversation_id="conversa-1",
    tool="abrir_ticket_crm",
    state=CallState.RUNNING,
    idempotency_key="tw-chave",
    body=Personal.json(BODY),
    setor=BODY["setor"],
    motivo=BODY["motivo"],
)
TAKEN_OVER = replace(CALL, maybe_sent=True)
PATTERN = r"^\d{8,20}$"
POLICY = GuardPolicy(
    timeout_s=5,
    max_attempts=3,
    backoff_base_s=0.001,
    backoff_max_s=0.001,
    breaker_failures=100,
    breaker_reset_s=30,
    concurrency=4,
    resend_ambiguous=False,
)

DONE = CallState.DONE
UNKNOWN = Outcome(CallState.UNKNOWN, "em_confirmacao", certain=False)
NO_PROTOCOL = Outcome(CallState.NO_PROTOCOL, "sem_protocolo", certain=False)
FAILED = Outcome(CallState.FAILED, "crm_indisponivel", certain=False)
SURELY_FAILED = Outcome(CallState.FAILED, "crm_indisponivel")
REFUSED = Outcome(CallState.FAILED, "crm_recusou", certain=False)
SURELY_REFUSED = Outcome(CallState.FAILED, "crm_recusou")


@dataclass
class Bench:
    """One call at a CRM of its own."""

    crm: Crm
    simulator: CrmSimulator
    ledger: FakeAttempts

    def fault(self, *faults: Fault, on: str = "abrir_ticket") -> None:
        for fault in faults:
            self.simulator.faults.add(fault.model_copy(update={"on": on}))

    def someone_opens(self, protocolo: str = "2510271534000000") -> None:
        """A ticket like ours is in the CRM, opened now."""
        kept = {name: value for name, value in BODY.items() if name != "finalizar"}
        ticket = Ticket(protocolo, **kept, idempotency_key=None, opened_at=self.simulator.clock.now())
        self.simulator.tickets.append(ticket)

    async def open(self, call: CallRecord = CALL) -> Outcome:
        return await self.crm.open(call, self.ledger)

    async def recheck(self, call: CallRecord) -> Outcome | None:
        return await self.crm.recheck(call, self.ledger)

    @property
    def protocolos(self) -> list[str]:
        return [ticket.protocolo for ticket in self.simulator.tickets]

    def asked(self, operation: str) -> int:
        return sum(request.operation == operation for request in self.simulator.requests)


@contextlib.asynccontextmanager
async def bench(
    *,
    lookup: bool = True,
    idempotent: bool = True,
    breaker_failures: int = 100,
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
) -> AsyncIterator[Bench]:
    """A CRM as these settings describe it, and the client that is composed for them."""
    simulator = CrmSimulator(idempotent=idempotent, sleep=sleep)
    policy = replace(POLICY, resend_ambiguous=idempotent and not lookup, breaker_failures=breaker_failures)
    async with contextlib.AsyncExitStack() as stack:
        url = await stack.enter_async_context(serve(simulator.app))
        guard = Guard(policy, SystemClock())
        stack.push_async_callback(guard.aclose)
        asking = Lookup(LookupSettings(url + simulator.lookup, 5.0, "America/Sao_Paulo", PATTERN))
        stack.push_async_callback(asking.aclose)
        settings = CrmSettings(url + simulator.webhook, PATTERN, idempotent)
        crm = Crm(guard, settings, asking if lookup else None)
        yield Bench(crm, simulator, FakeAttempts(first_at=simulator.clock.now()))


# ----------------------------------------------------------------------------------------- rows of the table

LOST_BEFORE, LOST_AFTER = PRESETS["dropped_before"], PRESETS["dropped_after"]
ERROR_AFTER = PRESETS["error_after"]
BUSY, BAD = Fault(status=429), Fault(status=400)
SILENT = Fault(status=503, times=None)

EVERY = [(True, True), (True, False), (False, True), (False, False)]
LOOKUP = [(True, True), (True, False)]
KEY_ONLY, NEITHER = [(False, True)], [(False, False)]


@dataclass(frozen=True)
class Row:
    """Faults of the POSTs, and what becomes of the call: `tickets` at the CRM, attempts, waits to settle."""

    name: str
    settings: list[tuple[bool, bool]]
    faults: tuple[Fault, ...]
    outcome: Outcome | CallState
    tickets: int
    attempts: int
    waits: int = 0
    lookup_is_silent: bool = False
    found: bool = False


ROWS = [
    Row("opened at once", EVERY, (), DONE, 1, 1),
    Row("busy, then opened", EVERY, (BUSY, BUSY), DONE, 1, 3),
    Row("busy to the end", EVERY, (BUSY,) * 3, SURELY_FAILED, 0, 3),
    Row("refused", EVERY, (BAD,), SURELY_REFUSED, 0, 1),
    Row("busy, then refused", EVERY, (BUSY, BAD), SURELY_REFUSED, 0, 2),
    Row("opened, answer lost", LOOKUP, (LOST_AFTER,), DONE, 1, 1, found=True),
    Row("opened, answer lost", KEY_ONLY, (LOST_AFTER,), DONE, 1, 2),
    Row("opened, answer lost", NEITHER, (LOST_AFTER,), UNKNOWN, 1, 1),
    Row("opened, then 500", LOOKUP, (ERROR_AFTER,), DONE, 1, 1, found=True),
    Row("opened, then 500", KEY_ONLY, (ERROR_AFTER,), DONE, 1, 2),
    Row("opened, then 500", NEITHER, (ERROR_AFTER,), UNKNOWN, 1, 1),
    Row("lost on the way", LOOKUP, (LOST_BEFORE,), DONE, 1, 2, waits=1),
    Row("lost on the way", KEY_ONLY, (LOST_BEFORE,), DONE, 1, 2),
    Row("lost on the way", NEITHER, (LOST_BEFORE,), UNKNOWN, 0, 1),
    Row("lost on the way each time", LOOKUP, (LOST_BEFORE,) * 3, FAILED, 0, 3, waits=3),
    Row("lost on the way each time", KEY_ONLY, (LOST_BEFORE,) * 3, FAILED, 0, 3),
    Row("answer lost each time", KEY_ONLY, (LOST_AFTER,) * 3, FAILED, 1, 3),
    Row("busy, then answer lost", LOOKUP, (BUSY, LOST_AFTER), DONE, 1, 2, found=True),
    Row("busy, then answer lost", NEITHER, (BUSY, LOST_AFTER), UNKNOWN, 1, 2),
    Row("lost, then busy to the end", LOOKUP, (LOST_BEFORE, BUSY, BUSY), FAILED, 0, 3, waits=1),
    Row("lost, then busy to the end", KEY_ONLY, (LOST_BEFORE, BUSY, BUSY), FAILED, 0, 3),
    Row("lost, then refused", LOOKUP, (LOST_BEFORE, BAD), REFUSED, 0, 2, waits=1),
    Row("lost, then refused", KEY_ONLY, (LOST_BEFORE, BAD), REFUSED, 0, 2),
    Row("lost, lookup silent", LOOKUP, (LOST_BEFORE,), UNKNOWN, 0, 1, waits=1, lookup_is_silent=True),
    Row("answer lost, lookup silent", LOOKUP, (LOST_AFTER,), UNKNOWN, 1, 1, waits=1, lookup_is_silent=True),
    Row("certain, lookup silent", LOOKUP, (BUSY,) * 3, SURELY_FAILED, 0, 3, lookup_is_silent=True),
]
CASES = [
    pytest.param(row, lookup, idempotent, id=f"{row.name}: {lookup=} {idempotent=}")
    for row in ROWS
    for lookup, idempotent in row.settings
]


@pytest.mark.parametrize(("row", "lookup", "idempotent"), CASES)
async def test_a_ticket_ends_as_the_contracts_table_says(row: Row, lookup: bool, idempotent: bool) -> None:
    async with bench(lookup=lookup, idempotent=idempotent) as it:
        it.fault(*row.faults)
        if row.lookup_is_silent:
            it.fault(SILENT, on="consultar")
        outcome = await it.open()
        expected = row.outcome
        if isinstance(expected, CallState):
            expected = Outcome(expected, protocolo=it.protocolos[0], certain=False, from_lookup=row.found)
        assert outcome == expected
        assert (len(it.protocolos), it.ledger.used, it.ledger.waits) == (row.tickets, row.attempts, row.waits)
        assert it.asked("abrir_ticket") == row.attempts


async def test_every_attempt_sends_the_same_bytes_under_the_same_key() -> None:
    async with bench(lookup=False) as it:
        it.fault(LOST_BEFORE, BUSY)
        await it.open()
        sent = {(request.body, request.headers["idempotency-key"]) for request in it.simulator.requests}
        assert sent == {(json.dumps(BODY, ensure_ascii=False).encode(), "tw-chave")}
        assert len(it.simulator.requests) == 3


async def test_a_ticket_that_the_crm_commits_late_is_found_and_not_opened_again() -> None:
    answered, committed = asyncio.Event(), asyncio.Event()

    async def late(seconds: float) -> None:
        if seconds:
            answered.set()
            await committed.wait()

    async with bench(idempotent=False, sleep=late) as it:
        it.fault(Fault(status=504, commit_after_s=20))

        async def commits() -> None:
            await answered.wait()
            committed.set()
            async with asyncio.timeout(20):
                while not it.protocolos:  # noqa: ASYNC110  # the simulator has no event for it
                    await asyncio.sleep(0)

        it.ledger.meanwhile = commits
        assert (await it.open()).protocolo == it.protocolos[0]
        assert (it.ledger.used, it.ledger.waits, len(it.protocolos)) == (1, 1, 1)


async def test_what_was_sent_long_ago_is_looked_up_once_without_waiting() -> None:
    async with bench() as it:
        it.ledger.used, it.ledger.settled_now = 1, True
        assert (await it.open(TAKEN_OVER)).state is DONE
        assert (it.asked("consultar"), it.ledger.waits, it.ledger.used) == (1, 0, 2)


# ------------------------------------------------------------------------------------- what the lookup shows


async def test_a_ticket_that_another_call_holds_is_not_ours() -> None:
    async with bench() as it:
        it.someone_opens("2510271534000000")
        it.ledger.held = ("2510271534000000",)
        it.fault(LOST_BEFORE)
        assert (await it.open()).protocolo == it.protocolos[1]
        assert it.ledger.used == 2


async def test_two_tickets_that_can_be_ours_leave_the_outcome_unknown() -> None:
    async with bench() as it:
        it.someone_opens()
        it.fault(LOST_AFTER)
        assert await it.open() == UNKNOWN
        assert it.ledger.used == 1


async def test_only_tickets_since_the_first_attempt_are_ours() -> None:
    async with bench() as it:
        it.simulator.clock.skip(-200)
        it.someone_opens()
        it.simulator.clock.skip(200)
        it.fault(LOST_BEFORE)
        assert (await it.open()).protocolo == it.protocolos[1]


async def test_the_pair_sought_is_the_calls_own() -> None:
    async with bench() as it:
        it.someone_opens()
        it.fault(LOST_BEFORE)
        other = replace(CALL, motivo="DESBLOQUEIO", body=Personal.json(BODY | {"motivo": "DESBLOQUEIO"}))
        assert (await it.open(other)).protocolo == it.protocolos[1]


# ------------------------------------------------------------------------------------------ taken over calls


@pytest.mark.parametrize("idempotent", [True, False])
async def test_what_an_earlier_owner_has_opened_is_found_and_nothing_is_sent(idempotent: bool) -> None:
    async with bench(idempotent=idempotent) as it:
        it.ledger.used = 1
        it.someone_opens()
        assert (await it.open(TAKEN_OVER)).protocolo == it.protocolos[0]
        assert it.asked("abrir_ticket") == 0


@pytest.mark.parametrize("idempotent", [True, False])
async def test_what_an_earlier_owner_may_have_sent_goes_again_once_it_is_surely_absent(
    idempotent: bool,
) -> None:
    async with bench(idempotent=idempotent) as it:
        it.ledger.used = 1
        assert (await it.open(TAKEN_OVER)).protocolo == it.protocolos[0]
        assert (it.ledger.waits, it.ledger.used, len(it.protocolos)) == (1, 2, 1)


async def test_what_an_earlier_owner_may_have_sent_goes_again_at_once_to_an_idempotent_crm() -> None:
    async with bench(lookup=False) as it:
        it.ledger.used = 1
        assert (await it.open(TAKEN_OVER)).state is DONE
        assert (it.ledger.waits, it.ledger.used) == (0, 2)


async def test_what_an_earlier_owner_may_have_sent_stays_unknown_when_nobody_can_tell() -> None:
    async with bench(lookup=False, idempotent=False) as it:
        it.ledger.used = 1
        assert await it.open(TAKEN_OVER) == UNKNOWN
        assert it.asked("abrir_ticket") == 0


@pytest.mark.parametrize(
    ("call", "lookup", "outcome"),
    [(TAKEN_OVER, True, FAILED), (TAKEN_OVER, False, FAILED), (CALL, True, SURELY_FAILED)],
)
async def test_no_attempt_is_begun_beyond_the_last(call: CallRecord, lookup: bool, outcome: Outcome) -> None:
    async with bench(lookup=lookup) as it:
        it.ledger.used = 3
        assert await it.open(call) == outcome
        assert (it.asked("abrir_ticket"), it.ledger.used) == (0, 3)


async def test_a_ticket_found_after_the_last_attempt_is_done() -> None:
    async with bench() as it:
        it.ledger.used = 2
        it.fault(LOST_AFTER)
        assert (await it.open()).protocolo == it.protocolos[0]


async def test_an_open_breaker_ends_the_attempts_but_not_the_lookup() -> None:
    async with bench(breaker_failures=1) as it:
        it.fault(LOST_BEFORE)
        assert await it.open() == FAILED
        assert (it.ledger.used, it.ledger.waits) == (1, 1)
    async with bench(breaker_failures=1) as it:
        it.fault(LOST_AFTER)
        assert (await it.open()).protocolo == it.protocolos[0]


@pytest.mark.parametrize("error", [Withdrawn, StoreError])
async def test_a_process_that_stops_while_waiting_sends_nothing_more(error: type[Exception]) -> None:
    async def ends() -> None:
        raise error

    async with bench() as it:
        it.ledger.meanwhile = ends
        it.fault(LOST_BEFORE)
        with pytest.raises(error):
            await it.open()
        assert (it.ledger.used, it.asked("abrir_ticket"), it.protocolos) == (1, 1, [])


# ------------------------------------------------------------------------------------------ no protocolo

SPOILT = ["no_protocolo", "empty", "bare_object", "message", "html", "wrong_shape"]


@pytest.mark.parametrize("preset", SPOILT)
async def test_a_missing_protocolo_is_looked_up_at_once(preset: str) -> None:
    async with bench() as it:
        it.fault(PRESETS[preset])
        outcome = await it.open()
        found = Outcome(
            DONE, protocolo=it.protocolos[0], certain=False, from_lookup=True, fallback=NO_PROTOCOL
        )
        assert outcome == found
        assert (it.ledger.used, it.ledger.waits) == (1, 0)


@pytest.mark.parametrize("preset", SPOILT)
async def test_a_missing_protocolo_without_a_lookup_is_told_and_never_sent_again(preset: str) -> None:
    async with bench(lookup=False) as it:
        it.fault(PRESETS[preset])
        assert await it.open() == NO_PROTOCOL
        assert (it.ledger.used, len(it.protocolos)) == (1, 1)


@pytest.mark.parametrize("known", [False, True])
async def test_a_missing_protocolo_that_the_lookup_does_not_show_is_never_sent_again(known: bool) -> None:
    async with bench() as it:
        it.fault(Fault(body="[]"))
        if not known:
            it.fault(SILENT, on="consultar")
        assert await it.open() == NO_PROTOCOL
        assert it.ledger.used == 1


# -------------------------------------------------------------------------------------------- asked once more

IN_DOUBT = replace(TAKEN_OVER, state=CallState.UNKNOWN)
WITHOUT = replace(CALL, state=CallState.NO_PROTOCOL)


@pytest.mark.parametrize("call", [IN_DOUBT, WITHOUT])
@pytest.mark.parametrize("settled", [True, False])
async def test_a_ticket_that_turns_up_later_is_done(call: CallRecord, settled: bool) -> None:
    async with bench() as it:
        it.ledger.settled_now = settled
        it.someone_opens()
        found = Outcome(DONE, protocolo=it.protocolos[0], certain=False, from_lookup=True)
        assert await it.recheck(call) == found
        assert it.asked("abrir_ticket") == 0


async def test_a_ticket_in_doubt_has_failed_once_it_is_settled_and_absent() -> None:
    async with bench() as it:
        assert await it.recheck(IN_DOUBT) is None
        it.ledger.settled_now = True
        assert await it.recheck(IN_DOUBT) == FAILED
        assert it.ledger.waits == 0


async def test_a_ticket_counts_as_absent_only_if_it_had_settled_before_the_crm_was_asked() -> None:
    async with bench() as it:

        class SettlesMeanwhile(FakeAttempts):
            async def sent(self) -> Sent:
                seen = await super().sent()
                self.settled_now = True
                return seen

        it.ledger = SettlesMeanwhile(it.ledger.first_at)
        assert await it.recheck(IN_DOUBT) is None


async def test_what_the_crm_accepted_without_a_protocolo_never_becomes_a_failure() -> None:
    async with bench() as it:
        it.ledger.settled_now = True
        assert await it.recheck(WITHOUT) is None


async def test_a_lookup_without_an_answer_changes_nothing() -> None:
    async with bench() as it:
        it.ledger.settled_now = True
        it.fault(SILENT, on="consultar")
        assert await it.recheck(IN_DOUBT) is None


async def test_without_a_lookup_or_a_payload_nobody_is_asked() -> None:
    async with bench(lookup=False) as it:
        assert await it.recheck(IN_DOUBT) is None
    async with bench() as it:
        assert await it.recheck(replace(IN_DOUBT, body=None)) is None
        assert it.asked("consultar") == 0


# ------------------------------------------------------------------------------- the order of the questions


class _TwoAnswers:
    """A lookup whose first answer comes too early: the CRM commits right after it."""

    def __init__(self, ledger: FakeAttempts) -> None:
        self.ledger = ledger
        self.asked = 0

    async def find(self, sought: TicketQuery, held: Callable[[str], Awaitable[bool]]) -> str | Absent:
        self.asked += 1
        self.ledger.settled_now = True
        return "2510271534000000" if self.asked > 1 else Absent.ABSENT


async def test_whether_the_crm_may_still_commit_is_asked_before_the_lookup() -> None:
    async with bench() as it:
        lookup = _TwoAnswers(it.ledger)
        it.crm._lookup = lookup  # type: ignore[assignment]  # the one verb of it that is used
        assert (await it.open(TAKEN_OVER)).protocolo == "2510271534000000"
        assert (lookup.asked, it.asked("abrir_ticket")) == (2, 0)


async def test_a_ticket_whose_body_was_erased_is_not_known_to_be_absent() -> None:
    async with bench() as it:
        it.ledger.settled_now = True
        in_doubt = replace(CALL, state=CallState.UNKNOWN, maybe_sent=True)
        assert (await it.recheck(in_doubt)) == FAILED
        assert await it.recheck(replace(in_doubt, body=None)) is None

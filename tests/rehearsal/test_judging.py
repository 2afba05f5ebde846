"""What happened against what was expected."""

import pytest

from tests.rehearsal.makers import handoff, rejected, ticket
from worker.model import CallState
from worker.rehearsal.judging import Happened, judge
from worker.rehearsal.results import Checks, Code, MadeCall, Mistake
from worker.rehearsal.scenarios import Expectation, ExpectedCall

TICKET = ExpectedCall(("abrir_ticket_crm",), ("FINANCEIRO",), ("PAGAMENTO", "DESBLOQUEIO"))
ANY_TICKET = ExpectedCall(("abrir_ticket_crm",))
HANDOFF = ExpectedCall(("transferir_para_humano",), departamento=("financeiro",))
OPTIONAL = ExpectedCall(("transferir_para_humano",), optional=True)
SAID = "Tudo certo."


def codes(expected: Expectation, *calls: MadeCall, reply: str | None = SAID) -> list[Code]:
    return [each.code for each in judge(expected, Happened(calls, reply))[0]]


def checks(expected: Expectation, *calls: MadeCall) -> Checks:
    return judge(expected, Happened(calls, SAID))[1]


def test_the_expected_calls_in_any_order_are_right() -> None:
    expected = Expectation(calls=(TICKET, HANDOFF))
    assert codes(expected, handoff(), ticket("DESBLOQUEIO")) == []
    assert checks(expected, handoff(), ticket()) == Checks(due=2, called=2, pairs=1, right=1)


def test_a_call_that_fits_two_expectations_leaves_the_other_its_own() -> None:
    expected = Expectation(calls=(ANY_TICKET, TICKET))
    assert codes(expected, ticket("PAGAMENTO"), ticket("SEM INTERNET", setor="SUPORTE")) == []
    assert codes(expected, ticket("SEM INTERNET", setor="SUPORTE"), ticket("PAGAMENTO")) == []


def test_a_call_that_was_not_made_is_missing() -> None:
    mistakes, counted = judge(Expectation(calls=(TICKET,)), Happened((), SAID))
    expected = "abrir_ticket_crm FINANCEIRO / PAGAMENTO ou DESBLOQUEIO"
    assert mistakes == (Mistake(code=Code.NOT_CALLED, function="abrir_ticket_crm", expected=expected),)
    assert counted == Checks(due=1, forbidden=1, kept=1)


def test_another_motivo_is_a_wrong_pair_and_not_two_mistakes() -> None:
    mistakes, counted = judge(Expectation(calls=(TICKET,)), Happened([ticket("BLOQUEIO")], SAID))
    assert [(each.code, each.detail) for each in mistakes] == [
        (Code.WRONG_PAIR, "abrir_ticket_crm FINANCEIRO / BLOQUEIO")
    ]
    assert counted == Checks(due=1, called=1, forbidden=1, kept=1, pairs=1)


def test_another_departamento_is_a_mistake_of_its_own_kind() -> None:
    assert codes(Expectation(calls=(HANDOFF,)), handoff("comercial")) == [Code.WRONG_DEPARTAMENTO]


def test_a_call_too_many_is_a_mistake() -> None:
    assert codes(Expectation(calls=(TICKET,)), ticket(), ticket()) == [Code.CALLED]
    assert codes(Expectation(calls=()), handoff()) == [Code.CALLED]
    assert checks(Expectation(calls=()), handoff()) == Checks(forbidden=2, kept=1)


def test_calls_that_are_not_checked_may_be_any() -> None:
    assert codes(Expectation(never=("abrir_ticket_crm",)), handoff()) == []


def test_a_forbidden_function_may_not_be_called_in_vain_either() -> None:
    expected = Expectation(calls=(), never=("abrir_ticket_crm",))
    assert codes(expected, rejected("documento_ausente")) == [Code.CALLED]
    assert codes(expected, ticket()) == [Code.CALLED]
    assert checks(expected, rejected("documento_ausente")) == Checks(forbidden=2, kept=1, rejected=1)


def test_a_rejected_call_that_the_assistant_corrected_is_no_mistake() -> None:
    expected = Expectation(calls=(TICKET,))
    assert codes(expected, rejected(), ticket()) == []
    assert checks(expected, rejected(), ticket()).rejected == 1
    assert codes(Expectation(calls=()), rejected("documento_ausente")) == []
    assert checks(Expectation(calls=()), rejected("documento_ausente")).kept == 2


def test_a_rejected_call_that_nobody_corrected_says_why() -> None:
    mistakes, _ = judge(Expectation(calls=(TICKET,)), Happened([rejected()], SAID))
    assert [(each.code, each.detail) for each in mistakes] == [(Code.REJECTED, "motivo_incompativel")]


def test_a_call_that_the_crm_did_not_answer_is_a_call() -> None:
    failed = ticket(state=CallState.FAILED, error="crm_indisponivel")
    assert codes(Expectation(calls=(TICKET,)), failed) == []


def test_an_optional_call_may_be_made_and_need_not_be() -> None:
    expected = Expectation(calls=(OPTIONAL, TICKET))
    assert codes(expected, ticket()) == []
    assert codes(expected, ticket(), handoff("comercial")) == []
    assert codes(expected, ticket(), handoff(), handoff()) == [Code.CALLED]
    assert checks(expected, ticket(), handoff()) == Checks(due=1, called=1, pairs=1, right=1)


def test_an_optional_call_does_not_take_what_a_required_one_needs() -> None:
    expected = Expectation(calls=(OPTIONAL, HANDOFF))
    assert codes(expected, handoff()) == []


@pytest.mark.parametrize(
    ("expected", "reply", "found"),
    [
        (True, "Protocolo: 2510271534789012", []),
        (True, "Protocolo *2510 2715 3478-9012* ✅", []),
        (True, "Seu ticket foi aberto.", [Code.PROTOCOLO_MISSING]),
        (True, "Protocolo: 2510271534789013", [Code.PROTOCOLO_MISSING]),
        (False, "Seu ticket foi aberto.", []),
        (False, "Protocolo: 2510271534789012", [Code.PROTOCOLO_PRESENT]),
        (None, "Protocolo: 2510271534789012", []),
    ],
)
def test_the_reply_tells_the_real_protocolo_or_does_not(
    expected: bool | None, reply: str, found: list[Code]
) -> None:
    happened = Happened((), reply, protocolos=["2510271534789012"])
    assert [each.code for each in judge(Expectation(protocolo=expected), happened)[0]] == found


def test_a_call_that_is_missing_is_not_said_twice_by_its_protocolo() -> None:
    expected = Expectation(calls=(TICKET,), protocolo=True)
    assert codes(expected) == [Code.NOT_CALLED]
    assert codes(Expectation(protocolo=True)) == [Code.PROTOCOLO_MISSING]


def test_texts_are_compared_without_case_and_accents() -> None:
    expected = Expectation(contains=(("CPF", "CNPJ"), ("atenção",)), lacks=("boleto",))
    assert codes(expected, reply="ATENCAO: informe o seu cnpj") == []
    mistakes, _ = judge(expected, Happened((), "Segue o BOLETO"))
    assert [(each.code, each.expected) for each in mistakes] == [
        (Code.TEXT_MISSING, "CPF ou CNPJ"),
        (Code.TEXT_MISSING, "atenção"),
        (Code.TEXT_PRESENT, "boleto"),
    ]


def test_every_finding_is_a_mistake_once() -> None:
    happened = Happened((), SAID, findings=["ticket_nao_aberto", "ticket_nao_aberto"])
    mistakes, _ = judge(Expectation(), happened)
    assert mistakes == (Mistake(code=Code.SUSPECT_REPLY, detail="ticket_nao_aberto"),)


def test_a_run_that_ended_otherwise_is_a_mistake_and_so_is_silence() -> None:
    ended, _ = judge(Expectation(), Happened((), None, end="falhou"))
    assert ended == (Mistake(code=Code.ENDED_OTHERWISE, detail="falhou"),)
    assert codes(Expectation(), reply=None) == [Code.NO_REPLY]
    assert codes(Expectation(), reply=" \n") == [Code.NO_REPLY]

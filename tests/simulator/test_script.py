"""The scripted assistants: they hear what a model would hear, and say no protocolo that nobody gave them."""

import json

import pytest

from worker.simulator import GUIDE, script
from worker.simulator.pairs import PAIRS
from worker.simulator.script import AnsweredCall, Call, CustomerMessage, Failure, FunctionCalls, Reply, decide

PROTOCOLO = "2510271534789012"


def asked(*says: str, image: bool = False) -> tuple[Call, ...]:
    move = decide(
        [CustomerMessage(text) for text in says[:-1]] + [CustomerMessage(says[-1], image=image)], []
    )
    assert isinstance(move, FunctionCalls)
    return move.calls


def success(call: Call, **fields: str) -> AnsweredCall:
    arguments = json.loads(call.arguments)
    arguments.pop("resumo", None)
    return AnsweredCall(call, json.dumps({"success": True, **arguments, **fields}))


def failure(call: Call, code: str, **hints: object) -> AnsweredCall:
    return AnsweredCall(call, json.dumps({"success": False, "error": code, **hints}))


def after(*rounds: list[AnsweredCall], words: str = "Enviei o comprovante") -> script.Move:
    return decide([CustomerMessage(words)], rounds)


@pytest.mark.parametrize(
    ("says", "calls"),
    [
        ("Acabei de pagar", (script.RECEIPT,)),
        ("Minha internet voltou! Obrigado", (script.SOLVED,)),
        ("Paguei, e a internet voltou", (script.RECEIPT, script.SOLVED)),
        ("Quero que um atendente confira o comprovante", (script.HANDOFF,)),
        ("Preciso do desbloqueio", (script.WRONG_PAIR,)),
        ("Quero fazer uma reclamação", (script.BROKEN_JSON,)),
        ("Quero a segunda via do boleto", (script.UNKNOWN_TOOL,)),
    ],
)
def test_the_customers_words_decide_which_functions_are_called(says: str, calls: tuple[Call, ...]) -> None:
    assert asked(says) == calls


def test_a_picture_is_a_receipt_whatever_is_written_under_it() -> None:
    assert asked("Segue", image=True) == (script.RECEIPT,)


def test_other_words_are_answered_without_a_function() -> None:
    assert decide([CustomerMessage("Bom dia")], []) == script.GREETING
    assert decide([], []) == script.GREETING


def test_a_run_can_be_told_to_fail_or_to_be_cut() -> None:
    assert decide([CustomerMessage("Simule uma falha")], []) == Failure("failed")
    assert decide([CustomerMessage("Simule um corte")], []) == Failure("incomplete")


def test_a_document_number_repeats_what_was_wanted_before_it() -> None:
    assert asked("Acabei de pagar", "Meu CPF é 529.982.247-25") == (script.RECEIPT,)
    assert decide([CustomerMessage("CPF 52998224725")], []) == script.GREETING


def test_every_documented_example_does_something() -> None:
    for said, _ in script.EXAMPLES[:7]:
        assert asked(said)
        assert said in GUIDE


def test_only_the_wrong_pair_is_wrong() -> None:
    for call in (script.RECEIPT, script.SOLVED):
        arguments = json.loads(call.arguments)
        assert (arguments["setor"], arguments["motivo"]) in PAIRS
    assert ("FINANCEIRO", "SEM CONEXÃO") not in PAIRS
    assert len(PAIRS) == 64
    assert len({motivo for _, motivo in PAIRS}) == 56


def test_the_protocolo_of_a_payment_is_given_in_the_missions_words() -> None:
    move = after([success(script.RECEIPT, protocolo=PROTOCOLO)])
    assert isinstance(move, Reply)
    assert move.text.startswith("Recebi seu comprovante de pagamento! ✅ Ticket registrado com sucesso.")
    assert f"**Protocolo: {PROTOCOLO}**" in move.text


def test_the_protocolo_of_a_solved_problem_is_given_in_the_missions_words() -> None:
    assert after([success(script.SOLVED, protocolo=PROTOCOLO)]) == Reply(
        f"Que bom que resolveu! Protocolo: {PROTOCOLO}"
    )


def test_the_reply_names_both_tickets_of_two_parallel_calls() -> None:
    move = after([success(script.RECEIPT, protocolo="1" * 16), success(script.SOLVED, protocolo="2" * 16)])
    assert isinstance(move, Reply)
    assert "1" * 16 in move.text
    assert "2" * 16 in move.text


def test_the_reply_names_the_departamento_of_a_hand_off() -> None:
    assert after([success(script.HANDOFF)]) == Reply(
        "Vou transferir você para o atendimento humano: financeiro."
    )


@pytest.mark.parametrize(
    ("suggestion", "words", "motivo"),
    [
        ("INFORMAÇÃO", "Preciso do desbloqueio", "DESBLOQUEIO"),
        ("INFORMAÇÃO", "Olá", "INFORMAÇÃO"),
        ("DANÇA", "Olá", "BLOQUEIO"),
        (None, "Olá", "BLOQUEIO"),
    ],
)
def test_an_incompatible_motivo_is_corrected_among_the_valid_ones(
    suggestion: str | None, words: str, motivo: str
) -> None:
    hints = {"motivos_validos": ["BLOQUEIO", "DESBLOQUEIO", "INFORMAÇÃO"], "sugestao": suggestion}
    move = after([failure(script.WRONG_PAIR, "motivo_incompativel", **hints)], words=words)
    assert isinstance(move, FunctionCalls)
    again = json.loads(move.calls[0].arguments)
    assert again == {**json.loads(script.WRONG_PAIR.arguments), "motivo": motivo}


def test_a_wrong_setor_and_a_wrong_departamento_are_corrected() -> None:
    setor = after([failure(script.RECEIPT, "setor_invalido", setores_validos=["COBRANÇA"])])
    assert isinstance(setor, FunctionCalls)
    assert json.loads(setor.calls[0].arguments)["setor"] == "COBRANÇA"
    hints = {"departamentos_validos": ["suporte", "cobrança"], "sugestao": "cobrança"}
    handoff = after([failure(script.HANDOFF, "departamento_invalido", **hints)])
    assert isinstance(handoff, FunctionCalls)
    assert json.loads(handoff.calls[0].arguments)["departamento"] == "cobrança"


def test_an_error_without_choices_is_not_corrected() -> None:
    move = after([failure(script.WRONG_PAIR, "motivo_incompativel")])
    assert move == Reply("Desculpe, não consegui concluir o seu pedido agora.")


def test_correcting_ends_after_three_times() -> None:
    wrong = [failure(script.WRONG_PAIR, "motivo_incompativel", motivos_validos=["BLOQUEIO"])]
    assert isinstance(after(wrong, wrong, wrong), FunctionCalls)
    assert isinstance(after(wrong, wrong, wrong, wrong), Reply)


def test_broken_json_is_mended_after_the_error() -> None:
    move = after([failure(script.BROKEN_JSON, "argumentos_invalidos")])
    assert isinstance(move, FunctionCalls)
    assert json.loads(move.calls[0].arguments)["motivo"] == "RECLAMAÇÃO"
    opened = after(
        [failure(script.BROKEN_JSON, "argumentos_invalidos")], [success(move.calls[0], protocolo="1")]
    )
    assert opened == Reply("Ticket registrado com sucesso. Protocolo: 1")


def test_arguments_that_cannot_be_mended_are_given_up() -> None:
    move = after([failure(Call("abrir_ticket_crm", "[1"), "argumentos_invalidos")])
    assert isinstance(move, Reply)


@pytest.mark.parametrize("code", ["crm_indisponivel", "crm_recusou"])
def test_a_crm_that_fails_leads_to_a_person_once(code: str) -> None:
    failed = failure(script.RECEIPT, code)
    move = after([failed])
    assert isinstance(move, FunctionCalls)
    assert move.calls[0].name == "transferir_para_humano"
    assert json.loads(move.calls[0].arguments)["departamento"] == "financeiro"
    told = after([failed], [success(move.calls[0])])
    assert isinstance(told, Reply)
    assert told.text.startswith("Não consegui registrar o atendimento agora.\n\nVou transferir você")
    assert isinstance(after([failed], [failure(move.calls[0], "erro_interno")]), Reply)


@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("documento_ausente", "preciso do seu CPF ou CNPJ"),
        ("em_confirmacao", "está sendo confirmado"),
        ("sem_protocolo", "confirmará o protocolo"),
        ("ferramenta_desconhecida", "não consigo fazer isso"),
        ("erro_interno", "não consegui concluir"),
    ],
)
def test_the_reply_to_a_failure_names_no_protocolo(code: str, words: str) -> None:
    move = after([failure(script.RECEIPT, code, protocolo=PROTOCOLO)])
    assert isinstance(move, Reply)
    assert words in move.text
    assert PROTOCOLO not in move.text


@pytest.mark.parametrize("output", ["", "pronto", "[]", f'"{PROTOCOLO}"'])
def test_an_output_that_is_no_object_is_a_failure(output: str) -> None:
    move = after([AnsweredCall(script.RECEIPT, output)])
    assert move == Reply("Desculpe, não consegui concluir o seu pedido agora.")


@pytest.mark.parametrize("name", sorted(script.LYING_NAMES))
def test_a_liar_reports_everything_and_calls_nothing(name: str) -> None:
    assert script.script_for(name, decide)([CustomerMessage("Acabei de pagar", image=True)], []) == script.LIE
    assert script.script_for(f"{name}_2", decide) is decide

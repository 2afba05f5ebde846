"""Every error says who can fix it, in the words of contract §6, and shows nothing private."""

import json

import pytest

from worker import errors
from worker.errors import (
    OUTCOME_ERRORS,
    ConfigError,
    IncompatibleMotivo,
    InvalidArguments,
    InvalidSetor,
    MissingParameters,
    PlatformUnavailable,
    RequestRefused,
    ToolError,
    WorkerError,
)

EXAMPLES = {
    "execucao_encerrada": (errors.RunEnded(), "A execução terminou"),
    "argumentos_invalidos": (InvalidArguments(), "Argumentos inválidos"),
    "parametros_faltando": (
        MissingParameters(["resumo", "motivo"]),
        "Parâmetros obrigatórios faltando: resumo, motivo",
    ),
    "setor_invalido": (InvalidSetor(_texto="VENDAS"), 'Setor "VENDAS" não é válido.'),
    "motivo_incompativel": (
        IncompatibleMotivo(_texto="SEM CONEXÃO", _setor="FINANCEIRO"),
        'Motivo "SEM CONEXÃO" não é compatível com setor "FINANCEIRO".',
    ),
    "departamento_invalido": (
        errors.InvalidDepartamento(_texto="vendas"),
        'Departamento "vendas" não é válido.',
    ),
    "conversa_desconhecida": (errors.UnknownConversation(), "Conversa não encontrada"),
    "documento_ausente": (errors.MissingDocument(), "Para abrir um ticket, preciso do seu CPF ou CNPJ"),
    "crm_indisponivel": (errors.CrmUnavailable(), "O CRM não respondeu"),
    "crm_recusou": (errors.CrmRefused(), "O CRM recusou o ticket"),
    "sem_protocolo": (
        errors.MissingProtocolo(),
        "O CRM aceitou o pedido, mas não devolveu o protocolo",
    ),
    "em_confirmacao": (errors.BeingConfirmed(), "O registro está em confirmação"),
    "ferramenta_desconhecida": (errors.UnknownTool(), "Função desconhecida"),
    "ferramenta_falhou": (errors.ToolFailed(), "A função não respondeu"),
    "erro_interno": (errors.InternalError(), "Erro interno"),
}
"""Code → an instance, and how its `mensagem` begins: the table of contract §6."""


@pytest.mark.parametrize("code", EXAMPLES)
def test_a_tool_error_speaks_the_words_of_the_contract(code: str) -> None:
    error, beginning = EXAMPLES[code]
    answer = error.answer()
    assert list(answer)[:4] == ["success", "error", "mensagem", "instrucao"]
    assert (answer["success"], answer["error"]) == (False, code)
    assert str(answer["mensagem"]).startswith(beginning)
    json.dumps(answer)


def test_the_table_holds_every_tool_error_there_is() -> None:
    assert {error.code for error in ToolError.__subclasses__()} == set(EXAMPLES)


@pytest.mark.parametrize("code", sorted(set(EXAMPLES) - {"departamento_invalido"}))
def test_no_instruction_lets_the_model_invent_a_protocolo(code: str) -> None:
    assert "Não informe nenhum número de protocolo" in EXAMPLES[code][0].instrucao


@pytest.mark.parametrize("code", ["sem_protocolo", "em_confirmacao", "crm_recusou", "conversa_desconhecida"])
def test_what_must_not_be_sent_again_says_so(code: str) -> None:
    assert EXAMPLES[code][0].instrucao.startswith("Não chame a função de novo")


def test_hints_are_shown_unless_they_are_none_or_only_fill_the_sentence() -> None:
    answer = InvalidSetor(setores_validos=["SUPORTE"], sugestao=None, _texto="{x}").answer()
    assert answer["setores_validos"] == ["SUPORTE"]
    assert answer["mensagem"] == 'Setor "{x}" não é válido.'
    assert not {"sugestao", "_texto"} & answer.keys()


def test_what_fills_a_sentence_is_in_no_text_of_the_error() -> None:
    error = InvalidSetor(_texto="Maria da Silva")
    assert str(error) == "setor_invalido"
    assert "Maria" not in repr(error)


def test_recorded_outcomes_find_the_error_that_needs_no_hints() -> None:
    for code, error in OUTCOME_ERRORS.items():
        assert error().answer()["error"] == code


def test_configuration_problems_are_kept_one_by_one() -> None:
    error = ConfigError("primeiro", "segundo")
    assert (tuple(error.problems), str(error)) == (("primeiro", "segundo"), "primeiro; segundo")


def test_a_platform_error_carries_what_pacing_and_logs_need() -> None:
    error = PlatformUnavailable(429, "rate_limited", retry_after_s=2.5)
    assert (error.status, error.code, error.retry_after_s) == (429, "rate_limited", 2.5)
    assert str(error) == "PlatformUnavailable status=429 code=rate_limited"


def test_everything_raised_on_purpose_is_a_worker_error() -> None:
    raised = [
        each for each in vars(errors).values() if isinstance(each, type) and issubclass(each, Exception)
    ]
    assert all(issubclass(each, WorkerError) for each in raised)
    assert RequestRefused("nao_encontrado").code == "nao_encontrado"

"""Scenario files: what is read, what is refused with its line, and the shipped scenarios."""

from pathlib import Path

import pytest
from matplotlib import image as pictures

from tests.rehearsal.receipt_image import SIZE, draw
from worker.catalog import Catalog, fold
from worker.errors import ConfigError
from worker.personal import Personal
from worker.rehearsal import scenarios
from worker.rehearsal.scenarios import CrmState, ExpectedCall, Scenario, Turn, choose, load

CATALOG = Catalog.load()
SHIPPED = load(None, CATALOG)

WHOLE = """\
- nome: pagou
  assistente: FINANCEIRO
  fonte: "regra"
  documento: 529.982.247-25
  crm: sem_protocolo
  cliente:
    - oi
    - texto: segue
      imagem: comprovante.png
    - texto: meu CPF
      documento: 11.222.333/0001-81
  espera:
    chamadas:
      - funcao: abrir_ticket_crm
        setor: financeiro
        motivo: [informar pagamento, PAGAMENTO]
      - funcao: transferir_para_humano
        departamento: Suporte Geral
        opcional: true
    resposta:
      protocolo: false
      contem: [obrigado, [CPF, CNPJ]]
      nao_contem: boleto
"""


def written(folder: Path, text: str) -> Path:
    path = folder / "meus.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def problems(folder: Path, text: str) -> list[str]:
    path = written(folder, text)
    with pytest.raises(ConfigError) as refused:
        load(path, CATALOG)
    return [problem.removeprefix(f"{path}, ") for problem in refused.value.problems]


def test_a_scenario_is_read_in_the_catalogues_spelling(tmp_path: Path) -> None:
    (scenario,) = load(written(tmp_path, WHOLE), CATALOG)
    assert (scenario.name, scenario.assistant, scenario.source) == ("pagou", "FINANCEIRO", "regra")
    assert (scenario.document, scenario.crm) == (Personal("52998224725"), CrmState.NO_PROTOCOLO)
    assert scenario.turns == (
        Turn("oi"),
        Turn("segue", scenarios.SHIPPED.parent / "comprovante.png"),
        Turn("meu CPF", document=Personal("11222333000181")),
    )
    ticket = ExpectedCall(("abrir_ticket_crm",), ("FINANCEIRO",), ("INFORMAR PAGAMENTO", "PAGAMENTO"))
    handoff = ExpectedCall(("transferir_para_humano",), departamento=("suporte geral",), optional=True)
    assert scenario.expected.calls == (ticket, handoff)
    assert scenario.expected.protocolo is False
    assert scenario.expected.contains == (("obrigado",), ("CPF", "CNPJ"))
    assert scenario.expected.lacks == ("boleto",)


def test_no_calls_expected_is_not_the_same_as_calls_not_checked(tmp_path: Path) -> None:
    scenario = "- {nome: a, assistente: A, fonte: f, cliente: [oi], espera: {%s}}"
    (none,) = load(written(tmp_path, scenario % "chamadas: []"), CATALOG)
    (unchecked,) = load(written(tmp_path, scenario % "nunca: abrir_ticket_crm"), CATALOG)
    assert none.expected.calls == ()
    assert unchecked.expected.calls is None
    assert unchecked.expected.never == ("abrir_ticket_crm",)


def test_an_own_image_lies_beside_the_file(tmp_path: Path) -> None:
    (tmp_path / "foto.jpg").write_bytes(b"jpeg")
    text = "- {nome: a, assistente: A, fonte: f, cliente: [{imagem: foto.jpg}], espera: {chamadas: []}}"
    (scenario,) = load(written(tmp_path, text), CATALOG)
    assert scenario.turns == (Turn(image=tmp_path / "foto.jpg"),)


def test_every_problem_of_a_file_is_reported_with_its_line(tmp_path: Path) -> None:
    text = """\
- nome: a
  assistente: FINANCEIRO
  fonte: f
  documento: 111.111.111-11
  crm: caido
  cliente:
    - {}
    - imagem: foto.gif
    - imagem: sumiu.png
  espera:
    chamadas:
      - funcao: abrir_ticket
      - funcao: abrir_ticket_crm
        setor: FINANCERO
        motivo: PAGAMENT0
        departamento: suporte
      - funcao: transferir_para_humano
        departamento: suporti
        opcional: talvez
    nunca: transferir_para_humano
    resposta:
      protocolo: sim
      diz: nada
- nome: A
  espera: {}
"""
    assert problems(tmp_path, text) == [
        "linha 4: documento não é um CPF ou CNPJ válido; use um inventado",
        "linha 5: crm precisa ser ok, fora_do_ar, sem_protocolo",
        "linha 8: imagem precisa ser .png, .jpg, .jpeg, .webp",
        f"linha 9: a imagem sumiu.png não existe em {tmp_path}",
        'linha 12: a função "abrir_ticket" não existe; use abrir_ticket_crm, transferir_para_humano',
        'linha 14: o setor "FINANCERO" não está no catálogo; quis dizer "FINANCEIRO"?',
        'linha 15: o motivo "PAGAMENT0" não é do catálogo; quis dizer "PAGAMENTO"?',
        "linha 16: departamento só existe em transferir_para_humano",
        'linha 18: o departamento "suporti" não está no catálogo; quis dizer "suporte"?',
        "linha 19: opcional precisa ser true ou false",
        "linha 20: transferir_para_humano está em chamadas e em nunca",
        "linha 22: protocolo precisa ser true ou false",
        'linha 23: resposta: o campo "diz" não existe; use protocolo, contem, nao_contem',
        'linha 24: cenário: falta o campo "assistente"',
        'linha 24: cenário: falta o campo "cliente"',
        'linha 24: cenário: falta o campo "fonte"',
        'linha 24: o nome "A" já é do cenário da linha 1',
        "linha 25: espera precisa de chamadas, nunca ou resposta",
    ]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("- nome: [", "linha 1: não é YAML válido"),
        ("- nome: \x01", "não é YAML válido"),
        ("", "é esperada uma lista de cenários"),
        ("nome: a", "é esperada uma lista de cenários"),
        ("- a", "são esperados os campos"),
        ("- {nome: a, nome: b}", 'o campo "nome" está repetido'),
        ("- {cliente: [], espera: {}}", "cliente precisa ser uma lista com ao menos uma mensagem"),
        ("- {cliente: oi, espera: {}}", "cliente precisa ser uma lista com ao menos uma mensagem"),
        ("- {cliente: ['']}", "cliente precisa ser um texto"),
        ("- {cliente: [{documento: 529.982.247-25}]}", "uma mensagem precisa de texto ou de imagem"),
        ("- {espera: {chamadas: abrir_ticket_crm}}", "chamadas precisa ser uma lista"),
        ("- {espera: {nunca: []}}", "nunca está vazio"),
        ("- {espera: {chamadas: [{funcao: transferir_para_humano, setor: SUPORTE}]}}", "setor só existe em"),
        (
            "- {espera: {chamadas: [{funcao: abrir_ticket_crm, setor: FINANCEIRO, motivo: SEM CONEXÃO}]}}",
            'o motivo "SEM CONEXÃO" não é do setor FINANCEIRO',
        ),
        (f"- {{nome: {'a' * 65}}}", "nome tem mais de 64 caracteres"),
    ],
)
def test_a_file_that_cannot_be_played_is_refused(tmp_path: Path, text: str, problem: str) -> None:
    assert problem in "; ".join(problems(tmp_path, text))


def test_a_file_that_is_not_there_or_no_text_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="FileNotFoundError"):
        load(tmp_path / "nenhum.yaml", CATALOG)
    (tmp_path / "bytes.yaml").write_bytes(b"\xff\xfe\xfa")
    with pytest.raises(ConfigError, match="UnicodeDecodeError"):
        load(tmp_path / "bytes.yaml", CATALOG)


def test_for_another_catalogue_the_shipped_scenarios_say_what_to_do() -> None:
    other = Catalog({"VENDAS": ["PEDIDO"]}, ["vendas"], {})
    with pytest.raises(ConfigError) as refused:
        load(None, other)
    assert 'o setor "FINANCEIRO" não está no catálogo' in refused.value.problems[0]
    assert refused.value.problems[-1].endswith("escreva os seus e use --scenarios")


def test_scenarios_are_chosen_by_name_and_assistant_in_any_spelling() -> None:
    assert [each.name for each in choose(SHIPPED, ["Financeiro-Opcao-B"], [])] == ["financeiro-opcao-b"]
    assert {each.assistant for each in choose(SHIPPED, [], ["recepcao"])} == {"RECEPÇÃO"}
    assert choose(SHIPPED, [], []) == SHIPPED


def test_what_no_scenario_has_is_refused() -> None:
    with pytest.raises(ConfigError) as refused:
        choose(SHIPPED, ["sumiu"], ["OUVIDORIA"])
    assert refused.value.problems == (
        "--scenario sumiu não existe; veja os nomes com --list",
        "--assistant OUVIDORIA: nenhum cenário é deste assistente",
    )
    with pytest.raises(ConfigError, match="ao mesmo tempo"):
        choose(SHIPPED, ["financeiro-opcao-b"], ["SUPORTE"])


# ---------------------------------------------------------------------------------- the shipped scenarios


def for_rule(text: str) -> list[Scenario]:
    return [each for each in SHIPPED if fold(text) in fold(each.source)]


def test_there_are_at_least_24_scenarios_for_three_assistants() -> None:
    assert len(SHIPPED) >= 24
    assert {each.assistant for each in SHIPPED} == {"FINANCEIRO", "SUPORTE", "RECEPÇÃO"}
    assert all(each.source for each in SHIPPED)


@pytest.mark.parametrize(
    "rule",
    [
        "FINANCEIRO, SEMPRE: cliente enviar comprovante de pagamento",
        "FINANCEIRO, SEMPRE: após processar desbloqueio automatizado",
        "FINANCEIRO, SEMPRE: cliente solicitar protocolo formal do atendimento",
        "SUPORTE, SEMPRE: problema técnico foi resolvido pela IA",
        "SUPORTE, SEMPRE: cliente confirma que conexão voltou",
        "SUPORTE, SEMPRE: necessário registrar solução aplicada",
        "cenário 1: comprovante de pagamento",
        "cenário 2: após resolver problema",
        "opção A: abertura automática",
        "Motivo não é compatível com setor",
    ],
)
def test_every_rule_that_asks_for_a_ticket_has_a_scenario_with_one(rule: str) -> None:
    assert for_rule(rule)
    for scenario in for_rule(rule):
        required = [call for call in scenario.expected.calls or () if not call.optional]
        assert [call.function for call in required] == [("abrir_ticket_crm",)]
        assert scenario.expected.protocolo is True


@pytest.mark.parametrize(
    "rule",
    [
        "FINANCEIRO, NUNCA: problema não foi resolvido",
        "FINANCEIRO, NUNCA: cliente está apenas consultando informações",
        "FINANCEIRO, NUNCA: transferência para humano é mais adequada",
        "SUPORTE, NUNCA: problema persiste e precisa técnico presencial",
        "SUPORTE, NUNCA: diagnóstico ainda não foi concluído",
        "opção B: transferência para humano",
        "NÃO USE: transferências simples para humano",
        "NÃO USE: problemas não resolvidos",
        "preciso do seu CPF ou CNPJ",
    ],
)
def test_every_rule_that_forbids_a_ticket_has_a_scenario_without_one(rule: str) -> None:
    assert for_rule(rule)
    assert all(scenario.expected.forbids("abrir_ticket_crm") for scenario in for_rule(rule))


def test_a_missing_document_a_crm_that_is_down_and_one_without_protocolo_are_rehearsed() -> None:
    assert any(each.document is None for each in SHIPPED)
    assert {each.crm for each in SHIPPED} == set(CrmState)


def test_the_receipt_is_drawn_by_the_project_itself(tmp_path: Path) -> None:
    shipped = scenarios.SHIPPED.parent / scenarios.RECEIPT
    draw(tmp_path / "again.png")
    ours, again = pictures.imread(shipped), pictures.imread(tmp_path / "again.png")
    assert ours.shape[:2] == again.shape[:2] == (SIZE[1], SIZE[0])
    assert abs(ours.astype(float) - again.astype(float)).mean() < 0.01
    assert shipped.stat().st_size < 100_000

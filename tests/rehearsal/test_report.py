"""What people and CI servers read of the results."""

from io import StringIO
from pathlib import Path
from xml.etree import ElementTree

import pytest
from rich.console import Console

from tests.rehearsal.makers import attempt, results, scenario
from worker.errors import ConfigError
from worker.rehearsal import junit, words
from worker.rehearsal.comparison import compare, print_comparison
from worker.rehearsal.report import print_report
from worker.rehearsal.results import Checks, Code, Mistake, Results
from worker.rehearsal.scenarios import Expectation, ExpectedCall
from worker.replies import Code as Finding

MISSED = Mistake(code=Code.NOT_CALLED, function="abrir_ticket_crm", expected="abrir_ticket_crm A / B")
MISSED_ELSEWHERE = Mistake(
    code=Code.NOT_CALLED, function="abrir_ticket_crm", expected="abrir_ticket_crm C / D"
)
LIED = Mistake(code=Code.SUSPECT_REPLY, detail="ticket_nao_aberto")
PAIR = Mistake(code=Code.WRONG_PAIR, function="abrir_ticket_crm", detail="abrir A / E")
INVENTED = Mistake(code=Code.SUSPECT_REPLY, detail="protocolo_desconhecido")
SILENT = Mistake(code=Code.NO_REPLY)


def report(found: Results) -> str:
    shown = StringIO()
    print_report(found, Console(file=shown, width=200))
    return shown.getvalue()


def test_a_row_says_how_often_it_passed_and_what_happened_otherwise() -> None:
    text = report(
        results(
            scenario("pagou", attempt(), attempt(MISSED), attempt(MISSED)), scenario("certinho", attempt())
        )
    )
    row = next(line for line in text.splitlines() if "pagou" in line)
    assert "✗" in row
    assert "1 de 3 (6 a 79 %)" in row
    assert "não chamou abrir_ticket_crm (2×)" in row
    other = next(line for line in text.splitlines() if "certinho" in line)
    assert "✓" in other
    assert "1 de 1 " in other
    assert "✗ 1 de 2 cenários passaram em menos de 100 %" in text


def test_the_three_most_frequent_mistakes_have_a_sentence_each() -> None:
    found = results(
        scenario("a", attempt(MISSED, LIED, INVENTED), attempt(MISSED)),
        scenario("b", attempt(MISSED_ELSEWHERE), attempt(PAIR, LIED), assistant="SUPORTE"),
        scenario("c", attempt(SILENT)),
    )
    assert words.most_frequent(found) == [
        "Em 3 de 5 conversas o assistente não chamou abrir_ticket_crm quando devia: a, b.",
        "Em 2 de 5 conversas o assistente disse ao cliente algo que não aconteceu "
        "(um ticket que não foi aberto, um protocolo que não existe): a, b.",
        "Em 1 de 5 conversas o assistente abriu o ticket com outro setor ou motivo (abrir A / E): b.",
    ]


def test_every_finding_of_the_reply_check_has_its_words() -> None:
    assert words.FINDINGS.keys() == set(Finding)


def test_many_scenarios_of_one_mistake_are_counted() -> None:
    found = results(*(scenario(name, attempt(SILENT)) for name in "abcde"))
    assert words.most_frequent(found)[0].endswith(": a, b, c e mais 2.")


def test_what_to_change_names_the_assistants_and_the_command() -> None:
    found = results(scenario("a", attempt(MISSED)), scenario("b", attempt(MISSED), assistant="SUPORTE"))
    assert words.advice(found) == [
        "Instruções de FINANCEIRO, SUPORTE: diga quando chamar e quando não chamar cada função. As regras "
        "prontas entram com: ticket-worker sync-schema --instructions."
    ]


@pytest.mark.parametrize("code", list(Code))
def test_every_mistake_has_its_words(code: Code) -> None:
    mistake = Mistake(code=code, function="abrir_ticket_crm", expected="CPF", detail="falhou")
    found = results(scenario("a", attempt(mistake)))
    assert "{" not in words.short(mistake) + words.most_frequent(found)[0] + words.advice(found)[0]


def test_when_all_is_well_the_report_says_so_and_advises_nothing() -> None:
    text = report(results(scenario("a", attempt(tokens=900), attempt(tokens=1100))))
    assert "✓ 1 de 1 cenários passaram" in text
    assert "O que mudar" not in text
    assert "execuções: 2 (1.0 por conversa); leituras da plataforma: 8 (4.0 por conversa)" in text
    assert "tokens: 2000 (1000 por conversa)" in text
    assert "tempo por conversa (mediana): 2.0 s" in text


def test_rates_have_an_interval_and_what_was_not_tried_has_none() -> None:
    text = report(results(scenario("a", attempt(checks=Checks(due=2, called=1), replies=1))))
    assert "chamou quando devia: 1 de 2 (9 a 91 %)" in text
    assert "não chamou quando não devia: -" in text
    assert "conversas com resposta suspeita: 0 de 1\n" in text


def test_the_models_words_are_shown_only_where_they_were_kept_and_steer_no_terminal() -> None:
    text = report(results(scenario("a", attempt(LIED, reply="Abri o ticket \x1b[2J 7"), attempt(LIED))))
    assert "» Abri o ticket �[2J 7" in text
    assert "»" not in report(results(scenario("a", attempt(LIED))))


def test_what_could_not_be_deleted_is_listed() -> None:
    assert "• thread thread_1" in report(results(scenario("a", attempt()), not_deleted=("thread thread_1",)))


def test_an_expectation_is_put_in_words() -> None:
    expected = Expectation(
        calls=(
            ExpectedCall(("abrir_ticket_crm",), ("SUPORTE",), ("LENTIDÃO",)),
            ExpectedCall(("x",), optional=True),
        ),
        never=("transferir_para_humano",),
        protocolo=False,
        contains=(("CPF", "CNPJ"),),
        lacks=("boleto",),
    )
    assert words.expectation(expected) == (
        "abrir_ticket_crm SUPORTE / LENTIDÃO + x (opcional); nunca transferir_para_humano; "
        'não informa protocolo; diz "CPF ou CNPJ"; não diz "boleto"'
    )
    assert words.expectation(Expectation(calls=(), protocolo=True)) == "nenhuma chamada; informa o protocolo"


# --------------------------------------------------------------------------------------------- comparison


def test_a_comparison_shows_the_losses_first_and_what_is_more_than_chance() -> None:
    before = results(
        scenario("[red]cai", *[attempt()] * 10),
        scenario("sobe", attempt(MISSED), attempt()),
        scenario("fica", attempt()),
        scenario("sumiu", attempt()),
    )
    after = results(
        scenario("sobe", attempt(), attempt()),
        scenario("fica", attempt()),
        scenario("[red]cai", *[attempt(MISSED)] * 10),
        scenario("novo", attempt()),
    )
    found = compare(before, after)
    assert [(each.name, each.difference, each.clear) for each in found.scenarios] == [
        ("[red]cai", -1.0, True),
        ("fica", 0.0, False),
        ("sobe", 0.5, False),
    ]
    assert (found.new, found.gone) == (("novo",), ("sumiu",))
    shown = StringIO()
    print_comparison(found, Console(file=shown, width=120))
    row = next(line for line in shown.getvalue().splitlines() if "[red]cai" in line)
    assert "▼ pior" in row
    assert "10 de 10" in row
    assert "além do acaso" in row
    assert "1 de 3 cenários sem diferença" in shown.getvalue()
    assert "só agora: novo" in shown.getvalue()
    assert "só antes: sumiu" in shown.getvalue()


def test_fewer_suspect_replies_are_better() -> None:
    before = results(scenario("a", attempt(replies=1, findings=("ticket_nao_aberto",))))
    after = results(scenario("a", attempt(replies=1)))
    change = next(each for each in compare(before, after).rates if each.name == "suspect_replies")
    assert change.difference == 1.0


# -------------------------------------------------------------------------------------------------- JUnit


def test_junit_has_a_test_case_a_scenario(tmp_path: Path) -> None:
    path = tmp_path / "junit.xml"
    junit.write(
        results(scenario("certo", attempt(seconds=1.5)), scenario("errado", attempt(MISSED), attempt())), path
    )
    suite = ElementTree.parse(path).getroot()
    assert (suite.tag, suite.get("tests"), suite.get("failures")) == ("testsuite", "2", "1")
    right, wrong = suite.iter("testcase")
    assert (right.get("name"), right.get("classname"), right.get("time")) == (
        "certo",
        "rehearse.FINANCEIRO",
        "1.500",
    )
    assert right.find("failure") is None
    failure = wrong.find("failure")
    assert failure is not None
    assert failure.get("message") == "passou 1 de 2 (9 a 91 %)"
    assert failure.text is not None
    assert "não chamou abrir_ticket_crm (1×)" in failure.text


def test_junit_drops_what_xml_cannot_hold(tmp_path: Path) -> None:
    path = tmp_path / "junit.xml"
    strange = Mistake(code=Code.TEXT_MISSING, expected="a\x00\x1bb")
    junit.write(results(scenario("a\x08", attempt(strange))), path)
    assert ElementTree.parse(path).getroot().find("testcase/failure") is not None


def test_a_junit_file_that_cannot_be_written_is_the_operators(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="não pôde ser gravado"):
        junit.write(results(scenario("a", attempt())), tmp_path / "none" / "junit.xml")

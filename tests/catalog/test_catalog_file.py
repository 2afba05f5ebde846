"""A provider's own catalogue: read as a whole, every problem told at once, hours and holidays in its zone."""

import json
import re
from datetime import datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from worker.catalog import Catalog, schemas_dir
from worker.errors import ConfigError
from worker.settings import Settings

SAO_PAULO = ZoneInfo("America/Sao_Paulo")
OWN: dict[str, Any] = {
    "setores": {"SUPORTE": ["LENTIDÃO", "FIBRA ROMPIDA"], "OBRAS": ["PODA DE ÁRVORE"]},
    "departamentos": ["suporte", "obras", "plantão"],
    "aliases": {"LENTIDÃO": ["internet lenta"]},
    "atendimento": {
        "*": ["seg-sex 08:00-18:00", "sáb 08:00-12:00"],
        "plantão": ["todos 00:00-24:00", "feriados 00:00-24:00"],
    },
    "feriados": ["BR-RJ", "24/12/2026", "2026-12-31"],
}

YAML = """
# Catálogo da operadora
setores:
  SUPORTE: [LENTIDÃO, FIBRA ROMPIDA]
  OBRAS: [PODA DE ÁRVORE]
departamentos: [suporte, obras, plantão]
aliases: {LENTIDÃO: [internet lenta]}
atendimento:
  "*": [seg-sex 08:00-18:00, "sáb 08:00-12:00"]
  plantão: [todos 00:00-24:00, feriados 00:00-24:00]
feriados: [BR-RJ, 24/12/2026, 2026-12-31]
"""


def write(folder: Path, value: object, name: str = "nosso.json") -> Path:
    path = folder / name
    path.write_text(value if isinstance(value, str) else json.dumps(value, ensure_ascii=False), "utf-8")
    return path


def problems(folder: Path, value: object, name: str = "nosso.json") -> list[str]:
    path = write(folder, value, name)
    with pytest.raises(ConfigError) as error:
        Catalog.load(path)
    return [problem.removeprefix(f"{path}").removeprefix(": ") for problem in error.value.problems]


def opens(catalog: Catalog, departamento: str, now: str) -> str | None:
    moment = catalog.hours[departamento].opens_at(
        datetime.fromisoformat(now).replace(tzinfo=SAO_PAULO).timestamp()
    )
    return None if moment is None else f"{datetime.fromtimestamp(moment, SAO_PAULO):%Y-%m-%dT%H:%M}"


@pytest.mark.parametrize(("name", "value"), [("c.json", OWN), ("c.yaml", YAML), ("c.yml", YAML)])
def test_a_catalogue_of_ones_own_is_read_from_json_and_yaml(tmp_path: Path, name: str, value: object) -> None:
    catalog = Catalog.load(write(tmp_path, value, name), SAO_PAULO)
    assert catalog.setores.names == ("SUPORTE", "OBRAS")
    assert catalog.motivo("SUPORTE", "Internet Lenta") == "LENTIDÃO"
    assert catalog.departamento("PLANTAO") == "plantão"
    assert opens(catalog, "obras", "2026-11-29T03:00") == "2026-11-30T08:00"
    assert opens(catalog, "obras", "2026-12-24T10:00") == "2026-12-26T08:00"
    assert opens(catalog, "obras", "2026-04-23T10:00") == "2026-04-24T08:00"  # São Jorge, in Rio only
    assert opens(catalog, "plantão", "2026-12-25T03:00") is None


def test_the_shipped_catalogue_is_always_open() -> None:
    catalog = Catalog.load()
    assert {hours.opens_at(1e9) for hours in catalog.hours.values()} == {None}
    assert list(catalog.hours) == list(catalog.departamentos.names)


def test_the_configured_catalogue_has_its_hours_in_timezone(tmp_path: Path) -> None:
    path = write(tmp_path, OWN)
    manaus = Catalog.configured(Settings(CATALOG_FILE=str(path), TIMEZONE="America/Manaus"))
    night = datetime(2026, 11, 30, 3, 0, tzinfo=SAO_PAULO).timestamp()
    assert manaus.hours["obras"].opens_at(night) == datetime(2026, 11, 30, 9, 0, tzinfo=SAO_PAULO).timestamp()
    assert Catalog.configured(Settings()).setores.names == Catalog.load().setores.names


def test_all_problems_of_a_file_are_reported_together_in_its_own_words(tmp_path: Path) -> None:
    bad = {
        "setores": {"SUPORTE": ["LENTIDÃO", "lentidao"], "OBRAS": [], "CPF 52998224725": ["X", 7]},
        "departamentos": ["suporte", "obras", "suporte"],
        "aliases": {"FESTA": ["baile"]},
        "atendimento": {
            "suportee": ["seg 08:00-18:00"],
            "obras": ["seg 8h", "fun 08:00-18:00"],
            "*": ["feriados 08:00-12:00"],
        },
        "feriados": ["BR-XX", "2026-02-30"],
        "feriado": "BR",
    }
    told = problems(tmp_path, bad)
    expected = [
        '"feriado" não existe; as chaves são setores, departamentos, aliases, atendimento, feriados',
        "setores, OBRAS: precisa ser uma lista de textos, com ao menos um",
        'setores: o nome "CPF 52998224725" não serve',
        "setores, CPF 52998224725: 7 não é um texto; ponha-o entre aspas",
        'atendimento, obras: "seg 8h": precisa ter a forma "seg-sex 08:00-18:00"',
        'atendimento, obras: "fun 08:00-18:00": "fun" não é um dia; use seg, ter, qua',
        "atendimento, *: falta um horário de dia da semana",
        'feriados: "BR-XX" não é BR, BR e um estado (BR-RJ) nem uma data (2026-12-24)',
        'feriados: "2026-02-30" não é BR',
        "aliases de motivos que não existem: FESTA",
        'departamentos: "suporte" aparece mais de uma vez',
        'atendimento: o departamento "suportee" não existe; você quis dizer suporte?',
        'setores, SUPORTE: a grafia "lentidao" é vazia ou vale para dois nomes',
    ]
    assert [each for each in expected if not any(line.startswith(each) for line in told)] == []
    assert len(told) == len(expected)


def test_a_departamento_of_the_hours_must_exist_once(tmp_path: Path) -> None:
    bad = OWN | {
        "atendimento": {
            "suportee": ["seg 08:00-18:00"],
            "obras": ["seg 08:00-18:00"],
            "OBRAS": ["ter 08:00-18:00"],
        }
    }
    assert problems(tmp_path, bad) == [
        'atendimento: "obras" e "OBRAS" são o mesmo departamento',
        'atendimento: o departamento "suportee" não existe; você quis dizer suporte?',
    ]


def test_holidays_without_hours_would_do_nothing_and_are_refused(tmp_path: Path) -> None:
    bad = {key: value for key, value in OWN.items() if key != "atendimento"}
    assert problems(tmp_path, bad) == [
        "feriados: sem atendimento não têm efeito; escreva os horários em atendimento"
    ]


@pytest.mark.parametrize(
    ("name", "text", "told"),
    [
        ("c.json", '{"setores": {"A": ["B"]},\n "setores": {', "não é JSON válido: linha 2, coluna 14"),
        ("c.yaml", "setores:\n  A: [B\n", "não é YAML válido: linha 3, coluna 1"),
        ("c.json", "[]", "precisa ser um objeto"),
        (
            "c.json",
            '{"setores": {"A": ["B"]}, "setores": {"C": ["D"]}, "departamentos": ["e"]}',
            '"setores" aparece',
        ),
        ("c.yaml", "setores: {A: [B], A: [C]}\ndepartamentos: [e]", '"A" aparece mais de uma vez'),
        ("c.yaml", "setores:\ndepartamentos: [e]", "setores: precisa ser um objeto"),
        ("c.json", "{}", 'falta "setores"'),
        (
            "c.json",
            '{"setores": {"A": ["B"]}, "departamentos": ["e"], "atendimento": []}',
            "atendimento: precisa",
        ),
    ],
)
def test_what_is_no_catalogue_is_refused_with_the_place(
    tmp_path: Path, name: str, text: str, told: str
) -> None:
    assert told in problems(tmp_path, text, name)[0]


def test_a_file_that_is_not_there_or_not_utf8_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="não pôde ser lido"):
        Catalog.load(tmp_path / "nada.json")
    path = tmp_path / "latin.json"
    path.write_bytes('{"setores": {"LOCAÇÃO": ["X"]}}'.encode("latin-1"))
    with pytest.raises(ConfigError, match="não pôde ser lido"):
        Catalog.load(path)


def test_the_shipped_file_passes_the_same_checks() -> None:
    assert Catalog.load(schemas_dir() / "catalogo.json").words() == Catalog.load().words()


def test_the_catalogue_that_the_operating_guide_prints_can_be_used_as_it_is(tmp_path: Path) -> None:
    guide = (Path(__file__).parents[2] / "docs/operating.pt-BR.md").read_text("utf-8")
    (printed,) = re.findall(r"```yaml\n(setores:.*?)```", guide, re.DOTALL)
    catalog = Catalog.load(write(tmp_path, printed, "catalogo.yaml"), SAO_PAULO)
    assert catalog.motivo("FINANCEIRO", "SEGUNDA VIA") == "2.VIA BOLETO"
    assert opens(catalog, "suporte", "2026-11-29T03:00") == "2026-11-30T08:00"
    assert opens(catalog, "plantão", "2026-12-24T03:00") is None

"""The shipped catalogue has the mission's shape, and text matches it by folding, never by guessing."""

import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

import worker.catalog.catalog
from worker.catalog import Catalog, Spellings, fold, schemas_dir
from worker.errors import ConfigError

CATALOG = Catalog.load()
PAIRS = [(setor, motivo) for setor, known in CATALOG.motivos.items() for motivo in known.names]
NAMES = sorted({*CATALOG.setores.names, *CATALOG.departamentos.names, *(motivo for _, motivo in PAIRS)})


def schema(name: str) -> dict[str, object]:
    return json.loads((schemas_dir() / f"{name}.json").read_text(encoding="utf-8"))


def unaccented(text: str) -> str:
    return text.translate(str.maketrans("ÁÂÃÀÇÉÊÍÓÔÕÚáâãàçéêíóôõú", "AAAACEEIOOOUaaaaceeiooou"))


# ------------------------------------------------------------------------------------- the shipped files


def test_the_catalogue_has_nine_setores_with_64_pairs_of_56_motivos() -> None:
    counts = {setor: len(known.names) for setor, known in CATALOG.motivos.items()}
    assert counts == {
        "ADMINISTRAÇÃO": 6,
        "SUPORTE": 15,
        "FINANCEIRO": 11,
        "COMERCIAL": 11,
        "RECEPÇÃO": 6,
        "COBRANÇA": 3,
        "TÉCNICO": 6,
        "OUVIDORIA": 2,
        "LOCAÇÃO": 4,
    }
    assert len(PAIRS) == 64
    assert len({motivo for _, motivo in PAIRS}) == 56


def test_the_typos_of_the_document_are_kept() -> None:
    assert CATALOG.motivos["LOCAÇÃO"].names == (
        "INSTALAÇAO DE CAMERA",
        "MANUNTENÇAO DE CAMERA",
        "INSTALAÇAO TVBOX",
        "REPARO TVBOX",
    )


def test_the_departamentos_are_the_setores_in_lower_case_and_two_more() -> None:
    lowered = tuple(setor.lower() for setor in CATALOG.setores.names)
    assert CATALOG.departamentos.names == (*lowered, "suporte geral", "cancelamento")


@pytest.mark.parametrize("name", ["abrir_ticket_crm", "transferir_para_humano"])
def test_a_function_schema_is_closed_and_demands_all_it_names(name: str) -> None:
    given_schema = schema(name)
    parameters = given_schema["parameters"]
    Draft202012Validator.check_schema(parameters)
    assert list(given_schema) == ["name", "description", "parameters"]
    assert given_schema["name"] == name
    assert "USE ESTA FUNÇÃO quando:" in given_schema["description"]
    assert len(given_schema["description"]) <= 1024  # the tightest platform limit seen
    assert parameters["required"] == list(parameters["properties"])
    assert parameters["additionalProperties"] is False


def test_the_enums_of_the_schemas_are_the_catalogues() -> None:
    setor = schema("abrir_ticket_crm")["parameters"]["properties"]["setor"]
    departamento = schema("transferir_para_humano")["parameters"]["properties"]["departamento"]
    assert setor["enum"] == list(CATALOG.setores.names)
    assert departamento["enum"] == list(CATALOG.departamentos.names)
    assert departamento["description"].endswith(", ".join(CATALOG.departamentos.names))


def test_an_installed_wheel_carries_its_own_schemas(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "site-packages" / "worker"
    monkeypatch.setattr(worker.catalog.catalog, "__file__", str(package / "catalog" / "catalog.py"))
    assert schemas_dir() == tmp_path / "site-packages" / "schemas"
    (package / "schemas").mkdir(parents=True)
    assert schemas_dir() == package / "schemas"


# -------------------------------------------------------------------------------------------- matching


@given(st.text())
@settings(deadline=None)
def test_folding_twice_changes_nothing(text: str) -> None:
    assert fold(fold(text)) == fold(text)


def test_folding_knows_compatibility_letters_and_any_white_space() -> None:
    assert fold("  2ª\u00a0VIA__DO\tＢＯＬＥＴＯ\n") == "2a via do boleto"


@pytest.mark.parametrize("name", NAMES)
def test_folding_is_deaf_to_case_accents_underscores_and_spaces(name: str) -> None:
    variants = {name.lower(), name.upper(), unaccented(name), name.replace(" ", "_"), f" {name.title()}  "}
    assert {fold(variant) for variant in variants} == {fold(name)}


@pytest.mark.parametrize(("setor", "motivo"), PAIRS)
def test_every_pair_matches_itself_however_it_is_written(setor: str, motivo: str) -> None:
    for write in (str, str.lower, unaccented, lambda text: unaccented(text).lower().replace(" ", "_")):
        assert CATALOG.setor(write(setor)) == setor
        assert CATALOG.motivo(setor, write(motivo)) == motivo
        assert CATALOG.departamento(write(setor)) == setor.lower()


@pytest.mark.parametrize(
    ("setor", "text", "motivo"),
    [
        ("LOCAÇÃO", "manutencao_de_camera", "MANUNTENÇAO DE CAMERA"),
        ("LOCAÇÃO", "INSTALAÇÃO DE CÂMERA", "INSTALAÇAO DE CAMERA"),
        ("LOCAÇÃO", "Instalação TV Box", "INSTALAÇAO TVBOX"),
        ("FINANCEIRO", "2ª via boleto", "2.VIA BOLETO"),
        ("RECEPÇÃO", "segunda_via_de_boleto", "2.VIA BOLETO"),
        ("COBRANÇA", "Renegociação/Acordo", "RENEGOCIAÇÃO / ACORDO"),
        ("SUPORTE", "informacao_login_senha", "INFORMAÇÃO LOGIN/SENHA"),
        ("SUPORTE", "problema e-mail", "PROBLEMA EMAIL"),
    ],
)
def test_an_alias_stands_for_its_motivo(setor: str, text: str, motivo: str) -> None:
    assert CATALOG.motivo(setor, text) == motivo


def test_an_alias_is_no_motivo_where_its_motivo_is_none() -> None:
    assert CATALOG.motivo("OUVIDORIA", "2ª VIA BOLETO") is None


@given(st.text())
@settings(deadline=None)
def test_a_match_always_folds_to_what_was_written(text: str) -> None:
    found = CATALOG.departamento(text)
    assert found is None or fold(found) == fold(text)


# ----------------------------------------------------------------------------------------- suggestions


def test_a_misspelling_does_not_match_but_is_suggested() -> None:
    assert CATALOG.setor("FINANCERO") is None
    assert CATALOG.setores.nearest("financero") == "FINANCEIRO"
    assert CATALOG.motivos["LOCAÇÃO"].nearest("manutensão de câmera") == "MANUNTENÇAO DE CAMERA"
    assert CATALOG.departamentos.nearest("suporte gerau") == "suporte geral"


@pytest.mark.parametrize("text", ["", "jurídico", "SEM CONEXÃO", "CANCELAMENTO", "x" * 100_000])
def test_nothing_is_suggested_when_nothing_is_near(text: str) -> None:
    assert CATALOG.motivos["FINANCEIRO"].nearest(text) is None


# ---------------------------------------------------------------------------------------- bad catalogues


@pytest.mark.parametrize("names", [["LENTIDÃO", "lentidao"], ["_"]])
def test_a_spelling_for_two_names_or_for_nothing_is_refused(names: list[str]) -> None:
    with pytest.raises(ConfigError, match="grafia"):
        Spellings(names)


def test_an_alias_that_is_another_motivo_of_the_setor_is_refused() -> None:
    with pytest.raises(ConfigError, match="LENTO"):
        Catalog({"SUPORTE": ["LENTIDÃO", "LENTO"]}, [], {"LENTIDÃO": ["lento"]})


def test_an_alias_of_an_unknown_motivo_is_refused() -> None:
    with pytest.raises(ConfigError, match="FESTA"):
        Catalog({"SUPORTE": ["LENTIDÃO"]}, [], {"FESTA": ["baile"]})


@pytest.mark.parametrize("text", [None, "{", '{"setores": []}', '{"setores": {}, "departamentos": []}'])
def test_a_catalogue_that_cannot_be_read_is_a_configuration_error(tmp_path: Path, text: str | None) -> None:
    path = tmp_path / "catalogo.json"
    if text is not None:
        path.write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError, match=r"catalogo\.json"):
        Catalog.load(path)


def test_the_words_of_a_log_are_those_of_the_catalogue_by_kind() -> None:
    catalog = Catalog.load()
    words = catalog.words()
    motivos = {name for spellings in catalog.motivos.values() for name in spellings.names}
    assert words.keys() == {"setor", "motivo", "departamento"}
    assert (set(words["setor"]), "FINANCEIRO" in words["setor"]) == (set(catalog.motivos), True)
    assert (set(words["motivo"]), "INFORMAR PAGAMENTO" in words["motivo"]) == (motivos, True)
    assert (len(words["departamento"]), "suporte geral" in words["departamento"]) == (11, True)

"""`sync-schema` leaves what is others' alone, writes only what differs, and sees what became of it."""

import json
import os
from collections.abc import Sequence
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest

from worker import schema_sync
from worker.catalog import Catalog, schemas_dir
from worker.errors import ConfigError, PlatformRefused, PlatformUnavailable, RunGone, WorkerError
from worker.platforms import agents, assistants, responses
from worker.platforms.definitions import Envelope
from worker.schema_sync import RULES, Plan, Target
from worker.schema_sync.instructions import BEGIN, END, with_rules
from worker.tools import schema_names

Json = dict[str, Any]

NESTED, FLAT, PLAIN = (module.SPEC.envelope for module in (assistants, responses, agents))
FUNCTIONS = schema_sync.load(schema_names())
TICKET, HANDOFF = FUNCTIONS
TARGET = Target(FUNCTIONS)
FOREIGN: list[Json] = [
    {"type": "file_search", "file_search": {"ranking_options": {"score_threshold": 0.0}}},
    {"type": "function", "function": {"name": "consultar_fatura", "parameters": {}, "strict": None}},
    {"type": "mcp", "server_label": "abrir_ticket_crm"},
    {"type": "function", "function": None},
    {"type": 3, "function": {"name": ["abrir_ticket_crm"]}},
]


def wrapped(*functions: Json, envelope: Envelope = NESTED, **also: object) -> list[Json]:
    return [envelope.wrap({**each, **also}, strict=False) for each in functions]


def planned(
    tools: Sequence[Json], envelope: Envelope = NESTED, rules: str | None = None, instructions: object = None
) -> Plan:
    definition = {"tools": list(tools), "instructions": instructions}
    return schema_sync.plan(definition, Target(FUNCTIONS, rules), envelope)


def edited(**changes: object) -> Json:
    return {**deepcopy(TICKET), **changes}


class Shelf:
    """One definition in memory. `refuses_strict`, `changes` and `incomplete`: a platform with moods."""

    def __init__(self, definition: Json, envelope: Envelope = NESTED) -> None:
        self.definition = deepcopy(definition)
        self.envelope = envelope
        self.written: list[Json] = []
        self.refuses_strict: int | None = None
        self.changes = lambda definition: definition
        self.incomplete = False

    async def read(self, identifier: str) -> Json:
        if identifier != "asst_1":
            raise RunGone(404)
        return deepcopy(self.definition)

    async def write(self, identifier: str, changes: Json) -> None:
        self.written.append(deepcopy(changes))
        if self.refuses_strict and '"strict": true' in json.dumps(changes):
            raise PlatformRefused(self.refuses_strict, "invalid_schema")
        self.definition = self.changes({**self.definition, **deepcopy(changes)})

    def complete(self, definition: Json) -> bool:
        return not self.incomplete


async def synced(shelf: Shelf, backups: Path, target: Target = TARGET) -> bool:
    found = await schema_sync.compare(shelf, "asst_1", target)
    return await schema_sync.apply(shelf, "asst_1", found, target, backups=backups)


# ------------------------------------------------------------------------------------------ the functions


def test_the_functions_are_the_two_of_the_contract_and_the_catalogue_is_none_of_them() -> None:
    assert [each["name"] for each in FUNCTIONS] == ["abrir_ticket_crm", "transferir_para_humano"]
    assert (schemas_dir() / "catalogo.json").exists()


@pytest.mark.parametrize("content", ["{", "[]", '{"name": "outra"}', '{"name": "abrir_ticket_crm"}', None])
def test_a_schema_file_that_cannot_be_used_is_named(tmp_path: Path, content: str | None) -> None:
    if content is not None:
        (tmp_path / "abrir_ticket_crm.json").write_text(content)
    with pytest.raises(ConfigError, match=r"abrir_ticket_crm\.json"):
        schema_sync.load(schema_names(), tmp_path)


def test_each_platform_has_its_envelope() -> None:
    assert NESTED.wrap(TICKET, strict=True) == {"type": "function", "function": {**TICKET, "strict": True}}
    assert FLAT.wrap(TICKET, strict=True) == {"type": "function", **TICKET, "strict": True}
    assert PLAIN.wrap(TICKET, strict=False) == {"type": "function", **TICKET}
    assert [(each.nested, each.strict) for each in (NESTED, FLAT, PLAIN)] == [
        (True, True),
        (False, True),
        (False, False),
    ]


# --------------------------------------------------------------------------------------------- comparing


@pytest.mark.parametrize("envelope", [NESTED, FLAT, PLAIN])
def test_what_is_as_it_should_be_needs_nothing(envelope: Envelope) -> None:
    assert planned(wrapped(HANDOFF, TICKET, envelope=envelope), envelope).changes == {}


@pytest.mark.parametrize(
    "echo",
    [{"strict": True}, {"strict": False}, {"strict": None}, {"defer_loading": False, "async": None}],
)
def test_what_a_platform_adds_of_its_own_is_no_difference(echo: Json) -> None:
    assert planned(wrapped(TICKET, HANDOFF, envelope=PLAIN, **echo), PLAIN).changes == {}


def test_another_order_of_keys_is_no_difference() -> None:
    turned = json.loads(json.dumps(TICKET, sort_keys=True))
    assert list(turned) != list(TICKET)
    assert planned(wrapped(turned, HANDOFF)).changes == {}


@pytest.mark.parametrize(
    "other",
    [
        edited(description="Abre um ticket"),
        edited(parameters={**TICKET["parameters"], "additionalProperties": True}),
        edited(parameters={**TICKET["parameters"], "additionalProperties": 0}),
        {"name": "abrir_ticket_crm"},
        {**TICKET, "async": True},
    ],
)
def test_a_function_that_differs_is_renewed_in_its_place(other: Json) -> None:
    found = planned([*wrapped(other), *FOREIGN, *wrapped(HANDOFF)])
    assert [each.title for each in found.differences] == ["abrir_ticket_crm: difere"]
    ours = [NESTED.wrap(each, strict=True) for each in FUNCTIONS]
    assert found.changes == {"tools": [ours[0], *FOREIGN, ours[1]]}


def test_what_is_missing_is_added_at_the_end_and_everybody_elses_tools_stay_the_same_values() -> None:
    found = planned(FOREIGN)
    assert [each.title for each in found.differences] == [
        "abrir_ticket_crm: falta",
        "transferir_para_humano: falta",
    ]
    assert found.changes["tools"][: len(FOREIGN)] == FOREIGN == found.kept
    assert json.dumps(found.changes["tools"][: len(FOREIGN)]) == json.dumps(FOREIGN)
    assert len(found.changes["tools"]) == len(FOREIGN) + 2


def test_a_function_of_ours_that_is_there_twice_is_there_once_afterwards() -> None:
    found = planned(wrapped(TICKET, HANDOFF, edited(description="velha")))
    assert [each.title for each in found.differences] == ["abrir_ticket_crm: aparece 2 vezes"]
    assert [tool["function"]["name"] for tool in found.changes["tools"]] == [
        "abrir_ticket_crm",
        "transferir_para_humano",
    ]


def test_strict_is_asked_for_where_the_platform_has_it_and_only_there() -> None:
    assert all(tool["function"]["strict"] is True for tool in planned([]).changes["tools"])
    assert all(tool["strict"] is True for tool in planned([], FLAT).changes["tools"])
    assert all("strict" not in tool for tool in planned([], PLAIN).changes["tools"])


def test_the_difference_is_shown_line_by_line() -> None:
    old = edited(description=TICKET["description"].replace("NÃO USE para:", "--- nunca:"))
    shown = schema_sync.diff(planned(wrapped(old, HANDOFF)))
    assert "---- nunca:" in shown
    assert "+NÃO USE para:" in shown
    assert {line[0] for line in shown} == {" ", "+", "-"}
    assert len(shown) < 10


def test_the_summary_says_what_differs_and_whose_tools_stay() -> None:
    assert schema_sync.summary(planned(wrapped(TICKET, HANDOFF))) == "nada a fazer"
    assert schema_sync.summary(planned([*wrapped(TICKET), *FOREIGN])) == (
        "transferir_para_humano: falta (ficam como estão: file_search, function consultar_fatura, "
        "mcp abrir_ticket_crm, function, ferramenta sem tipo)"
    )


def test_nothing_that_others_wrote_reaches_the_terminal_as_a_control_character() -> None:
    found = planned([*wrapped(edited(description="\x1b[2Jolá\u202e")), {"type": "\x1b[2J"}])
    assert "\x1b" not in schema_sync.summary(found)
    assert "-�[2Jolá�" in schema_sync.diff(found)


# ------------------------------------------------------------------------------------------ instructions


@pytest.mark.parametrize("name", ["FINANCEIRO", "SUPORTE"])
def test_the_rules_of_the_document_are_put_at_the_end_between_their_markers(name: str) -> None:
    found = planned(wrapped(TICKET, HANDOFF), rules=RULES[name], instructions="Seja gentil.\n")
    assert found.changes == {"instructions": f"Seja gentil.\n\n\n{BEGIN}\n{RULES[name]}\n{END}"}
    assert "SEMPRE use `abrir_ticket_crm` quando:" in RULES[name]
    assert [each.title for each in found.differences] == ["regras de uso: diferem"]


def test_without_being_asked_the_instructions_are_not_looked_at() -> None:
    assert planned(wrapped(TICKET, HANDOFF), instructions=f"{END}{BEGIN}").changes == {}


def test_the_block_alone_is_what_empty_instructions_become() -> None:
    block = f"{BEGIN}\nregras\n{END}"
    assert with_rules(None, "regras") == with_rules("", "regras") == block


def test_putting_the_rules_in_twice_changes_nothing() -> None:
    once = with_rules("Seja gentil.", "regras")
    assert with_rules(once, "regras") == once


def test_only_what_stands_between_the_markers_is_replaced() -> None:
    old = f"  antes {BEGIN}coisas velhas\n{END}\n depois  \n"
    assert with_rules(old, "regras") == f"  antes {BEGIN}\nregras\n{END}\n depois  \n"


@pytest.mark.parametrize(
    "text",
    [BEGIN, END, f"{END}{BEGIN}", f"{BEGIN}{BEGIN}{END}", f"{BEGIN}{END}{END}", f"{BEGIN}{END} {BEGIN}{END}"],
)
def test_markers_that_are_no_pair_are_left_to_a_person(text: str) -> None:
    with pytest.raises(schema_sync.BrokenMarkers):
        with_rules(text, "regras")


# ---------------------------------------------------------------------------------------------- applying


async def test_a_second_run_finds_nothing_to_do(tmp_path: Path) -> None:
    shelf = Shelf({"tools": FOREIGN, "instructions": "Seja gentil.", "name": "FINANCEIRO"})
    assert await synced(shelf, tmp_path, Target(FUNCTIONS, RULES["FINANCEIRO"]))
    assert shelf.written[0].keys() == {"tools", "instructions"}
    again = await schema_sync.compare(shelf, "asst_1", Target(FUNCTIONS, RULES["FINANCEIRO"]))
    assert (again.changes, again.kept) == ({}, FOREIGN)


async def test_only_what_differs_is_written(tmp_path: Path) -> None:
    shelf = Shelf({"tools": wrapped(TICKET, HANDOFF), "instructions": None})
    await synced(shelf, tmp_path, Target(FUNCTIONS, "regras"))
    assert [each.keys() for each in shelf.written] == [{"instructions"}]


async def test_the_definition_there_was_is_saved_first_for_the_owner_alone(tmp_path: Path) -> None:
    before = {"tools": FOREIGN, "instructions": "não \ud800", "model": "gpt-4o"}
    shelf = Shelf(before)
    await synced(shelf, tmp_path / "data" / "schema-backups")
    (saved,) = (tmp_path / "data" / "schema-backups").iterdir()
    assert saved.name.startswith("asst_1-")
    assert saved.stat().st_mode & 0o777 == 0o600
    assert json.loads(saved.read_text("utf-8", "surrogatepass")) == before


async def test_without_a_saved_copy_nothing_is_written(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    shelf = Shelf({"tools": []})
    with pytest.raises(schema_sync.NotSaved) as refused:
        await synced(shelf, tmp_path / "file" / "backups")
    assert shelf.written == []
    assert "nada foi gravado" in schema_sync.sentence(refused.value)


@pytest.mark.parametrize("status", [400, 422])
async def test_a_platform_that_refuses_strict_gets_the_functions_without_it(
    tmp_path: Path, status: int
) -> None:
    shelf = Shelf({"tools": FOREIGN})
    shelf.refuses_strict = status
    assert await synced(shelf, tmp_path) is False
    assert shelf.definition["tools"] == [*FOREIGN, *wrapped(TICKET, HANDOFF)]


@pytest.mark.parametrize(("envelope", "status"), [(NESTED, 401), (PLAIN, 400)])
async def test_another_refusal_is_not_tried_again(tmp_path: Path, envelope: Envelope, status: int) -> None:
    shelf = Shelf({"tools": []}, envelope)

    async def refuse(identifier: str, changes: Json) -> None:
        shelf.written.append(changes)
        raise PlatformRefused(status)

    shelf.write = refuse  # type: ignore[method-assign]
    with pytest.raises(PlatformRefused):
        await synced(shelf, tmp_path)
    assert len(shelf.written) == 1


async def test_a_definition_whose_tools_are_not_wholly_shown_is_not_written(tmp_path: Path) -> None:
    shelf = Shelf({"tools": [{"type": "mcp"}]})
    shelf.incomplete = True
    with pytest.raises(schema_sync.NotComplete):
        await synced(shelf, tmp_path)
    assert shelf.written == []
    assert os.listdir(tmp_path) == []  # noqa: PTH208  # pathlib blocks as well, and is refused here


@pytest.mark.parametrize(
    "changed",
    [
        lambda definition: {**definition, "tools": definition["tools"][:-1]},
        lambda definition: {**definition, "tools": definition["tools"][1:]},
        lambda definition: {**definition, "tools": [{"type": "retrieval"}, *definition["tools"][1:]]},
        lambda definition: {**definition, "tools": [*definition["tools"], {"type": "retrieval"}]},
        lambda definition: json.loads(json.dumps(definition).replace("0.0", "0")),
        lambda definition: {**definition, "instructions": BEGIN},
        lambda definition: {**definition, "instructions": ""},
    ],
)
async def test_a_platform_that_shows_something_else_afterwards_is_told_on(
    tmp_path: Path, changed: Any
) -> None:
    shelf = Shelf({"tools": FOREIGN, "instructions": "x"})
    shelf.changes = changed
    with pytest.raises(schema_sync.NotApplied):
        await synced(shelf, tmp_path, Target(FUNCTIONS, "regras"))


async def test_what_a_platform_adds_to_the_tools_of_others_is_its_own_affair(tmp_path: Path) -> None:
    shelf = Shelf({"tools": [{"type": "file_search"}, {"type": "mcp", "allowed_tools": ["a"]}]})
    shelf.changes = lambda definition: {
        **definition,
        "tools": [{**tool, "file_search": {}} for tool in definition["tools"]],
    }
    assert await synced(shelf, tmp_path)


async def test_drift_is_told_by_name_and_what_cannot_be_read_is_left_out() -> None:
    equal, other = Shelf({"tools": wrapped(TICKET, HANDOFF)}), Shelf({"tools": FOREIGN})
    names = {"FINANCEIRO": "asst_1", "SUPORTE": "asst_gone"}
    assert await schema_sync.drift(equal, names, FUNCTIONS) == {"FINANCEIRO": False}
    assert await schema_sync.drift(other, names, FUNCTIONS) == {"FINANCEIRO": True}
    assert other.written == []


@pytest.mark.parametrize(
    ("failure", "says"),
    [
        (RunGone(404), "HTTP 404"),
        (PlatformRefused(401), "OPENAI_API_KEY"),
        (PlatformRefused(400, "string_above_max_length"), "HTTP 400, código string_above_max_length"),
        (PlatformUnavailable(), "a plataforma não respondeu"),
        (PlatformUnavailable(503), "HTTP 503"),
        (schema_sync.BrokenMarkers(), "marcadores"),
        (schema_sync.NotComplete(), "MCP"),
        (schema_sync.NotApplied(), "data/schema-backups"),
    ],
)
def test_each_failure_says_what_to_do(failure: WorkerError, says: str) -> None:
    assert says in schema_sync.sentence(failure)


# ------------------------------------------------------------------------------- a catalogue of one's own


def test_the_shipped_catalogue_leaves_the_schemas_as_they_are() -> None:
    assert schema_sync.load(schema_names(), catalog=Catalog.load()) == FUNCTIONS


def test_a_catalogue_of_ones_own_brings_its_names_into_the_schemas() -> None:
    own = Catalog({"OBRAS": ["PODA", "POSTE"], "REDE": ["FIBRA"]}, ["obras", "plantão"], {})
    ticket, handoff = schema_sync.load(schema_names(), catalog=own)
    properties = ticket["parameters"]["properties"]
    assert properties["setor"] == {
        "type": "string",
        "description": "Setor responsável. Valores válidos: OBRAS, REDE",
        "enum": ["OBRAS", "REDE"],
    }
    examples = "Exemplos para OBRAS: PODA, POSTE. Para REDE: FIBRA."
    assert properties["motivo"]["description"].endswith(examples)
    assert properties["resumo"] == TICKET["parameters"]["properties"]["resumo"]
    departamento = handoff["parameters"]["properties"]["departamento"]
    assert departamento["enum"] == ["obras", "plantão"]
    assert departamento["description"].endswith("Valores válidos: obras, plantão")
    assert handoff["parameters"]["properties"]["motivo"] == HANDOFF["parameters"]["properties"]["motivo"]
    assert {**ticket, "parameters": None} == {**TICKET, "parameters": None}


def test_motivos_of_ones_own_replace_the_examples_even_where_the_setores_are_the_documents() -> None:
    shipped = Catalog.load()
    motivos = {setor: known.names for setor, known in shipped.motivos.items()}
    own = Catalog(motivos | {"ADMINISTRAÇÃO": ["ALVARÁ"]}, shipped.departamentos.names, {})
    ticket, _ = schema_sync.load(schema_names(), catalog=own)
    properties = ticket["parameters"]["properties"]
    assert properties["setor"] == TICKET["parameters"]["properties"]["setor"]
    assert "Exemplos para ADMINISTRAÇÃO: ALVARÁ." in properties["motivo"]["description"]
    assert "DESBLOQUEIO" not in properties["motivo"]["description"]

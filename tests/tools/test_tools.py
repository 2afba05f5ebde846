"""Each tool judges the model's call in the contract's order, does what it decided, and tells the outcome."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from worker.catalog import Catalog, schemas_dir
from worker.catalog.opening_hours import parse
from worker.errors import InternalError
from worker.model import Attendance, CallRecord, CallState, Conversation, Intent, Outcome, Rejection
from worker.outbound.guard import Undelivered
from worker.outbound.post import Delivered
from worker.personal import Personal
from worker.ports import Attempts, Tool
from worker.tools.abrir_ticket_crm import AbrirTicketCrm
from worker.tools.crm import Crm, CrmSettings
from worker.tools.transferir_para_humano import TransferirParaHumano

CATALOG = Catalog.load()
URL = "https://crm.test/webhook/abrir_ticket?token=segredo"
KNOWN = Conversation("conversa-1", document=Personal("52998224725"))
TICKET = {"resumo": "Cliente pagou.", "setor": "FINANCEIRO", "motivo": "INFORMAR PAGAMENTO"}
HANDOFF = {"departamento": "financeiro", "motivo": "Verificação de comprovante"}


@dataclass
class FakeGuard:
    """Answers every POST alike and remembers what was to be sent."""

    delivery: Delivered | Undelivered
    posts: list[tuple[str, bytes, Mapping[str, str], Attempts]] = field(default_factory=list)

    async def post(
        self, url: str, body: bytes, headers: Mapping[str, str], attempts: Attempts
    ) -> Delivered | Undelivered:
        self.posts.append((url, body, headers, attempts))
        return self.delivery


class FakeAttempts:
    """Never asked by the tool: it is handed on to the guard as it is."""


ATTEMPTS = FakeAttempts()
CRM = CrmSettings(URL, protocol_pattern=r"^\d{8,20}$", idempotent=True)


def opener(guard: FakeGuard | None = None, crm: CrmSettings = CRM) -> AbrirTicketCrm:
    return AbrirTicketCrm(CATALOG, Crm(guard or FakeGuard(Undelivered(refused=False, certain=True)), crm))


def plan(
    arguments: Mapping[str, object] | str,
    conversation: Conversation | None = KNOWN,
    tool: Tool | None = None,
) -> Intent | Rejection:
    text = arguments if isinstance(arguments, str) else json.dumps(arguments)
    return (tool or opener()).plan(Personal(text), conversation)


def intent(arguments: Mapping[str, object], conversation: Conversation = KNOWN) -> Intent:
    found = plan(arguments, conversation)
    assert isinstance(found, Intent)
    return found


def refused(found: Intent | Rejection) -> tuple[Rejection, dict[str, object]]:
    assert isinstance(found, Rejection)
    answer = json.loads(found.answer.reveal())
    assert answer["success"] is False
    assert answer["error"] == found.code
    assert answer["instrucao"]
    return found, answer


# ------------------------------------------------------------------------- abrir_ticket_crm: the decision


@pytest.mark.parametrize("tool", [opener(), TransferirParaHumano(CATALOG)])
def test_a_tool_demands_what_its_schema_demands_in_that_order(tool: Tool) -> None:
    schema = json.loads((schemas_dir() / f"{tool.name}.json").read_text(encoding="utf-8"))
    rejection, answer = refused(plan("", tool=tool))
    assert rejection.code == "parametros_faltando"
    assert answer["faltando"] == schema["parameters"]["required"]


def test_a_good_call_becomes_the_very_body_of_the_contract() -> None:
    assert intent({**TICKET, "resumo": "João pagou. 💙"}) == Intent(
        equal_on=("FINANCEIRO", "INFORMAR PAGAMENTO", "joao pagou. 💙", "52998224725"),
        body=Personal(
            '{"documento": "52998224725", "resumo": "João pagou. 💙", "setor": "FINANCEIRO", '
            '"motivo": "INFORMAR PAGAMENTO", "finalizar": "N"}'
        ),
        setor="FINANCEIRO",
        motivo="INFORMAR PAGAMENTO",
        exact=True,
    )


def test_contact_and_fresh_receipt_frame_the_resumo() -> None:
    conversation = replace(KNOWN, contact=Personal("5524999990000"), receipt_url=Personal("https://a.b/c"))
    found = intent(TICKET, conversation)
    assert json.loads(found.body.reveal())["resumo"] == (
        "[WhatsApp: 5524999990000] Cliente pagou.\n\n📎 Comprovante: https://a.b/c"
    )
    assert found.uses_receipt
    assert found.equal_on == intent(TICKET).equal_on


def test_another_spelling_is_sent_as_the_catalogue_has_it_and_is_not_exact() -> None:
    found = intent({"resumo": "x", "setor": "locacao", "motivo": "manutencao_de_camera"})
    assert (found.setor, found.motivo, found.exact) == ("LOCAÇÃO", "MANUNTENÇAO DE CAMERA", False)
    assert '"setor": "LOCAÇÃO", "motivo": "MANUNTENÇAO DE CAMERA"' in found.body.reveal()


def test_calls_that_differ_in_case_accents_and_white_space_are_equal() -> None:
    first = intent({"resumo": "Conexão  voltou.\n", "setor": "SUPORTE", "motivo": "SEM CONEXÃO"})
    again = intent({"resumo": "conexao voltou.", "setor": "suporte", "motivo": "sem_conexao"})
    assert first.equal_on == again.equal_on


@pytest.mark.parametrize(
    "other",
    [
        {"resumo": "Cliente pagou duas vezes."},
        {"motivo": "PAGAMENTO"},
        {"setor": "RECEPÇÃO", "motivo": "ATENDIMENTO"},
    ],
)
def test_calls_that_differ_otherwise_are_not_equal(other: dict[str, object]) -> None:
    assert intent({**TICKET, **other}).equal_on != intent(TICKET).equal_on


def test_calls_for_different_documents_are_not_equal() -> None:
    another = replace(KNOWN, document=Personal("11144477735"))
    assert intent(TICKET, another).equal_on != intent(TICKET).equal_on


FAULTS: list[tuple[str, dict[str, object]]] = [
    ("argumentos_invalidos", {"resumo": "a" * 10_001}),
    ("parametros_faltando", {"resumo": " "}),
    ("setor_invalido", {"setor": "JURÍDICO"}),
    ("motivo_incompativel", {"motivo": "SEM CONEXÃO"}),
]


@pytest.mark.parametrize("first", range(len(FAULTS)))
def test_the_first_fault_in_the_contracts_order_is_the_one_told(first: int) -> None:
    arguments = dict(TICKET)
    for _, fault in reversed(FAULTS[first:]):
        arguments.update(fault)
    rejection, _ = refused(plan(arguments, None))
    assert rejection.code == FAULTS[first][0]


def test_then_comes_the_conversation_and_then_its_document() -> None:
    unknown, answer = refused(plan(TICKET, None))
    assert unknown.code == "conversa_desconhecida"
    assert str(answer["mensagem"]).startswith("Conversa não encontrada")
    missing, answer = refused(plan(TICKET, Conversation("conversa-1")))
    assert missing.code == "documento_ausente"
    assert answer["mensagem"] == "Para abrir um ticket, preciso do seu CPF ou CNPJ"
    assert (missing.setor, missing.exact) == ("FINANCEIRO", True)


def test_a_resumo_of_exactly_ten_thousand_characters_is_taken() -> None:
    assert intent({**TICKET, "resumo": "á" * 10_000})
    _, answer = refused(plan({"resumo": "á" * 10_001}))
    assert answer["mensagem"] == "Argumentos inválidos: o resumo tem mais de 10.000 caracteres."


def test_an_unknown_setor_is_told_with_the_known_ones_and_a_suggestion() -> None:
    _, answer = refused(plan({**TICKET, "setor": "FINANCERO"}))
    assert answer["mensagem"] == 'Setor "FINANCERO" não é válido.'
    assert answer["setores_validos"] == list(CATALOG.setores.names)
    assert answer["sugestao"] == "FINANCEIRO"


def test_an_incompatible_motivo_is_told_with_those_of_the_setor() -> None:
    rejection, answer = refused(plan({**TICKET, "setor": "financeiro", "motivo": "SEM CONEXÃO"}))
    assert answer["mensagem"] == 'Motivo "SEM CONEXÃO" não é compatível com setor "FINANCEIRO".'
    assert answer["motivos_validos"] == list(CATALOG.motivos["FINANCEIRO"].names)
    assert "sugestao" not in answer
    assert (rejection.setor, rejection.exact) == ("FINANCEIRO", False)
    _, answer = refused(plan({**TICKET, "motivo": "INFORMAR PAGAMENTOS"}))
    assert answer["sugestao"] == "INFORMAR PAGAMENTO"


@pytest.mark.parametrize("braces", ["{x}", "{", "{0}", "{_texto}"])
def test_braces_in_the_models_text_are_only_text(braces: str) -> None:
    _, answer = refused(plan({**TICKET, "setor": braces}))
    assert answer["mensagem"] == f'Setor "{braces}" não é válido.'


def test_an_echoed_text_gives_no_document_away() -> None:
    _, answer = refused(plan({**TICKET, "setor": "CPF 529.982.247-25"}))
    assert answer["mensagem"] == 'Setor "CPF …" não é válido.'
    _, answer = refused(plan({**TICKET, "motivo": "maria@exemplo.com"}))
    assert answer["mensagem"] == 'Motivo "…" não é compatível com setor "FINANCEIRO".'


@pytest.mark.parametrize(
    ("given_pair", "setor", "exact"),
    [
        ({}, None, None),
        ({"setor": "SUPORTE"}, "SUPORTE", None),
        ({"motivo": "LENTIDÃO"}, None, None),
        ({"setor": "SUPORTE", "motivo": "LENTIDÃO"}, "SUPORTE", True),
        ({"setor": "suporte", "motivo": "LENTIDÃO"}, "SUPORTE", False),
        ({"setor": "SUPORTE", "motivo": "lentidao"}, "SUPORTE", False),
        ({"setor": "NADA", "motivo": "LENTIDÃO"}, None, False),
    ],
)
def test_a_rejection_says_whether_setor_and_motivo_came_exact(
    given_pair: dict[str, object], setor: str | None, exact: bool | None
) -> None:
    rejection, _ = refused(plan(given_pair))
    assert rejection.code == "parametros_faltando"
    assert (rejection.setor, rejection.exact) == (setor, exact)


@given(
    arguments=st.text() | st.dictionaries(st.sampled_from([*TICKET, *HANDOFF]), st.text() | st.none()),
    conversation=st.sampled_from([KNOWN, Conversation("c"), None]),
    tool=st.sampled_from([opener(), TransferirParaHumano(CATALOG)]),
)
@settings(deadline=None)
def test_whatever_the_model_writes_is_judged_and_never_raises(
    arguments: str | dict[str, object], conversation: Conversation | None, tool: Tool
) -> None:
    found = plan(arguments, conversation, tool)
    assert found.answer is None or json.loads(found.answer.reveal())


# -------------------------------------------------------------------------- abrir_ticket_crm: the sending

CALL = CallRecord(
    call_id="tc_1",
    run_id="run_1",
    conversation_id="conversa-1",
    tool="abrir_ticket_crm",
    state=CallState.RUNNING,
    idempotency_key="tw-chave",
    body=Personal('{"resumo": "ação 📎"}'),
)
PROTOCOLO = "2510271534789012"
NOT_IDEMPOTENT = replace(CRM, idempotent=False)


def crm_answer(protocolo: object) -> bytes:
    return json.dumps([{"data": [{"resposta": [{"protocolo": protocolo}]}]}]).encode()


async def perform(
    delivery: Delivered | Undelivered, call: CallRecord = CALL, crm: CrmSettings = CRM
) -> Outcome:
    return await opener(FakeGuard(delivery), crm).perform(call, ATTEMPTS)


async def test_the_stored_bytes_go_out_under_the_calls_own_key() -> None:
    guard = FakeGuard(Delivered(200, crm_answer(PROTOCOLO)))
    await opener(guard).perform(CALL, ATTEMPTS)
    assert guard.posts == [
        (
            URL,
            '{"resumo": "ação 📎"}'.encode(),
            {"Content-Type": "application/json; charset=utf-8", "Idempotency-Key": "tw-chave"},
            ATTEMPTS,
        )
    ]


async def test_the_crms_own_header_goes_along_and_is_never_shown() -> None:
    guard = FakeGuard(Delivered(200, crm_answer(PROTOCOLO)))
    crm = replace(CRM, auth_header=("X-Api-Key", "segredo"))
    await opener(guard, crm).perform(CALL, ATTEMPTS)
    assert guard.posts[0][2]["X-Api-Key"] == "segredo"
    assert "segredo" not in repr(crm)


@pytest.mark.parametrize("protocolo", [PROTOCOLO, int(PROTOCOLO), "00000000", 98765432109876543210])
async def test_a_protocolo_is_read_from_text_and_from_numbers_of_any_length(protocolo: str | int) -> None:
    assert await perform(Delivered(201, crm_answer(protocolo))) == Outcome(
        CallState.DONE, protocolo=str(protocolo), certain=False
    )


@pytest.mark.parametrize(
    "written",
    [
        "2.510271534789012E15",
        "2510271534789012.0",
        "251027153478901200e-2",
        f'" {PROTOCOLO} "',
        f'"\\t{PROTOCOLO}\\n"',
        f'"\\u00a0{PROTOCOLO}"',
    ],
)
async def test_a_number_counts_by_its_value_and_blanks_around_a_text_do_not(written: str) -> None:
    answer = f'[{{"data": [{{"resposta": [{{"protocolo": {written}}}]}}]}}]'
    assert (await perform(Delivered(200, answer.encode()))).protocolo == PROTOCOLO


@pytest.mark.parametrize(
    ("body", "charset"),
    [
        ("latin-1", "ISO-8859-1"),
        ("latin-1", None),
        ("latin-1", "utf-8"),
        ("latin-1", "zlib_codec"),
        ("cp1252", "windows-1252"),
        ("utf-8", "ISO-8859-1"),
        ("utf-8-sig", None),
        ("utf-16", "UTF-16"),
    ],
)
async def test_an_answer_is_read_in_the_charset_it_declares_or_has(body: str, charset: str | None) -> None:
    answer = f'[{{"data": [{{"situação": "é", "resposta": [{{"protocolo": "{PROTOCOLO}"}}]}}]}}]'
    assert (await perform(Delivered(200, answer.encode(body), charset))).protocolo == PROTOCOLO


@pytest.mark.parametrize("digits", ["２５１０２７１５３４７８９０１２", "٢٥١٠٢٧١٥٣٤٧٨٩٠١٢"])
@pytest.mark.parametrize("pattern", [CRM.protocol_pattern, "."])
async def test_digits_of_other_scripts_are_no_protocolo(digits: str, pattern: str) -> None:
    crm = replace(CRM, protocol_pattern=pattern)
    found = await perform(Delivered(200, crm_answer(digits)), crm=crm)
    assert found.state is CallState.NO_PROTOCOL


@pytest.mark.parametrize("number", ["9" * 5000, "1e999999999", "-1e999999999", "NaN", "Infinity"])
async def test_a_number_that_no_protocolo_can_be_is_none(number: str) -> None:
    answer = f'[{{"data": [{{"resposta": [{{"protocolo": {number}}}]}}]}}]'
    assert (await perform(Delivered(200, answer.encode()))).state is CallState.NO_PROTOCOL


@pytest.mark.parametrize(("length", "read"), [(64, True), (65, False), (300_000, False)])
async def test_a_page_that_holds_a_number_is_no_protocolo(length: int, read: bool) -> None:
    text = f"TK-25{'x' * (length - 5)}"
    crm = replace(CRM, protocol_pattern=r"TK-\d+")
    found = await perform(Delivered(200, crm_answer(text)), crm=crm)
    assert found.protocolo == (text if read else None)


async def test_a_pattern_without_anchors_needs_to_match_only_a_part() -> None:
    crm = replace(CRM, protocol_pattern=r"TK-\d+")
    assert (await perform(Delivered(200, crm_answer("2025/TK-17/B")), crm=crm)).protocolo == "2025/TK-17/B"


@pytest.mark.parametrize(
    "protocolo",
    [
        "52998224725",
        52998224725,
        "529.982.247-25",
        "0052998224725",
        "24999998888",
        "5524999998888",
        "024999998888",
    ],
)
async def test_the_customers_document_or_contact_is_no_protocolo(protocolo: object) -> None:
    ticket = {"documento": "52998224725", "resumo": "[WhatsApp: +55 24 99999-8888] Maria pagou"}
    crm = replace(CRM, protocol_pattern=".")
    found = await perform(
        Delivered(200, crm_answer(protocolo)), replace(CALL, body=Personal.json(ticket)), crm
    )
    assert (found.state, found.protocolo) == (CallState.NO_PROTOCOL, None)


async def test_a_protocolo_that_shares_some_digits_with_the_customers_numbers_is_one() -> None:
    ticket = {"documento": "52998224725", "resumo": "[WhatsApp: 2510271] Maria pagou"}
    found = await perform(Delivered(200, crm_answer(PROTOCOLO)), replace(CALL, body=Personal.json(ticket)))
    assert found.protocolo == PROTOCOLO


async def test_what_the_crm_adds_to_its_answer_does_not_matter() -> None:
    answer = f'[{{"ok": 1, "data": [{{"resposta": [{{"protocolo": {PROTOCOLO}, "x": 1.5}}, 2]}}, 3]}}, 4]'
    assert (await perform(Delivered(200, answer.encode()))).protocolo == PROTOCOLO


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"<html>ok</html>",
        b"\xff\xfe\xff",
        b"[" * 200_000,
        b"[]",
        b"{}",
        b'{"message": "Workflow was started"}',
        b'{"data": [{"resposta": [{"protocolo": "2510271534789012"}]}]}',
        b'[{"data": {"resposta": [{"protocolo": "2510271534789012"}]}}]',
        b'[{"data": [{"resposta": []}]}]',
        b'[{"data": [{"resposta": [{"Protocolo": "2510271534789012"}]}]}]',
        b'["data"]',
        b"2510271534789012",
        *map(
            crm_answer,
            [None, True, [PROTOCOLO], "", "1234567", "2510271534\n789012", "x25102715", 25102715.5, 10**20],
        ),
    ],
    ids=lambda answer: repr(answer[:60]),
)
async def test_a_2xx_without_a_protocolo_is_never_a_success(answer: bytes) -> None:
    assert await perform(Delivered(200, answer)) == Outcome(
        CallState.NO_PROTOCOL, "sem_protocolo", certain=False
    )


@given(st.binary() | st.text().map(str.encode))
@settings(deadline=None)
async def test_no_answer_of_the_crm_raises(answer: bytes) -> None:
    assert (await perform(Delivered(200, answer))).state is CallState.NO_PROTOCOL


@pytest.mark.parametrize(
    ("delivery", "idempotent", "outcome"),
    [
        (Undelivered(refused=True, certain=True), True, Outcome(CallState.FAILED, "crm_recusou")),
        (Undelivered(refused=True, certain=True), False, Outcome(CallState.FAILED, "crm_recusou")),
        (Undelivered(refused=False, certain=True), False, Outcome(CallState.FAILED, "crm_indisponivel")),
        (
            Undelivered(refused=False, certain=False),
            True,
            Outcome(CallState.FAILED, "crm_indisponivel", certain=False),
        ),
        (
            Undelivered(refused=True, certain=False),
            True,
            Outcome(CallState.FAILED, "crm_recusou", certain=False),
        ),
        (
            Undelivered(refused=False, certain=False),
            False,
            Outcome(CallState.UNKNOWN, "em_confirmacao", certain=False),
        ),
    ],
)
async def test_what_was_not_delivered_is_judged_by_what_it_may_have_done(
    delivery: Undelivered, idempotent: bool, outcome: Outcome
) -> None:
    assert await perform(delivery, crm=replace(CRM, idempotent=idempotent)) == outcome


async def test_what_an_earlier_owner_may_have_sent_stays_uncertain() -> None:
    outcome = await perform(Undelivered(refused=False, certain=True), replace(CALL, maybe_sent=True))
    assert outcome == Outcome(CallState.FAILED, "crm_indisponivel", certain=False)


async def test_what_may_have_been_sent_is_never_sent_again_without_idempotency() -> None:
    guard = FakeGuard(Delivered(200, crm_answer(PROTOCOLO)))
    outcome = await opener(guard, NOT_IDEMPOTENT).perform(replace(CALL, maybe_sent=True), ATTEMPTS)
    assert outcome == Outcome(CallState.UNKNOWN, "em_confirmacao", certain=False)
    assert guard.posts == []


@pytest.mark.parametrize("lost", [{"body": None}, {"idempotency_key": None}])
async def test_a_call_whose_payload_is_gone_is_not_sent(lost: dict[str, None]) -> None:
    guard = FakeGuard(Delivered(200, crm_answer(PROTOCOLO)))
    with pytest.raises(InternalError):
        await opener(guard).perform(replace(CALL, **lost), ATTEMPTS)
    assert guard.posts == []


async def test_a_ticket_in_doubt_is_not_asked_for_without_a_lookup() -> None:
    assert await opener().recheck(replace(CALL, state=CallState.UNKNOWN), ATTEMPTS) is None


def test_an_opened_ticket_is_told_with_its_protocolo() -> None:
    call = replace(CALL, protocolo=PROTOCOLO, setor="FINANCEIRO", motivo="PAGAMENTO")
    assert list(json.loads(opener().success(call).reveal()).items()) == [
        ("success", True),
        ("protocolo", PROTOCOLO),
        ("setor", "FINANCEIRO"),
        ("motivo", "PAGAMENTO"),
        ("mensagem", f"Ticket aberto com sucesso! Protocolo: {PROTOCOLO}"),
    ]


# ------------------------------------------------------------------------------- transferir_para_humano


def hand_off(
    arguments: Mapping[str, object], conversation: Conversation | None = KNOWN
) -> Intent | Rejection:
    return plan(arguments, conversation, TransferirParaHumano(CATALOG))


def test_a_hand_off_is_answered_as_soon_as_it_is_recorded() -> None:
    found = hand_off({"departamento": "SUPORTE_GERAL", "motivo": "Maria, 529.982.247-25, pede ajuda"})
    assert isinstance(found, Intent)
    assert (found.departamento, found.equal_on) == ("suporte geral", ("suporte geral",))
    assert found.body == Personal("Maria, 529.982.247-25, pede ajuda")
    assert found.answer == Personal(
        '{"success": true, "departamento": "suporte geral", "motivo": "Maria, …, pede ajuda", '
        '"mensagem": "Transferência para atendimento humano iniciada com sucesso."}'
    )


async def test_a_recorded_hand_off_is_done_and_tells_the_same_again() -> None:
    tool = TransferirParaHumano(CATALOG)
    found = hand_off(HANDOFF)
    assert isinstance(found, Intent)
    call = replace(CALL, body=found.body, departamento=found.departamento)
    assert await tool.perform(call, ATTEMPTS) == Outcome(CallState.DONE)
    assert tool.success(call) == found.answer
    assert json.loads(tool.success(replace(call, body=None)).reveal())["motivo"] == ""


def own_hours(sla_s: float = 900.0) -> TransferirParaHumano:
    """Open on weekdays from 08:00 to 18:00 and, in the suporte, around the clock."""
    catalog = Catalog(
        {"SUPORTE": ["LENTIDÃO"]},
        ["suporte", "financeiro"],
        {},
        shifts={"*": parse("seg-sex 08:00-18:00"), "suporte": parse("todos 00:00-24:00")},
        zone=ZoneInfo("America/Sao_Paulo"),
    )
    return TransferirParaHumano(catalog, sla_s)


def at(text: str) -> float:
    return datetime.fromisoformat(f"{text}-03:00").timestamp()


def asked_at(text: str, departamento: str, tool: TransferirParaHumano | None = None) -> Intent:
    arguments = HANDOFF | {"departamento": departamento}
    found = plan(arguments, replace(KNOWN, read_at=at(text)), tool or own_hours())
    assert isinstance(found, Intent)
    return found


def test_outside_the_hours_the_model_learns_when_attendance_resumes_and_promises_nobody() -> None:
    found = asked_at("2026-11-29T03:00:00", "financeiro")
    assert found.answer is not None
    answer = json.loads(found.answer.reveal())
    assert list(answer.items())[:-1] == [
        ("success", True),
        ("departamento", "financeiro"),
        ("motivo", "Verificação de comprovante"),
        ("fora_do_horario", True),
        ("retorno", "2026-11-30T08:00:00-03:00"),
        (
            "mensagem",
            "Pedido de atendimento registrado. O atendimento volta segunda-feira, 30/11, às 08:00.",
        ),
    ]
    assert "Não prometa" in answer["instrucao"]
    due_at = at("2026-11-30T08:15:00")
    assert found.attendance == Attendance(at("2026-11-29T03:00:00"), at("2026-11-30T08:00:00"), due_at)


@pytest.mark.parametrize(
    ("departamento", "now", "due"),
    [
        ("financeiro", "2026-11-30T17:59:59", "2026-12-01T08:14:59"),
        ("suporte", "2026-11-29T03:00:00", "2026-11-29T03:15:00"),
    ],
)
def test_within_the_hours_the_answer_is_the_documents(departamento: str, now: str, due: str) -> None:
    found = asked_at(now, departamento)
    assert found.answer is not None
    assert list(json.loads(found.answer.reveal())) == ["success", "departamento", "motivo", "mensagem"]
    assert found.attendance == Attendance(at(now), None, at(due))


def test_without_a_deadline_nothing_is_due() -> None:
    found = asked_at("2026-11-29T03:00:00", "financeiro", own_hours(sla_s=0.0))
    assert found.attendance is not None
    assert (found.attendance.due_at, found.attendance.opens_at) == (None, at("2026-11-30T08:00:00"))


async def test_a_hand_off_is_never_in_doubt() -> None:
    assert await TransferirParaHumano(CATALOG).recheck(CALL, ATTEMPTS) is None


def test_a_hand_off_needs_no_document() -> None:
    assert isinstance(hand_off(HANDOFF, Conversation("conversa-1")), Intent)


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        ({"departamento": 1, "motivo": ""}, "argumentos_invalidos"),
        ({"departamento": "jurídico"}, "parametros_faltando"),
        ({"departamento": "jurídico", "motivo": "x"}, "departamento_invalido"),
        (HANDOFF, "conversa_desconhecida"),
    ],
)
def test_a_hand_off_is_judged_in_the_contracts_order(arguments: dict[str, object], code: str) -> None:
    rejection, _ = refused(hand_off(arguments, None))
    assert (rejection.code, rejection.setor, rejection.exact) == (code, None, None)


def test_an_unknown_departamento_is_told_with_the_known_ones_and_a_suggestion() -> None:
    _, answer = refused(hand_off({"departamento": "cancelamentos", "motivo": "x"}))
    assert answer["mensagem"] == 'Departamento "cancelamentos" não é válido.'
    assert answer["departamentos_validos"] == list(CATALOG.departamentos.names)
    assert answer["sugestao"] == "cancelamento"

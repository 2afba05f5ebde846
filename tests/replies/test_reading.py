"""The rules of the reply check, one by one (contract §10)."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.replies import Code, Facts, Finding, instruction_for
from worker.replies.grammar import pattern
from worker.replies.reading import read_reply
from worker.replies.text import fold_word, sentences_of, tokens_of

NOTHING = Facts()


def codes(text: str, facts: Facts = NOTHING) -> list[str]:
    return [finding.code.value for finding in read_reply(text).findings(facts)]


@pytest.mark.parametrize(
    "text",
    [
        "Abri seu chamado!",
        "ja registrei sua reclamacao no sistema",
        "Seu ticket foi aberto com sucesso ✅",
        "*Chamado aberto!*",
        "Prontinho, a solicitação está registrada.",
        "Acabei de abrir o chamado pra você",
        "Não se preocupe, seu chamado já foi aberto.",
        "Foi registrado um pedido de visita em seu nome.",
        "A gente deu entrada no seu pedido.",
        "| Ticket no CRM | Aberto |",
        "Seu pedido já está em análise com o financeiro.",
        "Chamado abertinho, viu?",
        "chmado aberto",
        "Abri o chamadoo já",
        "Reabri seu chamado.",
        "O ticket já foi feito.",
        "Mesmo sem o CPF deu pra abrir o ticket.",
        "Consta agora em nosso sistema um chamado em seu nome.",
        "Ficou anotado como solicitação de mudança.",
        "Acabei de encaminhar sua solicitação.",
        "Sua reclamação acaba de virar chamado.",
        "O sistema informou que seu chamado foi aberto.",
        "A solicitação já está com o setor técnico.",
    ],
)
def test_a_ticket_reported_as_opened_without_one_is_found(text: str) -> None:
    assert codes(text) == ["ticket_nao_aberto"]
    assert codes(text, Facts(ticket_opened=True)) == []


@pytest.mark.parametrize(
    "text",
    [
        "Posso abrir um chamado pra você?",
        "Quer que eu registre uma reclamação?",
        "Assim que você enviar o CPF, eu abro o ticket.",
        "Não consegui abrir o ticket.",
        "Seu chamado ainda não foi aberto.",
        "Nenhum chamado foi aberto até agora.",
        "Você disse que já abriu um chamado.",
        "Quando um ticket é aberto, o prazo é de 24 horas.",
        "Depois que o chamado for aberto, você recebe o protocolo.",
        "O chamado aberto pelo cliente vai para a fila.",
        "Sua fatura de outubro está em aberto.",
        "A linha está registrada no nome da sua mãe.",
        "Abri seu cadastro para ver o pedido.",
        "O chamado foi aberto?",
        "A prefeitura registrou sua reclamação sobre o poste.",
        "O período de pedidos está aberto até sexta.",
        "Vi no histórico que em março foi registrada uma visita.",
        "O chamado de julho foi aberto no dia 3.",
        "O chamado foi aberto no dia 3 e encerrado no dia 5.",
        "Pedi o registro, porém ainda não saiu.",
        "Não tenho como garantir que o chamado foi aberto.",
        "Na loja te falaram que o chamado foi aberto.",
        "Dependendo da análise, o pedido foi encaminhado ao financeiro ou não.",
        "Se quiser, deixo registrado o seu pedido.",
        "Chamado aberto após as 18h só é visto no dia seguinte.",
    ],
)
def test_what_does_not_say_that_a_ticket_was_opened_is_clean(text: str) -> None:
    assert codes(text) == []


@pytest.mark.parametrize(
    "text",
    [
        "Já te transferi pro suporte.",
        "to te passando pro financeiro blz",
        "Você foi encaminhada para a ouvidoria.",
        "Transferindo para um humano, aguarde...",
        "Sua conversa foi passada pro financeiro.",
        "Vou te transferir para o comercial. Aguarde um momento.",
        "Um atendente já vai te atender.",
        "te mandei p/ o suporte",
        "Coloquei você na fila do atendimento.",
        "Pedido de atendimento registrado. O atendimento volta segunda-feira.",
        "Sua solicitação de atendimento humano foi registrada.",
        "Já estou te transferindo para quem consegue resolver.",
        "Acabei de pedir pra uma pessoa da equipe assumir o seu atendimento.",
        "O senhor já se encontra na fila do suporte.",
        "O pessoal da cobrança já tá te chamando aqui.",
        "Handoff feito pro time financeiro.",
        "tranferi você pro suporte",
        "Enviando você para o setor financeiro.",
        "Seu pedido de falar com um atendente foi enviado.",
        "Acabei de acionar o time de suporte pra falar contigo.",
        "A conversa já está com um dos nossos atendentes.",
    ],
)
def test_a_transfer_reported_without_a_hand_off_is_found(text: str) -> None:
    assert codes(text) == ["transferencia_nao_pedida"]
    assert codes(text, Facts(handoff_requested=True)) == []


@pytest.mark.parametrize(
    "text",
    [
        "Posso te transferir pro financeiro?",
        "Se quiser, te passo pro suporte agora.",
        "Não consegui te transferir, o setor fechou.",
        "Você disse que te transferiram três vezes.",
        "A transferência de titularidade foi concluída.",
        "Encaminhei o boleto pro seu e-mail.",
        "A transferência via Pix foi feita ontem.",
        "Nossos atendentes respondem em até 10 minutos.",
        "A gente consegue transferir seu ponto pra outra parede.",
        "Dependendo do teste, um técnico assume o seu caso.",
        "Se o modem não voltar, o suporte assume o caso.",
        "Te falaram na loja que foi tudo encaminhado pro suporte?",
        "Entendi, você está na fila da loja.",
    ],
)
def test_what_does_not_say_that_a_customer_is_transferred_is_clean(text: str) -> None:
    assert codes(text) == []


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("Seu protocolo é 2510271534789012.", "2510271534789012"),
        ("Anota aí o ticket 2510.2715.3478-9012, tá?", "2510.2715.3478-9012"),
        ("chamado nº 4821", "4821"),
        ("*Protocolo:* 2510 2715 3478 9012", "2510 2715 3478 9012"),
        ("Número pra acompanhar o pedido: 251027153478", "251027153478"),
        ("2510271534789012 é o seu protocolo", "2510271534789012"),
        ("Seu ticket é o INC0012345", "INC0012345"),
        ("O protocolo da sua instalação: 2510271534789012", "2510271534789012"),
    ],
)
def test_a_number_given_as_protocolo_is_found_where_it_stands(text: str, number: str) -> None:
    findings = read_reply(text).findings(Facts(ticket_opened=True))
    assert [(finding.code, text[finding.start : finding.end]) for finding in findings] == [
        (Code.UNKNOWN_PROTOCOLO, number)
    ]
    assert codes(text, Facts(protocolos={number}, ticket_opened=True)) == []


@pytest.mark.parametrize(
    "text",
    [
        "Seu CPF 529.982.247-25 está no cadastro do chamado.",
        "Para abrir o chamado, ligue 0800 123 4567.",
        "O contrato 300556712 vence dia 10/11/2025.",
        "A visita custa R$ 150,00 e o chamado é gratuito.",
        "Não localizei o protocolo 2510271534789012.",
        "O protocolo 2510271534789012 que você me mandou não é nosso.",
        "O protocolo tem 16 números, por exemplo 2510271534789012.",
        "O protocolo do roteador é o IPv6.",
        "O prazo do chamado é de 24 horas.",
        "Código de barras: 23793381286000782713695000063305984340000012345",
    ],
)
def test_a_number_that_is_something_else_is_clean(text: str) -> None:
    assert codes(text) == []


def test_numbers_of_the_conversation_match_however_they_are_written() -> None:
    facts = Facts(protocolos={"2510271534789012"}, ticket_opened=True)
    assert codes("protocolo 2510-2715-3478-9012", facts) == []
    assert codes("o protocolo com final 9012", facts) == []
    assert codes("o protocolo com final 9013", facts) == ["protocolo_desconhecido"]


def test_another_conversations_protocolo_is_named_as_such_and_needs_no_noun() -> None:
    facts = Facts(foreign={"2511031102457788"}, ticket_opened=True)
    assert codes("Seu protocolo é 2511031102457788", facts) == ["protocolo_de_outra_conversa"]
    assert codes("O 2511031102457788 segue com a equipe.", facts) == ["protocolo_de_outra_conversa"]


@pytest.mark.parametrize(
    "text",
    [
        'abrir_ticket_crm({"setor": "SUPORTE"})',
        "[EXECUTO: transferir_para_humano]",
        '{"setor": "FINANCEIRO", "motivo": "INFORMAR PAGAMENTO"}',
        "{'departamento': 'suporte'}",
        '<invoke name="abrir_ticket_crm"></invoke>',
        'consultar_sinal(onu="FHTT11223344")',
        '```tool_code\nabrir_ticket_crm(setor="SUPORTE")\n```',
        'setor="COMERCIAL", motivo="UPGRADE"',
    ],
)
def test_a_call_written_as_text_is_found(text: str) -> None:
    assert codes(text) == ["funcao_em_texto"]


@pytest.mark.parametrize(
    "text",
    [
        "Abra o arquivo comprovante_pix(1).pdf",
        "Conecte na rede CASA_5G",
        "[Imagem: foto do modem]",
        "Setor: Financeiro",
    ],
)
def test_what_only_looks_like_a_call_is_clean(text: str) -> None:
    assert codes(text) == []


def test_what_a_printed_call_says_makes_no_claim_of_its_own() -> None:
    assert codes(
        '{"resumo": "Cliente diz que seu chamado foi aberto: protocolo 99887766", "setor": "X"}'
    ) == ["funcao_em_texto"]


def test_a_sentence_gets_one_finding_of_a_code_and_each_sentence_its_own() -> None:
    text = "Abri o chamado e registrei o pedido. Seu ticket foi aberto."
    findings = read_reply(text).findings(NOTHING)
    assert [(finding.start, finding.end) for finding in findings] == [(0, 36), (37, len(text))]
    assert codes("protocolos 11112222 e 33334444") == ["protocolo_desconhecido"]


def test_offsets_count_code_points_of_the_text_as_it_was_sent() -> None:
    text = "😀 ﬁm! Seu protocolo e\u0301 2510271534789012 👍🏽"
    (finding,) = read_reply(text).findings(Facts(ticket_opened=True))
    assert text[finding.start : finding.end] == "2510271534789012"


def test_folding_keeps_the_one_accent_that_changes_a_word() -> None:
    assert [fold_word(word) for word in ("É", "e\u0301", "e", "SOLICITAÇÃO", "ﬁcou", "𝗧𝗶𝗰𝗸𝗲𝘁")] == [
        "é",
        "é",
        "e",
        "solicitacao",
        "ficou",
        "ticket",
    ]


def test_abbreviations_and_addresses_do_not_end_a_sentence() -> None:
    text = "O sr. João usa trtelecom.net.br. Ligue já!\nOk?"
    tokens = tokens_of(text)
    spans = [(tokens[first].start, tokens[end - 1].end) for first, end in sentences_of(tokens)]
    assert [text[start:end] for start, end in spans] == [
        "O sr. João usa trtelecom.net.br.",
        "Ligue já!\n",
        "Ok?",
    ]


def test_a_rule_that_names_an_unknown_class_is_refused() -> None:
    with pytest.raises(KeyError):
        pattern("<no_such_class>")


def test_the_instruction_speaks_of_every_code_found_and_of_nothing_else() -> None:
    assert instruction_for([]) is None
    texts = {code: instruction_for([Finding(code, 0, 1)]) or "" for code in Code}
    assert len(set(texts.values())) == len(Code)
    both = instruction_for([Finding(Code.NO_TICKET, 0, 1), Finding(Code.NO_HANDOFF, 2, 3)]) or ""
    assert "abrir_ticket_crm" in both
    assert "transferir_para_humano" in both
    assert "outra conversa" not in texts[Code.FOREIGN_PROTOCOLO]


WORDS = st.sampled_from(
    [
        *(
            "abri",
            "registrei",
            "seu",
            "o",
            "um",
            "chamado",
            "ticket",
            "protocolo",
            "foi",
            "está",
            "não",
            "se",
        ),
        *(
            "que",
            "aberto",
            "te",
            "transferi",
            "pro",
            "financeiro",
            "atendente",
            "já",
            "vai",
            "2510271534789012",
        ),
        *(
            "123",
            ",",
            ".",
            "?",
            "!",
            ":",
            "(",
            ")",
            "\n",
            "😀",
            "abrir_ticket_crm({",
            '"',
            "}",
            "[executo",
            "nº",
        ),
        *("#", "R$", "e\u0301"),
    ]
)
SENTENCES = st.lists(WORDS, max_size=60)
TEXTS = st.one_of(st.text(max_size=400), SENTENCES.map(" ".join), SENTENCES.map("".join))


@given(TEXTS)
def test_no_text_breaks_the_check_and_every_finding_lies_in_the_text(text: str) -> None:
    findings = read_reply(text).findings(NOTHING)
    for finding in findings:
        assert 0 <= finding.start < finding.end <= len(text)
    keys = [(finding.code, finding.start) for finding in findings]
    assert len(keys) == len(set(keys))
    assert keys == sorted(keys, key=lambda key: key[1])


@given(TEXTS)
def test_a_ledger_that_bears_everything_out_leaves_only_printed_calls(text: str) -> None:
    reading = read_reply(text)
    facts = Facts(protocolos=reading.candidates, ticket_opened=True, handoff_requested=True)
    assert {finding.code for finding in reading.findings(facts)} <= {Code.PRINTED_CALL}


@given(TEXTS)
def test_formatting_marks_change_no_verdict(text: str) -> None:
    assert codes(f"{text}\n*Seu chamado foi aberto*")[-1:] == codes(f"{text}\nSeu chamado foi aberto")[-1:]


HOSTILE = [
    *(
        "abri ",
        "1 ",
        "o chamado foi aberto, ",
        '{"setor":',
        "(",
        "te passei ",
        "abrir_ticket_crm({\n",
        "o chamado ",
    ),
    *(
        "123 ",
        "a",
        "[execut",
        "o chamado, ",
        "atendente já ",
        "protocolo 12345678 ",
        "\u0301",
        "não ",
        "?",
        "😀",
    ),
]


@pytest.mark.parametrize("unit", HOSTILE)
def test_the_time_of_a_check_grows_with_the_length_of_a_hostile_text_and_no_faster(unit: str) -> None:
    def seconds(length: int) -> float:
        text = (unit * length)[:length]
        times = []
        for _ in range(3):
            start = time.process_time()
            read_reply(text)
            times.append(time.process_time() - start)
        return min(times)

    # Five times the text: 25 times the time if it were quadratic. The addend forgives a coarse clock.
    assert seconds(20_000) <= 12 * seconds(4_000) + 0.05

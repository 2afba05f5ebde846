"""The mission's scenarios and the result that each must have, as seen from outside the worker."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

from worker.simulator.demo.bots import ChainBot, MakeBot
from worker.simulator.faults import Fault
from worker.simulator.script import CustomerMessage

DOCUMENT = "52998224725"


@dataclass(frozen=True, slots=True)
class ScenarioResult:
    """The result of a scenario, as seen from outside the worker: the expected or the actual one."""

    #: Tool and state of each call, as the worker lists them.
    calls: tuple[str, ...]
    #: Setor and motivo of each ticket in the CRM.
    tickets: tuple[str, ...] = ()
    #: Requests that the CRM received, and different `Idempotency-Key`s among them.
    sends: int = 0
    keys: int = 0
    #: What the reply tells the customer, in a word or two.
    reply: str = "protocolo"
    #: The worker's state of the run.
    run: str = "ended"
    #: Codes of the claims in the reply that the worker does not support.
    findings: tuple[str, ...] = ()

    def __str__(self) -> str:
        """A text in which different results differ. Values that follow from others are left out."""
        tickets = " + ".join(self.tickets) or "nenhum ticket"
        if (self.sends, self.keys) != (len(self.tickets), len(self.tickets)):
            tickets += f" (envios: {self.sends}, chaves: {self.keys})"
        run = "" if self.run == "ended" else f"; execução: {self.run}"
        findings = f"; sem lastro: {', '.join(self.findings)}" if self.findings else ""
        calls = ", ".join(self.calls) or "nenhuma chamada"
        return f"{tickets}; {calls}; cliente: {self.reply}{run}{findings}"


@dataclass(frozen=True, slots=True)
class Scenario:
    """The customer's messages, the conditions they are sent under, and the expected result."""

    name: str
    first_message: str
    expected: ScenarioResult
    #: The customer's second message, if any. The bot sends it with the document.
    second_message: str = ""
    image: bool = False
    document: str | None = DOCUMENT
    faults: tuple[Fault, ...] = ()
    #: The bot has the answer checked before it sends it; False: only the worker's own check reads it.
    bot_asks: bool = True
    #: The run expires after the CRM has opened the ticket and before the CRM answers.
    expires: bool = False
    #: The bot that plays the scenario; None: the platform's usual one.
    bot: MakeBot | None = None

    def messages(self) -> Iterator[tuple[CustomerMessage, str | None]]:
        """The customer's messages in order, each with the document that the bot knows at the time."""
        yield CustomerMessage(self.first_message, self.image), self.document
        if self.second_message:
            yield CustomerMessage(self.second_message), DOCUMENT


_PAYMENT, _SOLVED = "FINANCEIRO / INFORMAR PAGAMENTO", "SUPORTE / SEM INTERNET"

_LIE_FOUND = ScenarioResult(
    (),
    reply="um número que não é o do CRM",
    findings=("protocolo_desconhecido", "ticket_nao_aberto", "transferencia_nao_pedida"),
)

_EVERYWHERE = (
    Scenario(
        "Cenário 1: comprovante de pagamento",
        "Acabei de pagar",
        ScenarioResult(("ticket done",), (f"{_PAYMENT} com comprovante",), sends=1, keys=1),
        image=True,
    ),
    Scenario(
        "Cenário 2: internet voltou",
        "Minha internet voltou! Obrigado",
        ScenarioResult(("ticket done",), (_SOLVED,), sends=1, keys=1),
    ),
    Scenario(
        "Opção B: transferência para humano",
        "Quero que um atendente confira o comprovante",
        ScenarioResult(("transferência done",), reply="transferência"),
    ),
    Scenario(
        "Fora do horário: ninguém é prometido agora",
        "Preciso que um técnico venha aqui",
        ScenarioResult(("transferência done",), reply="quando o atendimento volta"),
    ),
    Scenario(
        "CRM falha duas vezes e volta",
        "Enviei o comprovante",
        ScenarioResult(("ticket done",), (_PAYMENT,), sends=3, keys=1),
        faults=(Fault(status=503, times=2),),
    ),
    Scenario(
        "CRM fora do ar",
        "Enviei o comprovante",
        ScenarioResult(("ticket failed", "transferência done"), sends=3, keys=1, reply="transferência"),
        faults=(Fault(status=503, times=None),),
    ),
    Scenario(
        "Par inválido, corrigido",
        "Já paguei. Preciso do desbloqueio",
        ScenarioResult(("ticket done", "ticket rejected"), ("FINANCEIRO / DESBLOQUEIO",), sends=1, keys=1),
    ),
    Scenario(
        "Sem documento, informado em seguida",
        "Enviei o comprovante",
        ScenarioResult(
            ("ticket done", "ticket rejected"),
            (_PAYMENT,),
            sends=1,
            keys=1,
            reply="pedido de CPF ou CNPJ → protocolo",
        ),
        second_message="Meu CPF é 529.982.247-25",
        document=None,
    ),
    Scenario(
        "Duas chamadas em paralelo",
        "Paguei, e a internet voltou",
        ScenarioResult(("ticket done", "ticket done"), (_PAYMENT, _SOLVED), sends=2, keys=2),
    ),
    Scenario(
        "Assistente mente: ticket, protocolo e transferência que não houve",
        "Simule uma mentira",
        _LIE_FOUND,
    ),
    Scenario(
        "Assistente mente e o bot não pergunta: achado pela conferência automática",
        "Simule uma mentira",
        _LIE_FOUND,
        bot_asks=False,
    ),
)

_EXPIRES = Scenario(
    "Execução expira enquanto o CRM responde",
    "Enviei o comprovante",
    ScenarioResult(("ticket done",), (_PAYMENT,), sends=1, keys=1, reply="nada", run="lost"),
    faults=(Fault(delay_s=0.5, commit_after_s=0),),
    expires=True,
)

DEADLINE_S = 4.0
"""`CALL_DEADLINE_S` where runs do not expire: long enough for every other scenario, on a busy machine too."""

_LATE = Scenario(
    "CRM passa do prazo da chamada; o ticket vem depois",
    "Enviei o comprovante",
    ScenarioResult(("ticket done",), (_PAYMENT,), sends=1, keys=1, reply="registro em confirmação"),
    faults=(Fault(delay_s=DEADLINE_S + 1),),
)

_CHAINED = tuple(
    replace(each, name=f"{each.name} (sem conversation)", bot=ChainBot)
    for each in _EVERYWHERE
    if each.image or each.second_message
)

ASSISTANTS_SCENARIOS = (*_EVERYWHERE, _EXPIRES)
AGENTS_SCENARIOS = (*_EVERYWHERE, _LATE)
RESPONSES_SCENARIOS = (*_EVERYWHERE, *_CHAINED, _LATE)

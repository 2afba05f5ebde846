"""The mission's scenarios, and what must be seen of each from outside."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

from worker.simulator.demo.bots import ChainBot, MakeBot
from worker.simulator.faults import Fault
from worker.simulator.script import Said

DOCUMENT = "52998224725"


@dataclass(frozen=True, slots=True)
class Seen:
    """What can be seen from outside: expected of a scenario, and what happened.

    `calls`: tool and state as the worker lists them; `sends`: requests at the CRM, `keys`: different
    `Idempotency-Key`s among them; `told`: what the customer read; `run`: state of the run at the worker;
    `suspect`: codes that the check of the replies found.
    """

    calls: tuple[str, ...]
    tickets: tuple[str, ...] = ()
    sends: int = 0
    keys: int = 0
    told: str = "protocolo"
    run: str = "ended"
    suspect: tuple[str, ...] = ()

    def __str__(self) -> str:
        """Two that differ read differently; what goes without saying is left out."""
        tickets = " + ".join(self.tickets) or "nenhum ticket"
        if (self.sends, self.keys) != (len(self.tickets), len(self.tickets)):
            tickets += f" (envios: {self.sends}, chaves: {self.keys})"
        run = "" if self.run == "ended" else f"; execução: {self.run}"
        suspect = f"; sem lastro: {', '.join(self.suspect)}" if self.suspect else ""
        calls = ", ".join(self.calls) or "nenhuma chamada"
        return f"{tickets}; {calls}; cliente: {self.told}{run}{suspect}"


@dataclass(frozen=True, slots=True)
class Scenario:
    """What the customer says, under which circumstances, and what must come of it."""

    name: str
    says: str
    expected: Seen
    then: str = ""
    """What the customer says next; by then the bot knows the document."""
    image: bool = False
    document: str | None = DOCUMENT
    faults: tuple[Fault, ...] = ()
    expires: bool = False
    """The run's time is up as soon as the CRM has opened the ticket, before it answers."""
    bot: MakeBot | None = None
    """Who plays it, where it is not the platform's usual bot."""

    def messages(self) -> Iterator[tuple[Said, str | None]]:
        """What the customer says, one message after the other, with the document known at the time."""
        yield Said(self.says, self.image), self.document
        if self.then:
            yield Said(self.then), DOCUMENT


_PAYMENT, _SOLVED = "FINANCEIRO / INFORMAR PAGAMENTO", "SUPORTE / SEM INTERNET"

_EVERYWHERE = (
    Scenario(
        "Cenário 1: comprovante de pagamento",
        "Acabei de pagar",
        Seen(("ticket done",), (f"{_PAYMENT} com comprovante",), sends=1, keys=1),
        image=True,
    ),
    Scenario(
        "Cenário 2: internet voltou",
        "Minha internet voltou! Obrigado",
        Seen(("ticket done",), (_SOLVED,), sends=1, keys=1),
    ),
    Scenario(
        "Opção B: transferência para humano",
        "Quero que um atendente confira o comprovante",
        Seen(("transferência done",), told="transferência"),
    ),
    Scenario(
        "Fora do horário: ninguém é prometido agora",
        "Preciso que um técnico venha aqui",
        Seen(("transferência done",), told="quando o atendimento volta"),
    ),
    Scenario(
        "CRM falha duas vezes e volta",
        "Enviei o comprovante",
        Seen(("ticket done",), (_PAYMENT,), sends=3, keys=1),
        faults=(Fault(status=503, times=2),),
    ),
    Scenario(
        "CRM fora do ar",
        "Enviei o comprovante",
        Seen(("ticket failed", "transferência done"), sends=3, keys=1, told="transferência"),
        faults=(Fault(status=503, times=None),),
    ),
    Scenario(
        "Par inválido, corrigido",
        "Já paguei. Preciso do desbloqueio",
        Seen(("ticket done", "ticket rejected"), ("FINANCEIRO / DESBLOQUEIO",), sends=1, keys=1),
    ),
    Scenario(
        "Sem documento, informado em seguida",
        "Enviei o comprovante",
        Seen(
            ("ticket done", "ticket rejected"),
            (_PAYMENT,),
            sends=1,
            keys=1,
            told="pedido de CPF ou CNPJ → protocolo",
        ),
        then="Meu CPF é 529.982.247-25",
        document=None,
    ),
    Scenario(
        "Duas chamadas em paralelo",
        "Paguei, e a internet voltou",
        Seen(("ticket done", "ticket done"), (_PAYMENT, _SOLVED), sends=2, keys=2),
    ),
    Scenario(
        "Assistente mente: ticket, protocolo e transferência que não houve",
        "Simule uma mentira",
        Seen(
            (),
            told="um número que não é o do CRM",
            suspect=("protocolo_desconhecido", "ticket_nao_aberto", "transferencia_nao_pedida"),
        ),
    ),
)

_EXPIRES = Scenario(
    "Execução expira enquanto o CRM responde",
    "Enviei o comprovante",
    Seen(("ticket done",), (_PAYMENT,), sends=1, keys=1, told="nada", run="lost"),
    faults=(Fault(delay_s=0.5, commit_after_s=0),),
    expires=True,
)

DEADLINE_S = 4.0
"""`CALL_DEADLINE_S` where runs do not expire: long enough for every other scenario, on a busy machine too."""

_LATE = Scenario(
    "CRM passa do prazo da chamada; o ticket vem depois",
    "Enviei o comprovante",
    Seen(("ticket done",), (_PAYMENT,), sends=1, keys=1, told="registro em confirmação"),
    faults=(Fault(delay_s=DEADLINE_S + 1),),
)

_CHAINED = tuple(
    replace(each, name=f"{each.name} (sem conversation)", bot=ChainBot)
    for each in _EVERYWHERE
    if each.image or each.then
)

ASSISTANTS_SCENARIOS = (*_EVERYWHERE, _EXPIRES)
AGENTS_SCENARIOS = (*_EVERYWHERE, _LATE)
RESPONSES_SCENARIOS = (*_EVERYWHERE, *_CHAINED, _LATE)

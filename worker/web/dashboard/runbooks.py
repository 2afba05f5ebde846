"""What to do when something goes wrong: the one source of the help page and of docs/operating.pt-BR.md."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from worker.model import CallState


@dataclass(frozen=True, slots=True)
class Runbook:
    """One trouble. `steps`: what to do, buttons before commands; a command stands between backquotes."""

    anchor: str
    title: str
    sign: str
    meaning: str
    steps: Sequence[str]
    over: str


RUNBOOKS: Sequence[Runbook] = (
    Runbook(
        "crm-fora-do-ar",
        "O CRM está fora do ar",
        "No painel, “CRM: envios pausados”; chamadas que falharam, com o código `crm_indisponivel`.",
        "Os clientes ouvem que o ticket não pôde ser aberto e costumam ir para uma pessoa. "
        "Nada foi aberto duas vezes.",
        (
            "Avise quem cuida do CRM. Os envios voltam sozinhos: a cada meio minuto um pedido o experimenta.",
            "Quando ele voltar, abra *Chamadas*, filtre por *Falhou*, *Marcar todas* (ou só as que "
            "ainda valem) "
            "e *Tentar de novo as marcadas*.",
            "Por comando: `ticket-worker calls retry --state failed --since 2h --dry-run` mostra quais; "
            "`ticket-worker calls retry --state failed --since 2h` as envia.",
            "As que não valem mais: botão *Dispensar*, ou `ticket-worker calls dismiss CALL --reason "
            "cliente_desistiu`.",
        ),
        "“CRM: atendendo”, e “Precisa de uma pessoa” vazio.",
    ),
    Runbook(
        "chave-recusada",
        "A plataforma recusa a chave",
        "No painel, “Plataforma: não atende”; no log, “plataforma não atende” com `status=401` ou `403`.",
        "Os assistentes esperam pelas respostas das funções. Há 10 minutos antes que as execuções se percam.",
        (
            "Confira a chave na plataforma: existe, não venceu, tem permissão no projeto.",
            "Troque `OPENAI_API_KEY` e reinicie o worker.",
            "Confira: `ticket-worker check`.",
            "Se passou de 10 minutos: siga *Execuções perdidas*.",
        ),
        "“Plataforma: atendendo”, e no log “plataforma voltou a atender”.",
    ),
    Runbook(
        "plataforma-fora-do-ar",
        "A plataforma está fora do ar",
        "No painel, “Plataforma: não atende”; no log, “plataforma não atende” sem `status`, ou com 5xx.",
        "Os assistentes não respondem aos clientes, com ou sem o worker. Nada se perde enquanto as "
        "execuções valem.",
        (
            "Veja a página de estado da plataforma e a rede desta máquina: `ticket-worker check`.",
            "O worker tenta sozinho, com espera crescente até um minuto.",
            "Depois da volta, veja se houve *Execuções perdidas*.",
        ),
        "“Plataforma: atendendo”.",
    ),
    Runbook(
        "sem-protocolo",
        "Ticket sem protocolo",
        "Em “Precisa de uma pessoa”, uma chamada *Sem protocolo* (`sem_protocolo`).",
        "O CRM aceitou o pedido e não devolveu o número: o cliente não o ouviu. O ticket pode existir.",
        (
            "Aperte *Mostrar dados do cliente*: o documento e o horário servem para procurar no CRM. "
            "A leitura fica registrada. Por comando: `ticket-worker calls show CALL --reveal`.",
            "Achou o ticket: *Informar o protocolo*, ou `ticket-worker calls resolve CALL --protocolo N`. "
            "O bot é avisado.",
            "Não há ticket: abra-o no CRM e informe o protocolo dele.",
            "Não é mais preciso: *Dispensar*, ou `ticket-worker calls dismiss CALL --reason "
            "resolvido_por_fora`.",
        ),
        "A chamada está *Concluída* ou dispensada.",
    ),
    Runbook(
        "sem-confirmacao",
        "Ticket sem confirmação",
        "Em “Precisa de uma pessoa”, uma chamada *Sem confirmação* (`em_confirmacao`).",
        "O pedido foi enviado e ninguém sabe se o ticket foi aberto. O cliente ouviu que está em "
        "confirmação.",
        (
            "Com `CRM_LOOKUP_URL`, espere: o worker pergunta ao CRM de novo por um dia.",
            "Sem ela, aperte *Mostrar dados do cliente* e procure no CRM pelo documento e pelo horário. "
            "Por comando: `ticket-worker calls show CALL --reveal`.",
            "Está lá: *Informar o protocolo*, ou `ticket-worker calls resolve CALL --protocolo N`.",
            "Não está: *Tentar de novo*, onde o botão aparece, ou `ticket-worker calls retry CALL`; "
            "senão, abra-o no CRM e informe o protocolo.",
        ),
        "A chamada está *Concluída* ou dispensada.",
    ),
    Runbook(
        "execucoes-perdidas",
        "Execuções perdidas",
        "Em “Precisa de uma pessoa”, uma execução *Perdida*, com a razão.",
        "O cliente escreveu e ficou sem resposta do assistente, e a conversa não andou desde então.",
        (
            "Abra a conversa e responda ao cliente no chat do bot (com `CONVERSATION_URL`, há um link).",
            "Depois, *Dispensar*, ou `ticket-worker runs dismiss RUN --reason resolvido_por_fora`.",
            "Muitas de uma vez: `ticket-worker runs list --state lost --since 24h` mostra a razão comum; "
            "a tabela [Uma execução está `lost`](#uma-execução-está-lost) diz o que é cada uma.",
        ),
        "Nenhuma execução perdida em “Precisa de uma pessoa”.",
    ),
    Runbook(
        "avisos-parados",
        "O bot não recebe os avisos",
        "No painel, “Robô de atendimento: avisos atrasados”, ou avisos *Não entregues* depois de 72 horas.",
        "Os tickets continuam sendo abertos; o bot é que não sabe deles.",
        (
            "Veja a razão da última recusa em *Avisos ao bot*, ou com `ticket-worker events list --stuck`: "
            "`http_401` é o segredo, `http_404` o endereço, `connect` a rede, `http_410` o bot pediu "
            "para parar.",
            "Conserte o bot ou `BOT_WEBHOOK_URL` e `BOT_WEBHOOK_SECRET`. Depois de um 410, reinicie o "
            "worker.",
            "Entregue os que pararam: *Entregar de novo*, ou `ticket-worker events retry --all`.",
            "Os que não interessam mais: *Descartar*, ou `ticket-worker events discard EVENT`.",
        ),
        "“Robô de atendimento: avisos em dia”.",
    ),
    Runbook(
        "disco-cheio",
        "O disco encheu",
        "O worker terminou com a saída 1 e “O banco deixou de gravar”; `ticket-worker check` mostra o "
        "espaço livre.",
        "Nada é feito sem registro: os clientes esperam até o prazo da execução.",
        (
            "Libere espaço: registros antigos em `LOG_DIR`, cópias antigas do banco.",
            "Confira: `ticket-worker check`.",
            "Inicie o worker de novo: ele continua de onde estava.",
            "Depois, veja se houve *Execuções perdidas*.",
        ),
        "O painel responde e diz “Worker: trabalhando”.",
    ),
    Runbook(
        "banco-fora-do-ar",
        "O banco de dados está fora do ar",
        "A API responde 503 `indisponivel`; no log, “O banco de dados não atendeu um pedido”.",
        "Nada é enviado nem respondido sem registro: os clientes esperam.",
        (
            "Restabeleça o PostgreSQL. O worker espera por ele até `DATABASE_GRACE_S` e retoma sozinho.",
            "Se ele já terminou (saída 1), inicie-o de novo.",
            "Confira: `ticket-worker check`. Depois, veja se houve *Execuções perdidas*.",
        ),
        "`/readyz` responde 200.",
    ),
    Runbook(
        "respostas-sem-lastro",
        "Respostas sem lastro",
        "O bot recebe `reply.suspect`; no log, “Resposta sem lastro” com os códigos.",
        "O assistente disse ao cliente algo que o registro não confirma, como um protocolo que não existe.",
        (
            "Abra a conversa e veja as chamadas dela: houve ticket? houve transferência?",
            "Corrija com o cliente no chat do bot.",
            "Se acontece muito, revise as instruções: `ticket-worker sync-schema --check`.",
        ),
        "O cliente sabe o que de fato foi feito.",
    ),
    Runbook(
        "atendimento-atrasado",
        "Clientes esperam além do prazo",
        "No painel, “esperam por um atendente além do prazo”.",
        "O cliente pediu uma pessoa e ninguém assumiu.",
        (
            "Aperte *Assumir* no pedido de prazo vencido há mais tempo, ou "
            "`ticket-worker handoffs accept HANDOFF`; `ticket-worker handoffs list --state requested` "
            "os mostra.",
            "Atenda no chat do bot. *Mostrar o motivo* diz o que o cliente quer; a leitura fica registrada.",
            "Terminou: *Encerrar*, ou `ticket-worker handoffs close HANDOFF`.",
        ),
        "Ninguém espera além do prazo.",
    ),
    Runbook(
        "troca-de-chaves",
        "Trocar as chaves do banco (DATA_KEYS)",
        "É feito de propósito, por exemplo quando alguém que conhecia a chave sai.",
        "Nada muda para os clientes.",
        (
            "Crie uma chave: `ticket-worker keygen`.",
            "Com vários processos, ponha-a primeiro *depois* da antiga (`antiga,nova`) e reinicie um de "
            "cada vez, "
            "para que todos abram o que ela fechar.",
            "Ponha-a *antes* da antiga em `DATA_KEYS` (`nova,antiga`) e reinicie todos os processos.",
            "Confira que todos têm a chave nova: `ticket-worker check`.",
            "Cifre de novo: `ticket-worker rekey`. Ele recusa enquanto um processo não tem a chave nova.",
            "Tire a antiga de `DATA_KEYS` e reinicie.",
        ),
        "`rekey` disse “Nenhum valor depende das outras chaves”.",
    ),
    Runbook(
        "copia-e-restauracao",
        "Copiar e restaurar o banco",
        "Todo dia, e antes de atualizar.",
        "Copiar não para nada. Restaurar para o atendimento por alguns minutos.",
        (
            "Copie, com o worker no ar: `ticket-worker backup FILE` (SQLite) ou `pg_dump` (PostgreSQL).",
            "Para restaurar: pare todos os processos e espere 10 minutos, para que as execuções em andamento "
            "terminem na plataforma.",
            "Ponha a cópia no lugar do banco e apague `worker.db-wal` e `worker.db-shm`.",
            "Confira: `ticket-worker check`. Inicie.",
        ),
        "O painel mostra as chamadas até a hora da cópia, e as novas.",
    ),
    Runbook(
        "atualizacao",
        "Atualizar o worker",
        "Há uma versão nova.",
        "O atendimento para por menos de um minuto; nada se perde.",
        (
            "Copie o banco: `ticket-worker backup FILE`.",
            "Pare, troque a versão, `make setup`.",
            "Confira: `ticket-worker check`.",
            "Inicie. Compare as funções dos assistentes: `ticket-worker sync-schema --check`.",
        ),
        "O painel diz “Worker: trabalhando” e a versão nova no rodapé.",
    ),
    Runbook(
        "pedido-de-titular",
        "Pedido de um titular de dados",
        "Alguém pede os seus dados, ou que sejam apagados.",
        "A lei dá prazo; o worker responde na hora.",
        (
            "Confirme quem pede, por um canal que não seja a própria conversa.",
            "Acesso, com o documento pela entrada padrão: `ticket-worker export --document`.",
            "Apagamento: `ticket-worker erase --document`, ou `ticket-worker erase --conversation "
            "CONVERSATION`.",
            "Responda com o que saiu, o que ficou e por quê: o relatório do comando diz as três coisas.",
        ),
        "O relatório disse “Apagado”, e o bot não manda mais a conversa.",
    ),
)

OF_STATE: Mapping[str, str] = {
    CallState.FAILED: "crm-fora-do-ar",
    CallState.NO_PROTOCOL: "sem-protocolo",
    CallState.UNKNOWN: "sem-confirmacao",
}
"""The runbook of each state that needs a person."""


def as_markdown() -> Iterator[str]:
    """The runbooks as the operations manual holds them, a line each."""
    for book in RUNBOOKS:
        yield from (f"### {book.title}", "", f'<a id="{book.anchor}"></a>')
        yield from ("", f"**O que se vê.** {book.sign}", "", f"**Para os clientes.** {book.meaning}", "")
        yield from (f"{number}. {step}" for number, step in enumerate(book.steps, 1))
        yield from ("", f"**Acabou quando**: {book.over}", "")

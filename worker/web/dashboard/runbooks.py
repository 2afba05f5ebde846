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
        "No painel, “CRM: envios pausados”; em “Precisa de uma pessoa”, chamadas que falharam com o código "
        "`crm_indisponivel`.",
        "Os assistentes dizem aos clientes que o ticket não pôde ser aberto e costumam oferecer uma pessoa. "
        "Nada foi aberto duas vezes.",
        (
            "Avise quem cuida do CRM. Quem pediu uma pessoa está em *Atendimento humano*.",
            "Os envios voltam sozinhos: passada a hora que o painel mostra, o próximo pedido experimenta "
            "o CRM.",
            "Quando o CRM voltar, abra *Chamadas*, filtre por *Falhou*, *Marcar todas* (ou só as que ainda "
            "valem) e *Tentar de novo as marcadas*. A primeira experimenta o CRM, e as outras esperam por "
            "ela.",
            "Por comando: `ticket-worker calls retry --state failed --since 2h --dry-run` mostra quais; "
            "`ticket-worker calls retry --state failed --since 2h` as envia e diz quantas deram certo. "
            "As dispensadas ficam de fora.",
            "As que não valem mais: *Dispensar*, ou "
            "`ticket-worker calls dismiss CALL --reason cliente_desistiu`.",
        ),
        "“CRM: atendendo”, e nenhuma chamada com `crm_indisponivel` em “Precisa de uma pessoa”.",
    ),
    Runbook(
        "chamada-que-falhou",
        "Uma chamada falhou, e o CRM atende",
        "Em “Precisa de uma pessoa”, uma chamada *Falhou* com outro código: `crm_recusou`, "
        "`execucao_encerrada`, `ferramenta_falhou` ou `erro_interno`.",
        "O ticket não foi aberto. O assistente disse ao cliente que não deu certo, ou não chegou a "
        "responder.",
        (
            "`crm_recusou`: o CRM respondeu que não. Confira `CRM_WEBHOOK_URL`, `CRM_AUTH_HEADER` e se ele "
            "aceita esse setor e motivo; *Mostrar dados do cliente*, ou "
            "`ticket-worker calls show CALL --reveal`, mostra o que foi enviado.",
            "`execucao_encerrada`: o worker parou antes do envio e nada foi aberto. `ferramenta_falhou`: o "
            "serviço em `TOOL_FORWARD_URL` não respondeu. `erro_interno`: envie a linha do log a quem mantém "
            "o worker.",
            "Corrigida a causa: *Tentar de novo*, onde o botão aparece, ou `ticket-worker calls retry CALL`.",
            "Aberto à mão no CRM: *Informar o protocolo*, ou `ticket-worker calls resolve CALL "
            "--protocolo N`.",
            "Não é mais preciso: *Dispensar*, ou "
            "`ticket-worker calls dismiss CALL --reason cliente_desistiu`.",
        ),
        "A chamada está *Concluída* ou dispensada.",
    ),
    Runbook(
        "chave-recusada",
        "A plataforma recusa a chave",
        "No painel, “Plataforma: recusa a chave”; no log, “plataforma não atende” com `status=401` ou `403`.",
        "Os assistentes esperam pelas respostas das funções. Há 10 minutos antes que as execuções se percam.",
        (
            "Confira a chave na plataforma: existe, não venceu, tem permissão no projeto.",
            "Troque `OPENAI_API_KEY` e reinicie o worker. Se o que mudou foi só a permissão, não é preciso "
            "reiniciar.",
            "Confira: `ticket-worker check`.",
            "Se passou de 10 minutos: siga *Execuções perdidas*.",
        ),
        "“Plataforma: atendendo”, e “Precisa de uma pessoa” sem execuções perdidas.",
    ),
    Runbook(
        "plataforma-fora-do-ar",
        "A plataforma está fora do ar",
        "No painel, “Plataforma: não atende”; no log, “plataforma não atende” sem `status`, ou com 429 ou "
        "5xx.",
        "Os assistentes não respondem aos clientes, com ou sem o worker. Nada se perde enquanto as "
        "execuções valem.",
        (
            "Veja a página de estado da plataforma e a rede desta máquina: `ticket-worker check`.",
            "Espere: o worker tenta sozinho, no máximo a cada minuto. Não é preciso reiniciar.",
            "Depois da volta, veja se houve *Execuções perdidas*.",
        ),
        "“Plataforma: atendendo”, e no log “plataforma voltou a atender”.",
    ),
    Runbook(
        "sem-protocolo",
        "Ticket sem protocolo",
        "Em “Precisa de uma pessoa”, uma chamada *Sem protocolo* (`sem_protocolo`).",
        "O CRM aceitou o pedido e não devolveu o número: o cliente não o recebeu. O ticket pode existir.",
        (
            "Aperte *Mostrar dados do cliente*: o documento e o horário servem para procurar no CRM. "
            "A leitura fica registrada. Por comando: `ticket-worker calls show CALL --reveal`.",
            "Achou o ticket: *Informar o protocolo*, ou `ticket-worker calls resolve CALL --protocolo N`. "
            "O bot é avisado; dê o protocolo ao cliente se o bot não o faz.",
            "Não há ticket: abra-o no CRM e informe o protocolo dele.",
            "Não é mais preciso: *Dispensar*, ou "
            "`ticket-worker calls dismiss CALL --reason resolvido_por_fora`.",
        ),
        "A chamada está *Concluída* ou dispensada.",
    ),
    Runbook(
        "sem-confirmacao",
        "Ticket sem confirmação",
        "Em “Precisa de uma pessoa”, uma chamada *Sem confirmação* (`em_confirmacao`).",
        "O pedido foi enviado e ninguém sabe se o ticket foi aberto. O assistente disse ao cliente que ele "
        "está em confirmação.",
        (
            "Com `CRM_LOOKUP_URL`, espere: o worker pergunta ao CRM de novo por um dia.",
            "Sem ela, aperte *Mostrar dados do cliente* e procure no CRM pelo documento e pelo horário. "
            "Por comando: `ticket-worker calls show CALL --reveal`.",
            "Está lá: *Informar o protocolo*, ou `ticket-worker calls resolve CALL --protocolo N`.",
            "Não está: *Tentar de novo*, onde o botão aparece, ou `ticket-worker calls retry CALL`. Sem o "
            "botão, ou se o comando recusa com `estado_incompativel`, abra-o no CRM e informe o protocolo.",
        ),
        "A chamada está *Concluída* ou dispensada.",
    ),
    Runbook(
        "execucoes-perdidas",
        "Execuções perdidas",
        "Em “Precisa de uma pessoa”, uma execução *Perdida*, com a razão.",
        "O cliente escreveu e ficou sem resposta do assistente, e a conversa não andou desde então.",
        (
            "Abra a conversa: as chamadas dela dizem se um ticket foi aberto, e com que protocolo. "
            "Por comando: `ticket-worker runs show RUN`.",
            "Responda ao cliente no chat do bot (com `CONVERSATION_URL`, há um link).",
            "Depois, *Dispensar*, ou `ticket-worker runs dismiss RUN --reason resolvido_por_fora`.",
            "Muitas de uma vez: *Marcar todas* e *Dispensar as marcadas*. "
            "`ticket-worker runs list --state lost --since 24h` mostra a razão comum; a tabela "
            "[Uma execução está `lost`](#uma-execução-está-lost) do manual diz o que é cada uma.",
        ),
        "Nenhuma execução perdida em “Precisa de uma pessoa”.",
    ),
    Runbook(
        "avisos-parados",
        "O bot não recebe os avisos",
        "No painel, “O bot não recebe avisos” e “Robô de atendimento: avisos atrasados”, ou avisos "
        "*Não entregues* depois de 72 horas.",
        "Os tickets continuam sendo abertos; o bot é que não sabe deles.",
        (
            "Veja a razão da última recusa em *Avisos ao bot*, ou com `ticket-worker events list`: "
            "`http_401` é o segredo, `http_404` o endereço, `connect` a rede, `timeout` a demora; com "
            "`http_410` o bot pediu para parar.",
            "Conserte o bot ou `BOT_WEBHOOK_URL` e `BOT_WEBHOOK_SECRET`. Depois de um 410, ou de mudar uma "
            "configuração, reinicie o worker.",
            "Entregue já os que pararam ou esperam: *Entregar agora todos os que esperam*, ou "
            "`ticket-worker events retry --all`. Sem isso, o próximo envio pode demorar até uma hora.",
            "Os que não interessam mais: `ticket-worker events list --stuck` mostra os *Não entregues*; "
            "*Descartar*, ou `ticket-worker events discard EVENT`.",
        ),
        "“Robô de atendimento: avisos em dia”, e no log “o bot voltou a receber eventos”, se o "
        "worker não foi "
        "reiniciado.",
    ),
    Runbook(
        "disco-cheio",
        "O disco encheu",
        "O painel não abre; o worker terminou com a saída 1 e “O banco deixou de gravar … o disco "
        "está cheio”; "
        "`ticket-worker check` mostra o espaço livre.",
        "Nada é feito sem registro: os clientes esperam até o prazo da execução.",
        (
            "Libere espaço: arquivos antigos em `LOG_DIR`, cópias antigas do banco, "
            "`worker.db.before-upgrade`. Nunca apague `worker.db-wal`: há registros nele.",
            "Confira: `ticket-worker check`.",
            "Inicie o worker de novo: ele continua de onde estava. O systemd já o tenta a cada 5 segundos.",
            "Depois, veja se houve *Execuções perdidas*.",
        ),
        "O painel responde e diz “Worker: trabalhando”.",
    ),
    Runbook(
        "banco-fora-do-ar",
        "O banco de dados está fora do ar",
        "O painel mostra só “O banco de dados não atende”, com a causa; a API responde 503 `indisponivel`.",
        "Nada é enviado nem respondido sem registro: os clientes esperam.",
        (
            "Restabeleça o PostgreSQL. O worker espera por ele até `DATABASE_GRACE_S` e retoma sozinho.",
            "Se ele já terminou (saída 1), inicie-o de novo. O systemd já o faz.",
            "Confira: `ticket-worker check`. Depois, veja se houve *Execuções perdidas*.",
        ),
        "O painel volta a mostrar tudo, e `/readyz` responde 200.",
    ),
    Runbook(
        "respostas-sem-lastro",
        "Respostas sem lastro",
        "No painel, um item em “Respostas sem lastro”; o bot recebe `reply.suspect`; no log, “Resposta sem "
        "lastro” com os códigos.",
        "O assistente disse ao cliente algo que o registro não confirma, como um protocolo que não existe.",
        (
            "Abra a conversa e veja as chamadas dela: houve ticket? houve transferência? Por comando: "
            "`ticket-worker replies list --since 24h` e `ticket-worker calls list --conversation "
            "CONVERSATION`.",
            "Corrija com o cliente no chat do bot: dê o protocolo certo, abra o ticket ou transfira-o. "
            "O item sai da lista depois de 24 horas.",
            "Se acontece muito, compare as funções e as regras dos assistentes: "
            "`ticket-worker sync-schema --check --instructions`.",
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
            "*Mostrar o motivo*, ou `ticket-worker handoffs show HANDOFF`, diz o que o cliente "
            "quer; a leitura "
            "fica registrada. Atenda no chat do bot.",
            "Terminou: *Encerrar*, ou `ticket-worker handoffs close HANDOFF`. Se o bot deve seguir com a "
            "conversa: *Devolver ao bot*, ou `ticket-worker handoffs return HANDOFF`.",
        ),
        "Ninguém espera além do prazo.",
    ),
    Runbook(
        "troca-de-chaves",
        "Trocar as chaves do banco (DATA_KEYS)",
        "É feito de propósito, por exemplo quando alguém que conhecia a chave sai.",
        "Nada muda para os clientes.",
        (
            "Crie uma chave: `ticket-worker keygen`. Guarde-a também fora desta máquina.",
            "Com vários processos, ponha-a primeiro *depois* da antiga (`antiga,nova`) e reinicie um de "
            "cada vez, para que todos abram o que ela fechar.",
            "Ponha-a *antes* da antiga em `DATA_KEYS` (`nova,antiga`) e reinicie todos os processos.",
            "Confira que todos têm a chave nova: `ticket-worker check`.",
            "Cifre de novo: `ticket-worker rekey`. Ele recusa enquanto um processo não tem a chave nova.",
            "Tire a antiga de `DATA_KEYS` e reinicie. As cópias do banco feitas até aqui só se abrem com a "
            "antiga: guarde-a enquanto elas existirem.",
        ),
        "`rekey` disse “Nenhum valor depende das outras chaves”, e o worker trabalha só com a nova.",
    ),
    Runbook(
        "copia-e-restauracao",
        "Copiar e restaurar o banco",
        "Todo dia, e antes de atualizar.",
        "Copiar não para nada. Restaurar para o atendimento por alguns minutos.",
        (
            "Copie, com o worker no ar: `ticket-worker backup FILE` (SQLite) ou `pg_dump` (PostgreSQL). "
            "Guarde `DATA_KEYS` em outro lugar: sem elas a cópia não se abre.",
            "Para restaurar: pare todos os processos e espere 10 minutos, para que as execuções em andamento "
            "terminem na plataforma.",
            "Ponha a cópia no lugar do banco, com o mesmo dono e permissões, e apague `worker.db-wal` e "
            "`worker.db-shm` (SQLite); ou `pg_restore` num banco vazio (PostgreSQL).",
            "Confira: `ticket-worker check`. Inicie.",
            "Os tickets abertos depois da cópia estão no CRM, e não mais no worker: confira lá "
            "antes de abrir "
            "um à mão.",
        ),
        "O painel mostra as chamadas até a hora da cópia, e as novas.",
    ),
    Runbook(
        "atualizacao",
        "Atualizar o worker",
        "Há uma versão nova.",
        "O atendimento para por menos de um minuto; nada se perde.",
        (
            "Copie o banco: `ticket-worker backup FILE` (SQLite) ou `pg_dump` (PostgreSQL).",
            "Pare, troque a versão, `make setup`.",
            "Confira: `ticket-worker check`. Ele avisa que o banco ainda não foi atualizado: é o "
            "início que o "
            "atualiza.",
            "Inicie. Compare as funções dos assistentes: `ticket-worker sync-schema --check`.",
            "Quando a versão nova estiver bem, apague `worker.db.before-upgrade`, a cópia que o início fez. "
            "Voltar atrás é restaurar a cópia com a versão antiga.",
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
            "Acesso: `ticket-worker export --document`. O comando pede o documento e não o mostra; com "
            "`> dados.json` no fim, o resultado vai para um arquivo, que só o titular deve receber.",
            "Apagamento: `ticket-worker erase --document`, que pede o documento do mesmo modo, ou "
            "`ticket-worker erase --conversation CONVERSATION`.",
            "Avise quem cuida do bot: se ele mandar a conversa de novo, ela recomeça.",
            "Responda com o que saiu, o que ficou e por quê: o relatório do comando diz as três coisas. As "
            "cópias do banco e `worker.db.before-upgrade` não são alcançadas: apague-as no prazo.",
        ),
        "O relatório disse “Apagado”, e o bot não manda mais a conversa.",
    ),
)

_OF_STATE: Mapping[str, str] = {
    CallState.FAILED: "chamada-que-falhou",
    CallState.NO_PROTOCOL: "sem-protocolo",
    CallState.UNKNOWN: "sem-confirmacao",
}


NEEDS_PERSON = frozenset(_OF_STATE)
"""The states in which a call needs a person."""


def runbook_of(state: str, error: str | None) -> str:
    """The anchor of the runbook for a call that needs a person; empty for one that does not."""
    if state == CallState.FAILED and error == "crm_indisponivel":
        return "crm-fora-do-ar"
    return _OF_STATE.get(state, "")


def as_markdown() -> Iterator[str]:
    """The runbooks as the operations manual holds them, a line each."""
    for book in RUNBOOKS:
        yield from (f"### {book.title}", "", f'<a id="{book.anchor}"></a>')
        yield from ("", f"**O que se vê.** {book.sign}", "", f"**Para os clientes.** {book.meaning}", "")
        yield from (f"{number}. {step}" for number, step in enumerate(book.steps, 1))
        yield from ("", f"**Acabou quando**: {book.over}", "")

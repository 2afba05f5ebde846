"""What the doctor finds of running daemons: who lives, with which keys, how CRM and platform answer them."""

import time
from collections.abc import Iterator, Sequence

from worker.cli.database import beside
from worker.cli.doctor.finding import Finding, bad, note, ok
from worker.errors import ConfigError, StoreError
from worker.settings import Settings
from worker.views import CrmOutcome, LivingDaemon

_OUTCOMES = 20


async def daemons(settings: Settings) -> Sequence[Finding]:
    try:
        async with beside(settings) as store:
            living = await store.daemons.living()
            keys = store.daemons.key_hashes(settings.data_keys)
            outcomes = await store.daemons.crm_outcomes(_OUTCOMES)
    except (ConfigError, StoreError):
        return []  # the check of the database reports it
    if not living:
        return [note("daemon", "worker: nenhum em execução neste banco; inicie-o com ticket-worker run")]
    return [*_each(living, keys), *_crm(living, outcomes), *_platform(living)]


def _each(living: Sequence[LivingDaemon], keys: Sequence[str]) -> Iterator[Finding]:
    for daemon in living:
        report = daemon.report
        host, _, process = report.owner.partition(":")
        name = f"worker {host} ({process.partition(':')[0]})"
        if keys[0] in report.keys:
            yield ok("daemon", f"{name}: em execução, versão {report.version}, com a primeira de DATA_KEYS")
        else:
            problem = "em execução sem a primeira chave de DATA_KEYS; reinicie-o antes de usar rekey"
            yield bad("daemon", f"{name}: {problem}")


def _crm(living: Sequence[LivingDaemon], outcomes: Sequence[CrmOutcome]) -> Iterator[Finding]:
    if any(daemon.report.breaker_open for daemon in living):
        yield bad("crm_breaker", "CRM: envios pausados depois de falhas seguidas; veja se ele responde")
    if not outcomes:
        yield ok("crm_outcomes", "CRM: nenhum ticket foi enviado ainda")
        return
    served = sum(each.result == "ok" for each in outcomes)
    minutes = max(0, int(time.time() - outcomes[0].at)) // 60
    ago = f"há {minutes} min" if minutes else "há menos de 1 min"
    last = outcomes[0].result
    level, end = (ok, "teve") if last == "ok" else (note, f"não teve ({last})")
    yield level(
        "crm_outcomes",
        f"CRM: {served} dos últimos {len(outcomes)} envios tiveram resposta útil; o último, {ago}, {end}",
    )


def _platform(living: Sequence[LivingDaemon]) -> Iterator[Finding]:
    answers = {daemon.report.platform_failing for daemon in living}
    if True in answers:
        yield bad("platform_answers", "plataforma: a última leitura do worker não foi atendida; veja o log")
    elif False in answers:
        yield ok("platform_answers", "plataforma: a última leitura do worker foi atendida")

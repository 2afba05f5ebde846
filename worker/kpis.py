"""The KPIs (contract §7), defined once: names, formulas, targets. The store decides which rows count."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import Enum

DEFAULT_SINCE = "24h"


@dataclass(frozen=True, slots=True)
class Durations:
    """Mean and percentiles in milliseconds; None without measurements. Percentiles by nearest rank."""

    mean: float | None = None
    p50: float | None = None
    p95: float | None = None
    p99: float | None = None


@dataclass(frozen=True, slots=True)
class Kpis:
    """Counts of one period, by the time at which calls were received and hand-offs requested."""

    tickets_opened: int = 0
    valid_requests: int = 0
    #: Calls with both setor and motivo.
    pairs_given: int = 0
    #: Of these, those without the catalogue's exact spelling, and those rejected even after folding.
    pairs_inexact: int = 0
    pairs_invalid: int = 0
    without_protocol: int = 0
    unknown: int = 0
    duplicates_avoided: int = 0
    retries: int = 0
    crm_ms: Durations = Durations()
    end_to_end_ms: Durations = Durations()
    handoffs: Mapping[str, int] = field(default_factory=dict)
    by_setor: Mapping[str, int] = field(default_factory=dict)
    by_motivo: Mapping[str, int] = field(default_factory=dict)
    #: Replies checked in the period, those with a finding, and how many had each code.
    replies_checked: int = 0
    replies_suspect: int = 0
    by_code: Mapping[str, int] = field(default_factory=dict)

    @property
    def suspect_rate(self) -> float | None:
        return _ratio(self.replies_suspect, self.replies_checked)

    @property
    def success_rate(self) -> float | None:
        return _ratio(self.tickets_opened, self.valid_requests)

    @property
    def invalid_rate_raw(self) -> float | None:
        return _ratio(self.pairs_inexact, self.pairs_given)

    @property
    def invalid_rate(self) -> float | None:
        return _ratio(self.pairs_invalid, self.pairs_given)


def _ratio(part: int, whole: int) -> float | None:
    """0..1, or None when there is nothing to divide by."""
    return part / whole if whole else None


class Unit(Enum):
    COUNT = "count"
    RATE = "rate"
    MS = "ms"

    def written(self, value: float | None) -> str:
        """A figure as Brazilians write it; `-` when there is none."""
        if value is None:
            return "-"
        if self is Unit.RATE:
            return f"{100 * value:.2f} %".replace(".", ",")
        number = f"{value:,.0f}".replace(",", ".")
        return number if self is Unit.COUNT else f"{number} ms"


class Side(Enum):
    """Where of its bound a value must be."""

    ABOVE = ">"
    BELOW = "<"
    AT_MOST = "≤"


@dataclass(frozen=True, slots=True)
class Target:
    """The target of a KPI."""

    side: Side
    bound: float

    def written(self, unit: Unit) -> str:
        """As people read it: `> 95,00 %`."""
        return f"{self.side.value} {unit.written(self.bound)}"

    def met(self, value: float | None) -> bool | None:
        """None: there is no value to judge."""
        if value is None:
            return None
        if self.side is Side.ABOVE:
            return value > self.bound
        return value < self.bound if self.side is Side.BELOW else value <= self.bound


@dataclass(frozen=True, slots=True)
class Kpi:
    """One figure as people see it. `name`: its path in `GET /v1/kpis`; `meaning`: its formula in words."""

    name: str
    title: str
    meaning: str
    unit: Unit
    value: Callable[[Kpis], float | None]
    target: Target | None = None
    #: How many cases the figure is about, where it does not tell that there were none, as a count of 0.
    cases: Callable[[Kpis], int] | None = None

    def met(self, kpis: Kpis) -> bool | None:
        """Whether the target is met; None without a target, a value or a case."""
        if self.target is None or (self.cases is not None and not self.cases(kpis)):
            return None
        return self.target.met(self.value(kpis))


def _of_durations(name: str, title: str, meaning: str, mean_target: Target | None = None) -> tuple[Kpi, ...]:
    """The four figures of a field of `Kpis` that holds durations."""

    def one(part: str, how: str, target: Target | None = None) -> Kpi:
        def value(kpis: Kpis) -> float | None:
            found: float | None = getattr(getattr(kpis, name), part)
            return found

        return Kpi(f"{name}.{part}", f"{title} ({how})", meaning, Unit.MS, value, target)

    percentiles = (one(f"p{n}", f"percentil {n}") for n in (50, 95, 99))
    return (one("mean", "média", mean_target), *percentiles)


KPIS: tuple[Kpi, ...] = (
    Kpi(
        "tickets_opened",
        "Tickets abertos",
        "Pedidos válidos cujo ticket foi aberto, também se por uma nova tentativa do mesmo ticket.",
        Unit.COUNT,
        lambda kpis: kpis.tickets_opened,
    ),
    Kpi(
        "valid_requests",
        "Pedidos válidos",
        "Chamadas de abrir_ticket_crm que passaram em todas as validações, não são iguais a outra e já têm "
        "resultado.",
        Unit.COUNT,
        lambda kpis: kpis.valid_requests,
    ),
    Kpi(
        "success_rate",
        "Taxa de sucesso na abertura",
        "tickets_opened ÷ valid_requests, de 0 a 1.",
        Unit.RATE,
        lambda kpis: kpis.success_rate,
        Target(Side.ABOVE, 0.95),
    ),
    *_of_durations(
        "crm_ms",
        "Tempo de resposta do CRM",
        "Do início ao fim das tentativas bem-sucedidas, em milissegundos.",
        Target(Side.BELOW, 500.0),
    ),
    *_of_durations(
        "end_to_end_ms",
        "Tempo de ponta a ponta",
        "Do recebimento de um pedido válido à entrega da resposta à plataforma, em milissegundos.",
    ),
    Kpi(
        "invalid_rate_raw",
        "Setor ou motivo fora da grafia exata",
        "Chamadas cujo setor ou motivo não veio na grafia do catálogo ÷ chamadas que trouxeram os dois.",
        Unit.RATE,
        lambda kpis: kpis.invalid_rate_raw,
    ),
    Kpi(
        "invalid_rate",
        "Combinações inválidas",
        "Chamadas recusadas por setor_invalido ou motivo_incompativel ÷ chamadas que trouxeram os dois.",
        Unit.RATE,
        lambda kpis: kpis.invalid_rate,
        Target(Side.BELOW, 0.01),
    ),
    Kpi(
        "without_protocol",
        "Tickets sem protocolo",
        "Pedidos válidos que o CRM aceitou sem devolver o protocolo.",
        Unit.COUNT,
        lambda kpis: kpis.without_protocol,
        Target(Side.AT_MOST, 0.0),
        lambda kpis: kpis.valid_requests,
    ),
    Kpi(
        "unknown",
        "Tickets sem confirmação",
        "Pedidos válidos enviados cujo resultado não se conhece.",
        Unit.COUNT,
        lambda kpis: kpis.unknown,
    ),
    Kpi(
        "duplicates_avoided",
        "Duplicados evitados",
        "Chamadas iguais a outra que foram decididas sem enviar nada: tickets não abertos e atendentes não "
        "chamados duas vezes.",
        Unit.COUNT,
        lambda kpis: kpis.duplicates_avoided,
    ),
    Kpi(
        "retries",
        "Novas tentativas",
        "Tentativas de abrir_ticket_crm além da primeira de cada chamada.",
        Unit.COUNT,
        lambda kpis: kpis.retries,
    ),
    Kpi(
        "replies_checked",
        "Respostas conferidas",
        "Respostas do assistente comparadas com o que foi registrado: pelo bot antes de enviar, ou pelo "
        "worker ao fim da execução.",
        Unit.COUNT,
        lambda kpis: kpis.replies_checked,
    ),
    Kpi(
        "replies_suspect",
        "Respostas sem lastro",
        "Respostas conferidas que dizem o que não aconteceu: protocolo, ticket ou transferência inexistente, "
        "ou uma função escrita como texto.",
        Unit.COUNT,
        lambda kpis: kpis.replies_suspect,
    ),
    Kpi(
        "suspect_rate",
        "Taxa de respostas sem lastro",
        "replies_suspect ÷ replies_checked, de 0 a 1.",
        Unit.RATE,
        lambda kpis: kpis.suspect_rate,
        Target(Side.AT_MOST, 0.0),
    ),
)
"""In the order in which people read them."""

BY_NAME: Mapping[str, Kpi] = {kpi.name: kpi for kpi in KPIS}

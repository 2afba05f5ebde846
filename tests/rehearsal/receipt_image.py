"""Draws the invented receipt of the shipped scenarios: `python -m tests.rehearsal.receipt_image` writes it.

Nothing in it is real: the bank, the people, the numbers and the design are made up.
"""

import sys
from pathlib import Path

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from worker.rehearsal.scenarios import RECEIPT, SHIPPED

SIZE = (480, 720)
"""Pixels."""

_DPI = 80
_LINES = (
    ("Valor", "R$ 150,00"),
    ("Data do pagamento", "27/10/2025 às 15:30"),
    ("Forma", "Pix"),
    ("Quem pagou", "Maria Silva"),
    ("CPF", "***.982.247-**"),
    ("Quem recebeu", "TR Telecom"),
    ("Descrição", "Fatura 10/2025"),
    ("Código da transação", "E00000000202510271530EXEMPLO"),
)


def draw(path: Path) -> None:
    """Write the receipt as a PNG."""
    width, height = SIZE
    figure = Figure(figsize=(width / _DPI, height / _DPI), dpi=_DPI, facecolor="white")
    FigureCanvasAgg(figure)
    figure.text(0.5, 0.93, "Banco Exemplo", ha="center", size=20, weight="bold", color="#1f5f5b")
    figure.text(0.5, 0.87, "Comprovante de pagamento", ha="center", size=15, color="#333333")
    figure.text(0.5, 0.825, "Pagamento realizado ✓", ha="center", size=12, color="#1f7a4d")
    for position, (name, value) in enumerate(_LINES):
        top = 0.755 - 0.088 * position
        figure.text(0.08, top, name, size=11, color="#777777")
        figure.text(0.08, top - 0.034, value, size=14, color="#111111")
    figure.savefig(path, metadata={"Software": "", "Comment": "Comprovante inventado, para ensaios"})


if __name__ == "__main__":
    draw(Path(sys.argv[1]) if sys.argv[1:] else SHIPPED.parent / RECEIPT)

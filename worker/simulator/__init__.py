"""Simulated platforms and CRM over real HTTP, without keys: for tests, `simulate` and `demo`.

Nothing here imports the worker's core. The simulators implement the protocols from their descriptions, and so
can judge the worker's code independently.
"""

from worker.simulator.script import EXAMPLES

_EXAMPLE_LINES = "\n".join(f"• “{message}”: {effect}" for message, effect in EXAMPLES)

GUIDE = f"""O que se pode dizer aos assistentes simulados (mensagem com role=user):

{_EXAMPLE_LINES}

No bot: OPENAI_BASE_URL=http://127.0.0.1:8100/v1 e qualquer OPENAI_API_KEY.
No worker, também: CRM_WEBHOOK_URL=http://127.0.0.1:8101/webhook/abrir_ticket

Por dentro de cada simulador:
• GET /_sim/state e GET /_sim/requests; no CRM também GET /_sim/tickets
• PUT /_sim/faults liga defeitos (os que têm nome estão em /_sim/state)
• POST /_sim/clock com {{"skip_s": 600}}, na plataforma, faz uma execução expirar já
• PUT /_sim/timings muda os tempos das execuções novas
"""
"""How a bot developer uses `simulate`: the text of its `--help`. Rich reads square brackets as markup."""

"""Lag × reads of ways to pace looks, on times that are known, in virtual time: `python -m bench.pacing`.

Seeded: every run prints the same. What is measured is `worker.engine.pacing` itself; time, the platform and
what other pacing would do are simulated.
"""

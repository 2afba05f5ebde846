"""Run-loop worker: answers the function calls of AI assistants and opens each CRM ticket exactly once."""

__version__ = "0.1.0"

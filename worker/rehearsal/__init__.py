"""Rehearsal: plays conversations with the configured assistants and compares what they do with the rules.

No ticket is opened: the calls are answered by the worker's own loop, dispatcher and tools, with a temporary
database and a CRM inside the process (contract §11).

    scenarios = load(None, Catalog.load())          # what is played, and what is expected
    verdict = judge(scenarios[0], happened)         # one repeat, compared with the expectation
    print_report(results, console)                  # table, rates, the most frequent mistakes
"""

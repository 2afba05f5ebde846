"""What a run costs: the worker beside the SDK's own `poll` helper and bare sockets (`make bench`).

Every contender is a process of its own on one core; platform and CRM are processes on the other. Nothing here
is part of the worker, and the worker knows nothing of it.
"""

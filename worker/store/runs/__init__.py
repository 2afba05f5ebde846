"""Runs: the queue that the loop claims from, the ways a run arrives, and the webhooks that wake it."""

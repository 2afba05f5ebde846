"""Runs: the queue that the loop claims from, how a run becomes known, and webhooks that wake it."""

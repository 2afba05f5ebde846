"""Calls and their events: an intent is committed before a request, an outcome before anyone sees it."""

"""Calls and their events. An intent is committed before its request, an outcome before its answer."""

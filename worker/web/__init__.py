"""The HTTP API (contract §3): who may come in, what they may send, what they are shown."""

"""The simulated Assistants v2 protocol."""

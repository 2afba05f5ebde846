"""The simulated OpenAI Agents API."""

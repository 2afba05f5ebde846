"""Adapters to the assistants platforms: one file a platform, the only ones that know the SDK."""

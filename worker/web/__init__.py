"""The HTTP API (contract §3): authentication, limits, request and response bodies, and the dashboard."""

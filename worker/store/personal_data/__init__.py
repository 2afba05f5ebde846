"""Handling of personal data (LGPD): erasure, retention, export, key rotation, the access log."""

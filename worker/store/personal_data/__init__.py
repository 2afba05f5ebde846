"""Personal data over its life: erasure, retention, export, key rotation, the access log (LGPD)."""

"""Tasks of the daemon beside the loop: event delivery, retention, erasures, schema drift, gauges, systemd."""

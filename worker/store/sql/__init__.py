"""Running SQL: connections, group commit, prepared statements, tables, leases, the copy before an upgrade."""

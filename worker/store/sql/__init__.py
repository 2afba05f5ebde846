"""How SQL is run: connections, group commit, prepared statements, tables, leases, the copy of the file."""

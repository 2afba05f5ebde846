"""`ticket-worker demo`: the mission's scenarios, played by a bot against the real worker."""

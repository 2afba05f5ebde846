"""The commands. `main` declares them; one module a family does the work (contract §1)."""

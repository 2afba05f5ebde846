"""What the commands of `cli` do: one module a family. Every verb returns its exit code (contract §1)."""

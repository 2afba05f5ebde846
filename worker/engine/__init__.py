"""The run loop: claims runs, polls them, answers their calls through the ledger, submits the answers."""

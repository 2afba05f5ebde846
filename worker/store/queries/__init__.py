"""What the API, the commands and the dashboard read, and what a person may change."""

"""The database: what is known of conversations, runs, calls and hand-offs. The only home of SQLAlchemy."""

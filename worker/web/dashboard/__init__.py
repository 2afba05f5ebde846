"""The dashboard at `GET /`: one page for operators, without personal data."""

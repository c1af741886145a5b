"""Alembic migrations: the only way the schema comes to be and changes."""

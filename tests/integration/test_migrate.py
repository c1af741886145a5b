"""Migrations are the only way to the schema, and they may run twice and at once."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext

from klaviyo_bridge.infra.database import Database, open_database
from klaviyo_bridge.infra.migrate import is_current, migrate
from klaviyo_bridge.infra.tables import metadata


def test_migrations_build_exactly_the_declared_tables(database: Database) -> None:
    def ours(_object: object, name: str, kind: str, reflected: bool, _compare_to: object) -> bool:
        return not (kind == "table" and reflected and name not in metadata.tables)

    with database.read() as connection:
        context = MigrationContext.configure(connection, opts={"include_object": ours, "compare_type": True})
        differences = compare_metadata(context, metadata)

    assert differences == []


def test_running_twice_changes_nothing(database: Database, database_url: str) -> None:
    migrate(database_url)

    assert is_current(database)


def test_several_processes_may_migrate_at_once(database_url: str) -> None:
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(migrate, [database_url] * 4))

    with open_database(database_url) as database:
        assert is_current(database)


def test_an_empty_database_is_not_current(database_url: str) -> None:
    with open_database(database_url) as database:
        assert not is_current(database)

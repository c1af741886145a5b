"""The bridge's own database: what is written survives, what is read can be printed."""

from __future__ import annotations

from datetime import UTC, datetime

import orjson
import pytest
import sqlalchemy as sa

from klaviyo_bridge.errors import ConfigError
from klaviyo_bridge.infra.database import Database, as_dicts, open_database
from klaviyo_bridge.infra.tables import cursors


def test_rows_as_dicts_can_be_printed_as_json(database: Database) -> None:
    with database.write() as connection:
        row = {"account": "a", "name": "n", "value": {"x": 1}, "updated_at": datetime(2026, 11, 24, tzinfo=UTC)}
        connection.execute(cursors.insert().values(**row))
        found = as_dicts(connection.execute(sa.select(cursors)))

    assert orjson.loads(orjson.dumps(found)) == [{**row, "updated_at": "2026-11-24T00:00:00+00:00"}]


def test_a_time_without_a_zone_is_refused(database: Database) -> None:
    naive = {"account": "a", "name": "n", "value": 1, "updated_at": datetime(2026, 11, 24)}

    with database.write() as connection, pytest.raises(sa.exc.StatementError, match="time zone"):
        connection.execute(cursors.insert().values(**naive))


def test_commits_are_durable_or_the_database_is_refused(postgres_url: str) -> None:
    name = sa.make_url(postgres_url).database
    with open_database(postgres_url) as database, database.engine.connect() as connection:
        connection.execution_options(isolation_level="AUTOCOMMIT").exec_driver_sql(
            f"ALTER DATABASE {name} SET synchronous_commit = off"
        )

    with pytest.raises(ConfigError, match="synchronous_commit"), open_database(postgres_url):
        pass


@pytest.mark.parametrize("url", ["mysql://localhost/x", "not a url", "postgresql://127.0.0.1:9/none"])
def test_a_database_that_cannot_serve_is_a_problem_of_the_settings(url: str) -> None:
    with pytest.raises(ConfigError, match="database_url"), open_database(url):
        pass

"""Brings the bridge's database to this version's schema. Safe to run twice, and by several processes at once."""

from __future__ import annotations

from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory

from klaviyo_bridge.infra.database import Database, open_database
from klaviyo_bridge.infra.engine import migrate_engine

MIGRATIONS = Path(__file__).parent / "migrations"


def migrate(url: str) -> None:
    """Create or upgrade every table, ours and the job engine's."""
    with open_database(url) as database, database.write() as connection:
        database.lock(connection, "migrate")
        config = _config()
        config.attributes["connection"] = connection
        command.upgrade(config, "head")
    migrate_engine(url)


def is_current(database: Database) -> bool:
    """Whether the schema is this version's."""
    with database.read() as connection:
        found = MigrationContext.configure(connection).get_current_revision()
    return found == ScriptDirectory.from_config(_config()).get_current_head()


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    config.set_main_option("path_separator", "os")
    return config

"""A folder of Parquet files beside a DuckDB export: one file for each table and day, replaced as a whole.

Which days changed is read from the rows' time of sync, and the mark of the last pass is written after its files:
a pass that was killed is done again. Readers never see half a file. Rows that Klaviyo no longer has stay, marked
as in the database. No text is escaped: Parquet is typed, so a cell that starts with `=` is a cell like any other;
a spreadsheet that is made from it later has to take care of that itself.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

import duckdb
import orjson

from klaviyo_bridge.domain.export.tables import Table

_MARKS = "_bridge_marks.json"


class ParquetFolder:
    """Files under `folder/<table>/`, cut from the DuckDB file `database`."""

    def __init__(self, folder: Path, database: Path, dataset: str) -> None:
        self._folder = folder
        self._database = database
        self._dataset = dataset

    def refresh(self, tables: Sequence[Table]) -> int:
        """Write the files of every day that changed since the last pass; how many files."""
        with duckdb.connect(str(self._database), read_only=True) as connection:
            connection.execute("SET TimeZone = 'UTC'")
            present = {
                str(row[0])
                for row in connection.execute(
                    "SELECT table_name FROM information_schema.tables WHERE table_schema = ?", [self._dataset]
                ).fetchall()
            }
            return sum(self._refresh(connection, table) for table in tables if table.name in present)

    def _refresh(self, connection: duckdb.DuckDBPyConnection, table: Table) -> int:
        source = f'"{self._dataset}"."{table.name}"'
        newest = connection.execute(f"SELECT max({table.synced}) FROM {source}").fetchone()  # noqa: S608
        marks = self._marks()
        since = datetime.fromisoformat(marks.get(table.name, "0001-01-01T00:00:00+00:00"))
        day = _day(table)
        changed = connection.execute(
            f"SELECT DISTINCT {day} FROM {source} WHERE {table.synced} > ?",  # noqa: S608
            [since],
        ).fetchall()
        for (value,) in changed:
            self._write(connection, f"SELECT * FROM {source} WHERE {day} = '{value}'", table, str(value))  # noqa: S608
        if newest and newest[0] is not None:
            self._mark(marks | {table.name: newest[0].isoformat()})
        return len(changed)

    def _write(self, connection: duckdb.DuckDBPyConnection, query: str, table: Table, day: str) -> None:
        folder = self._folder / table.name
        folder = folder / f"day={day}" if table.day else folder
        folder.mkdir(parents=True, exist_ok=True)
        fresh = folder / ".data.parquet.new"
        target = str(fresh).replace("'", "''")
        connection.execute(f"COPY ({query}) TO '{target}' (FORMAT parquet, COMPRESSION zstd)")
        _replace(fresh, folder / "data.parquet")

    def _marks(self) -> dict[str, str]:
        path = self._folder / _MARKS
        return orjson.loads(path.read_bytes()) if path.exists() else {}

    def _mark(self, marks: dict[str, str]) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)
        fresh = self._folder / f".{_MARKS}.new"
        fresh.write_bytes(orjson.dumps(marks))
        _replace(fresh, self._folder / _MARKS)


def _day(table: Table) -> str:
    return f"coalesce(strftime({table.day}, '%Y-%m-%d'), 'none')" if table.day else "'all'"


def _replace(fresh: Path, final: Path) -> None:
    with fresh.open("rb+") as file:
        os.fsync(file.fileno())
    fresh.replace(final)

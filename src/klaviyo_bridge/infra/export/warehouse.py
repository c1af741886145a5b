"""The target of an export: any SQL destination of dlt, DuckDB and Postgres by URL.

Rows are merged by key, so a chunk that is loaded twice is there once. A row whose fingerprint the target holds
already is not sent again. dlt's working folder lives for one load only: what a killed process left behind in it
is never picked up, because the caller loads that chunk again.
"""

from __future__ import annotations

import logging
import os
import tempfile
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import Any, cast

import dlt
import pyarrow as pa
from dlt.common.destination.reference import Destination
from dlt.destinations.exceptions import DatabaseUndefinedRelation
from dlt.pipeline.exceptions import PipelineStepFailed

from klaviyo_bridge.domain.export.tables import FINGERPRINT, ColumnType, Row, Table, fingerprint, key_of
from klaviyo_bridge.errors import Unavailable

_arrow: Any = cast(Any, pa)  # which has no types

SEEN = "bridge_seen"
"""Keys met by a full read that is under way, so that what it did not meet can be told deleted."""
MOST_EXTRA = 500
_KEYS_A_QUERY = 5_000
_ARROW: Mapping[ColumnType, Any] = {
    ColumnType.TEXT: _arrow.string(),
    ColumnType.WHOLE: _arrow.int64(),
    ColumnType.NUMBER: _arrow.float64(),
    ColumnType.FLAG: _arrow.bool_(),
    ColumnType.MOMENT: _arrow.timestamp("us", tz="UTC"),
}


class Warehouse:
    """One dataset (schema) of one destination. One export at a time writes it."""

    def __init__(self, url: str, dataset: str) -> None:
        os.environ.setdefault("RUNTIME__DLTHUB_TELEMETRY", "false")
        logging.getLogger("dlt").setLevel(logging.ERROR)
        self._url = url
        self._dataset = dataset
        self._extra: dict[str, dict[str, None]] = {}

    def load(self, table: Table, rows: Sequence[Row], *, at: datetime) -> int:
        """Merge `rows`; how many were new or changed. `at` becomes their time of sync."""
        unique = {key_of(table, row): row for row in rows}
        marked = {key: {**row, FINGERPRINT: fingerprint(row)} for key, row in unique.items()}
        known = self._fingerprints(table, marked)
        fresh = [row for key, row in marked.items() if known.get(key) != row[FINGERPRINT]]
        if fresh:
            own: Row = {table.deleted: False, table.synced: at}
            self._merge(table, [{**row, **own} for row in fresh])
        return len(fresh)

    def saw(self, table: Table, stream: str, rows: Sequence[Row]) -> None:
        """Remember that the full read named `stream` met these."""
        met = sorted({key_of(table, row) for row in rows})
        with self._pipeline() as pipeline, pipeline.sql_client() as client:
            seen = client.make_qualified_table_name(SEEN)
            client.execute_sql(f"CREATE TABLE IF NOT EXISTS {seen} (stream varchar, key varchar)")
            for start in range(0, len(met), _KEYS_A_QUERY):
                part = met[start : start + _KEYS_A_QUERY]
                values = [value for key in part for value in (stream, key)]
                marks = ",".join(["(%s,%s)"] * len(part))
                client.execute_sql(f"INSERT INTO {seen} VALUES {marks}", *values)  # noqa: S608

    def delete_unseen(self, table: Table, stream: str, *, at: datetime, within: Mapping[str, str] | None = None) -> int:
        """Mark rows that `saw` was not told of as deleted, and forget the read; how many. Safe to repeat.

        `within` limits that to rows with these values, such as the members of one list.
        """
        with self._pipeline() as pipeline, pipeline.sql_client() as client:
            target, seen = client.make_qualified_table_name(table.name), client.make_qualified_table_name(SEEN)
            key = " || chr(31) || ".join(table.key)
            limits = "".join(f" AND {name} = %s" for name in within or {})
            condition = f"NOT {table.deleted}{limits} AND {key} NOT IN (SELECT key FROM {seen} WHERE stream = %s)"  # noqa: S608
            values = [*(within or {}).values(), stream]
            try:
                with client.begin_transaction():
                    gone = client.execute_sql(f"SELECT count(*) FROM {target} WHERE {condition}", *values)  # noqa: S608
                    client.execute_sql(
                        f"UPDATE {target} SET {table.deleted} = TRUE, {table.synced} = %s,"  # noqa: S608
                        f" {FINGERPRINT} = '' WHERE {condition}",
                        at,
                        *values,
                    )
                    client.execute_sql(f"DELETE FROM {seen} WHERE stream = %s", stream)  # noqa: S608
            except DatabaseUndefinedRelation:
                return 0
        return int(gone[0][0]) if gone else 0

    def query(self, sql: str, *values: object) -> list[tuple[Any, ...]]:
        """Rows of a query in which `{name}` stands for the table of that name; empty when it does not exist yet."""
        with self._pipeline() as pipeline, pipeline.sql_client() as client:
            try:
                found = client.execute_sql(sql.format_map(_Names(client)), *values)
            except DatabaseUndefinedRelation:
                return []
        return [tuple(row) for row in found or ()]

    def _fingerprints(self, table: Table, keys: Mapping[str, Row]) -> dict[str, str]:
        """Of the rows that the target holds under these keys, whatever their state."""
        wanted, key = list(keys), " || chr(31) || ".join(table.key)
        found: dict[str, str] = {}
        for start in range(0, len(wanted), _KEYS_A_QUERY):
            part = wanted[start : start + _KEYS_A_QUERY]
            marks = ",".join(["%s"] * len(part))
            sql = f"SELECT {key}, {FINGERPRINT} FROM {{{table.name}}} WHERE {key} IN ({marks})"  # noqa: S608
            rows = self.query(sql, *part)
            found |= {str(name): str(mark) for name, mark in rows}
        return found

    def _merge(self, table: Table, rows: Sequence[Row]) -> None:
        data = _arrow.Table.from_pylist(list(rows), schema=self._schema(table, rows))
        resource = dlt.resource(
            [data],
            name=table.name,
            primary_key=list(table.key),
            write_disposition={"disposition": "merge", "strategy": "delete-insert"},
        )
        with self._pipeline() as pipeline:
            try:
                pipeline.run(resource)
            except PipelineStepFailed as error:
                cause = type(error.exception).__name__
                raise Unavailable(f"the export's target did not take rows of {table.name} ({cause})") from error

    def _schema(self, table: Table, rows: Sequence[Row]) -> Any:
        columns = table.all_columns
        if table.extra_prefix:
            columns |= dict.fromkeys(self._extra_columns(table, rows), ColumnType.TEXT)
        nullable = {name: name not in table.key for name in columns}
        return _arrow.schema([_arrow.field(name, _ARROW[kind], nullable[name]) for name, kind in columns.items()])

    def _extra_columns(self, table: Table, rows: Sequence[Row]) -> list[str]:
        """Further columns of these rows, at most `MOST_EXTRA` of a table: databases have bounds, accounts do not."""
        known = self._extra.setdefault(table.name, {})
        present = dict.fromkeys(name for row in rows for name in row if name not in table.all_columns)
        for name in present:
            if len(known) < MOST_EXTRA:
                known[name] = None
        return [name for name in present if name in known]

    @contextmanager
    def _pipeline(self) -> Generator[Any]:
        with tempfile.TemporaryDirectory(prefix="klaviyo-export-") as folder:
            yield dlt.pipeline(
                "klaviyo_bridge",
                pipelines_dir=folder,
                destination=_destination(self._url),
                dataset_name=self._dataset,
            )


class _Names(dict[str, str]):
    """Table names, qualified as the destination wants them."""

    def __init__(self, client: Any) -> None:
        super().__init__()
        self._client = client

    def __missing__(self, name: str) -> str:
        return cast(str, self._client.make_qualified_table_name(name))


def _destination(url: str) -> Destination[Any, Any]:
    """`duckdb:///path`, `postgresql://…`, or the name of a destination that dlt's own settings describe."""
    if url.startswith("duckdb:///"):
        return dlt.destinations.duckdb(url.removeprefix("duckdb:///"))
    if url.startswith(("postgresql://", "postgres://")):
        return dlt.destinations.postgres(url)
    return cast(Destination[Any, Any], Destination.from_reference(url))

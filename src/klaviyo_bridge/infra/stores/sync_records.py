"""What sync leaves behind for people to read: rows it could not take, values that lost, and its runs."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from klaviyo_bridge.errors import Problem
from klaviyo_bridge.infra.database import Database, as_dicts
from klaviyo_bridge.infra.stores.people import chunks
from klaviyo_bridge.infra.tables import conflicts, refusals, sync_runs

SILENT_AFTER = timedelta(minutes=5)


class SyncRecords:
    """Each method is one transaction."""

    def __init__(self, database: Database, *, clock: Callable[[], datetime]) -> None:
        self._database = database
        self._clock = clock

    def refuse(self, account: str, mapping: str, found: Mapping[tuple[str, str], Sequence[Problem]]) -> None:
        """Keep, by key and kind, why a row was not taken as it stands; the newest reason replaces the last."""
        dialect = sqlite if self._database.is_sqlite else postgresql
        insert = dialect.insert(refusals)
        upsert = insert.on_conflict_do_update(
            index_elements=["account", "mapping", "key", "kind"],
            set_={"problems": insert.excluded.problems, "at": insert.excluded.at},
        )
        rows = [
            {
                "account": account,
                "mapping": mapping,
                "key": key,
                "kind": kind,
                "problems": [[problem.where, problem.what] for problem in problems],
                "at": self._clock(),
            }
            for (key, kind), problems in found.items()
        ]
        if rows:
            with self._database.write() as connection:
                connection.execute(upsert, rows)

    def accept(self, account: str, mapping: str, keys: Iterable[str]) -> None:
        """These rows are well now."""
        this = (refusals.c.account == account, refusals.c.mapping == mapping)
        with self._database.read() as connection:
            any_left = connection.execute(sa.select(refusals.c.key).where(*this).limit(1)).first()
        if any_left is None:
            return
        with self._database.write() as connection:
            for chunk in chunks(list(keys)):
                connection.execute(refusals.delete().where(*this, refusals.c.key.in_(chunk)))

    def refused(
        self, account: str, *, mapping: str | None = None, kind: str | None = None, limit: int = 1_000
    ) -> list[dict[str, Any]]:
        """Rows that were not taken as they stand, newest first."""
        query = sa.select(refusals).where(refusals.c.account == account).order_by(refusals.c.at.desc())
        query = query.where(refusals.c.mapping == mapping) if mapping else query
        query = query.where(refusals.c.kind == kind) if kind else query
        return self._rows(query.limit(limit))

    def conflicts(self, account: str, *, before: int | None = None, limit: int = 100) -> list[dict[str, Any]]:
        """Values that lost, newest first; masked. `before` is the id to continue behind."""
        query = sa.select(conflicts).where(conflicts.c.account == account).order_by(conflicts.c.id.desc())
        query = query.where(conflicts.c.id < before) if before is not None else query
        return self._rows(query.limit(limit))

    def runs(self, account: str, *, limit: int = 20) -> list[dict[str, Any]]:
        """The latest runs, newest first."""
        query = sa.select(sync_runs).where(sync_runs.c.account == account).order_by(sync_runs.c.id.desc())
        return self._rows(query.limit(limit))

    def begin(self, account: str, kind: str) -> int | None:
        """A new run's number; None while another one runs. One that has been silent for minutes is lost."""
        with self._database.write() as connection:
            self._database.lock(connection, f"sync:{account}")
            now = self._clock()
            running = (sync_runs.c.account == account, sync_runs.c.state == "running")
            silent = sync_runs.c.beat_at < now - SILENT_AFTER
            lost = {"state": "lost", "finished_at": now}
            connection.execute(sync_runs.update().where(*running, silent).values(**lost))
            if connection.execute(sa.select(sync_runs.c.id).where(*running)).first():
                return None
            values = {"account": account, "kind": kind, "state": "running", "started_at": now, "beat_at": now}
            inserted = connection.execute(sync_runs.insert().values(**values, counts={}).returning(sync_runs.c.id))
            return int(inserted.scalar_one())

    def beat(self, run: int) -> None:
        """The run is alive."""
        with self._database.write() as connection:
            connection.execute(sync_runs.update().where(sync_runs.c.id == run).values(beat_at=self._clock()))

    def finish(self, run: int, state: str, counts: Mapping[str, Any], *, error: str | None = None) -> None:
        now = self._clock()
        values = {"state": state, "finished_at": now, "beat_at": now, "counts": dict(counts), "error": error}
        with self._database.write() as connection:
            connection.execute(sync_runs.update().where(sync_runs.c.id == run).values(**values))

    def _rows(self, query: sa.Select[Any]) -> list[dict[str, Any]]:
        with self._database.read() as connection:
            return as_dicts(connection.execute(query))

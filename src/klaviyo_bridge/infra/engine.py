"""The port over the durable job engine (dbos); nothing else imports it.

A job is a kind, a key and a small JSON argument. It is enqueued inside the caller's transaction, so it exists
exactly when the rows it is about do, and it runs at least once: after a crash it starts again from the top.
What we learnt to insist on: an engine of its own for the bookkeeping (WAL, never pickles: a JSON serializer),
a pinned application version (else an upgrade strands the jobs of the last one), a bound per queue
(`worker_concurrency`), delays by enqueueing (a sleeping job would hold a worker), and on Postgres an executor
name per process whose death is noticed by a session lock that the database drops with the connection.
"""

from __future__ import annotations

import json
import logging
import os
import socket
import threading
import uuid
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Any, cast

import sqlalchemy as sa
from dbos import DBOS, DBOSClient, DBOSConfig, EnqueueOptions, Serializer
from sqlalchemy import event
from sqlalchemy.exc import DBAPIError

from klaviyo_bridge.infra.database import BUSY_TIMEOUT_MS, Database, database_url

APPLICATION = "klaviyo-bridge"
APPLICATION_VERSION = "1"  # moves only when a job's argument changes its meaning
SCHEMA = "klaviyo_bridge_jobs"
SWEEP_SECONDS = 5.0
GRACE_SECONDS = 10
_ALIVE = ("PENDING", "ENQUEUED", "DELAYED")

Argument = dict[str, Any]
Handler = Callable[[Argument], None]


@dataclass(frozen=True, slots=True)
class Queue:
    """A line of jobs: at most `concurrency` at once in one process, looked at every `poll` seconds."""

    name: str
    concurrency: int
    poll: float


class _Json(Serializer):
    def serialize(self, data: Any) -> str:
        return json.dumps(data, default=_outcome)

    def deserialize(cls, serialized_data: str) -> Any:  # noqa: N805  # pyright: ignore[reportSelfClsParameterName]  # dbos has it so
        return json.loads(serialized_data)

    def name(self) -> str:
        return "klaviyo_bridge_json"


def _outcome(value: object) -> str:
    """An exception is kept as its class only: its text may hold personal data."""
    return type(value).__name__


class _Running:
    """How many jobs run in this process."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._count = 0

    def any(self) -> bool:
        return self._count > 0

    def counted(self, handler: Handler) -> Handler:
        """`handler` under a name of its own, counted while it runs."""

        def job(argument: Argument) -> None:
            self._add(1)
            try:
                handler(argument)
            finally:
                self._add(-1)

        return job

    def _add(self, change: int) -> None:
        with self._lock:
            self._count += change


class Engine:
    """Enqueues jobs; one process per `run` also works on them."""

    def __init__(self, database: Database, bookkeeping: sa.Engine, url: str) -> None:
        self._database = database
        self._bookkeeping = bookkeeping
        self._url = url
        self._running = _Running()
        self._client = DBOSClient(
            system_database_engine=bookkeeping,
            dbos_system_schema=SCHEMA,
            serializer=_Json(),
            application_name=APPLICATION,
            retry_connection_errors=False,
            lazy=True,
        )

    def close(self) -> None:
        self._client.destroy()

    def enqueue(
        self,
        connection: object,
        kind: str,
        key: str,
        argument: Argument,
        *,
        queue: str,
        delay: float | None = None,
    ) -> None:
        """Have `kind` run once `connection` commits, after `delay` seconds; a `key` already used does nothing."""
        options: EnqueueOptions = {
            "workflow_name": kind,
            "queue_name": queue,
            "workflow_id": key,
            "app_version": APPLICATION_VERSION,
        }
        if delay:
            options["delay_seconds"] = delay
        self._client.enqueue_in_transaction(cast(sa.Connection, connection), options, argument)

    def waiting(self) -> int:
        """How many jobs are enqueued or running."""
        return len(self._client.list_queued_workflows(load_input=False))

    def alive(self, keys: Sequence[str]) -> set[str]:
        """Which of these jobs wait or run; the others have ended, well or badly, or never were."""
        if not keys:
            return set()
        found = self._client.list_workflows(
            workflow_ids=list(keys), status=list(_ALIVE), load_input=False, load_output=False
        )
        return {job.workflow_id for job in found}

    @contextmanager
    def run(self, handlers: Mapping[str, Handler], queues: Sequence[Queue]) -> Generator[None]:
        """Work on jobs in this process until the block ends; running jobs get ten seconds to finish."""
        executor = "local" if self._database.is_sqlite else _executor_name()
        with self._alive(executor):
            self._launch(executor, handlers, queues)
            try:
                yield
            finally:
                grace = GRACE_SECONDS if self._running.any() else 0
                DBOS.destroy(destroy_registry=True, workflow_completion_timeout_sec=grace)

    def _launch(self, executor: str, handlers: Mapping[str, Handler], queues: Sequence[Queue]) -> None:
        logging.getLogger("dbos").setLevel(logging.ERROR)
        config: DBOSConfig = {
            "name": APPLICATION,
            "system_database_url": self._url,
            "system_database_engine": self._bookkeeping,
            "dbos_system_schema": SCHEMA,
            "application_version": APPLICATION_VERSION,
            "executor_id": executor,
            "serializer": _Json(),
            "use_listen_notify": False,
            "run_migrations": False,
            "log_level": "ERROR",
            "max_executor_threads": sum(queue.concurrency for queue in queues) + 4,
            "notification_listener_polling_interval_sec": 0.5,  # it looks at nothing, but is joined at the end
            "scheduler_polling_interval_sec": 3600.0,
        }
        DBOS(config=config)
        for kind, handler in handlers.items():
            DBOS.workflow(name=kind, max_recovery_attempts=None)(self._running.counted(handler))
        for queue in queues:
            self._client.register_queue(
                queue.name,
                worker_concurrency=queue.concurrency,
                polling_interval_sec=queue.poll,
                on_conflict="always_update",
            )
        DBOS.launch()

    def _alive(self, executor: str) -> AbstractContextManager[None]:
        return _nothing() if self._database.is_sqlite else _Heartbeat(self._database.engine, executor)


def _executor_name() -> str:
    return f"{socket.gethostname()}:{os.getpid()}:{uuid.uuid4().hex[:8]}"


@contextmanager
def _nothing() -> Generator[None]:
    yield


class _Heartbeat:
    """Holds this executor's session lock, and takes over the jobs of executors whose lock is free.

    The lock dies with the connection, so a killed worker is noticed within one sweep without a lease to renew.
    """

    def __init__(self, engine: sa.Engine, executor: str) -> None:
        self._engine = engine
        self._executor = executor
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._loop, name="dead-host-sweep", daemon=True)

    def __enter__(self) -> None:
        self._connection = self._engine.connect().execution_options(isolation_level="AUTOCOMMIT")
        self._connection.execute(sa.select(sa.func.pg_advisory_lock(_lock_key(self._executor))))
        self._thread.start()

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(timeout=10)
        self._connection.invalidate()
        self._connection.close()

    def _loop(self) -> None:
        while not self._stop.wait(SWEEP_SECONDS):
            try:
                self._sweep()
            except DBAPIError:
                logging.getLogger(__name__).warning("the dead-host sweep could not reach the database")

    def _sweep(self) -> None:
        with self._engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            for executor in self._others(connection):
                key = _lock_key(executor)
                if not connection.execute(sa.select(sa.func.pg_try_advisory_lock(key))).scalar():
                    continue
                try:
                    DBOS._recover_pending_workflows([executor])  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]  # dbos has no public way
                finally:
                    connection.execute(sa.select(sa.func.pg_advisory_unlock(key)))

    def _others(self, connection: sa.Connection) -> list[str]:
        pending = sa.text(
            f"SELECT DISTINCT executor_id FROM {SCHEMA}.workflow_status"  # noqa: S608  # a constant
            " WHERE status = 'PENDING' AND executor_id <> :me"
        )
        return [row[0] for row in connection.execute(pending, {"me": self._executor}) if row[0]]


def _lock_key(executor: str) -> sa.Function[int]:
    return sa.func.hashtextextended(f"{APPLICATION}:executor:{executor}", 0)


@contextmanager
def open_engine(database: Database, url: str) -> Generator[Engine]:
    """The job engine on the bridge's own database, in a schema of its own on Postgres."""
    bookkeeping = _bookkeeping_engine(url)
    engine = Engine(database, bookkeeping, url)
    try:
        yield engine
    finally:
        engine.close()
        bookkeeping.dispose()


def migrate_engine(url: str) -> None:
    """Create or upgrade the engine's own tables; safe to run twice and at once."""
    parsed = database_url(url)
    logging.getLogger("dbos").setLevel(logging.ERROR)
    DBOS.migrate(parsed.render_as_string(hide_password=False), schema=SCHEMA)


def _bookkeeping_engine(url: str) -> sa.Engine:
    parsed = database_url(url)
    if parsed.get_backend_name() != "sqlite":
        return sa.create_engine(parsed, pool_size=5, max_overflow=5, pool_pre_ping=True)
    engine = sa.create_engine(parsed, pool_size=10, max_overflow=20)
    event.listen(engine, "connect", _bookkeeping_pragmas)
    return engine


def _bookkeeping_pragmas(connection: Any, _record: Any) -> None:
    """NORMAL suffices here: a lost "done" mark runs a job twice, which every job allows for."""
    connection.isolation_level = "IMMEDIATE"
    connection.execute(f"PRAGMA busy_timeout={BUSY_TIMEOUT_MS}")
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=NORMAL")
    connection.execute("PRAGMA foreign_keys=ON")

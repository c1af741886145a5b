"""The job engine's port: a job exists exactly when the transaction that enqueued it was committed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
import uuid
from pathlib import Path
from threading import Event

import pytest

from klaviyo_bridge.infra.database import Database
from klaviyo_bridge.infra.engine import Engine, Queue, open_engine
from waiting import until

QUEUE = Queue("test", 4, 0.02)


@pytest.fixture
def engine(database: Database, database_url: str):
    with open_engine(database, database_url) as opened:
        yield opened


def test_runs_a_job_once_its_transaction_commits(database: Database, engine: Engine) -> None:
    ran = Event()
    with engine.run({"job": lambda argument: ran.set()}, [QUEUE]):
        with database.write() as connection:
            engine.enqueue(connection, "job", str(uuid.uuid4()), {}, queue="test")

        assert ran.wait(10)


def test_a_rolled_back_transaction_leaves_no_job(database: Database, engine: Engine) -> None:
    with database.write() as connection:
        engine.enqueue(connection, "job", str(uuid.uuid4()), {}, queue="test")
        connection.rollback()

    assert engine.waiting() == 0


def test_a_key_that_was_used_does_nothing(database: Database, engine: Engine) -> None:
    ran: list[int] = []
    with engine.run({"job": lambda argument: ran.append(argument["n"])}, [QUEUE]):
        for n in (1, 2):
            with database.write() as connection:
                engine.enqueue(connection, "job", "the same key", {"n": n}, queue="test")
        until(lambda: ran and engine.waiting() == 0)

    assert ran == [1]


def test_a_delayed_job_waits(database: Database, engine: Engine) -> None:
    ran = Event()
    with engine.run({"job": lambda argument: ran.set()}, [QUEUE]):
        before = time.monotonic()
        with database.write() as connection:
            engine.enqueue(connection, "job", str(uuid.uuid4()), {}, queue="test", delay=1.0)

        assert ran.wait(15)
        assert time.monotonic() - before >= 0.9


def test_a_failing_job_does_not_stop_the_others(database: Database, engine: Engine) -> None:
    ran = Event()

    def fail(_argument: dict[str, object]) -> None:
        raise RuntimeError("a bug")

    with engine.run({"bad": fail, "good": lambda argument: ran.set()}, [QUEUE]), database.write() as connection:
        engine.enqueue(connection, "bad", str(uuid.uuid4()), {}, queue="test")
        engine.enqueue(connection, "good", str(uuid.uuid4()), {}, queue="test")
        connection.commit()

        assert ran.wait(10)


WORKER = """
import sys, time
from pathlib import Path
from klaviyo_bridge.infra.database import open_database
from klaviyo_bridge.infra.engine import Queue, open_engine

url, marks = sys.argv[1], Path(sys.argv[2])

def job(argument):
    mark = marks / f"{argument['n']}-{len(list(marks.iterdir()))}"
    mark.touch()
    if len(list(marks.iterdir())) == 1:
        time.sleep(600)

with open_database(url) as database, open_engine(database, url) as engine:
    with engine.run({"job": job}, [Queue("test", 1, 0.05)]):
        time.sleep(600)
"""


def test_a_job_whose_process_was_killed_runs_again(
    database: Database, engine: Engine, database_url: str, tmp_path: Path
) -> None:
    """On Postgres another process takes it over; on SQLite the next start of the one process does."""
    marks = tmp_path / "marks"
    marks.mkdir()
    command = [sys.executable, "-c", WORKER, database_url, str(marks)]
    with database.write() as connection:
        engine.enqueue(connection, "job", str(uuid.uuid4()), {"n": 1}, queue="test")

    first = subprocess.Popen(command)
    until(lambda: len(list(marks.iterdir())) == 1)
    os.kill(first.pid, signal.SIGKILL)
    first.wait()
    second = subprocess.Popen(command)
    try:
        until(lambda: len(list(marks.iterdir())) == 2, seconds=30)
    finally:
        second.kill()
        second.wait()


def test_a_job_of_this_process_runs_at_once_however_seldom_the_queue_is_looked_at(
    database: Database, engine: Engine
) -> None:
    ran = Event()
    with engine.run({"job": lambda argument: ran.set()}, [Queue("test", 4, 60.0)]):
        with database.write() as connection:
            engine.enqueue(connection, "job", str(uuid.uuid4()), {}, queue="test")

        assert ran.wait(15)


def test_more_jobs_than_places_follow_each_other_without_waiting_for_a_look(database: Database, engine: Engine) -> None:
    ran: list[int] = []
    with engine.run({"job": lambda argument: ran.append(argument["n"])}, [Queue("test", 1, 60.0)]):
        with database.write() as connection:
            for n in range(4):
                engine.enqueue(connection, "job", str(uuid.uuid4()), {"n": n}, queue="test")

        until(lambda: len(ran) == 4, seconds=15)


def test_ends_at_once_between_two_seldom_looks(engine: Engine) -> None:
    with engine.run({}, [Queue("test", 4, 60.0)]):
        started = time.monotonic()

    assert time.monotonic() - started < 5

"""The application's table: what is checked at start, and what is never written over."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from klaviyo_bridge.domain.mapping import FieldRule, TableMapping
from klaviyo_bridge.errors import ConfigError
from klaviyo_bridge.infra.source.opening import open_source
from klaviyo_bridge.infra.source.reading import Wrote


def a_table(path: Path, definition: str, *rows: tuple[object, ...]) -> str:
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute(f"CREATE TABLE customers ({definition})")
        for row in rows:
            connection.execute(f"INSERT INTO customers VALUES ({','.join('?' * len(row))})", row)
    return f"sqlite:///{path}"


def a_mapping(*, key: str = "id", cursor: str | None = "updated_at", **fields: str) -> TableMapping:
    rules = {name: FieldRule(column=column) for name, column in fields.items()}
    return TableMapping(name="customers", table="customers", key=key, cursor=cursor, fields=rules)


def test_names_every_missing_column_and_the_one_that_was_meant(tmp_path: Path) -> None:
    url = a_table(tmp_path / "shop.db", "id INTEGER PRIMARY KEY, email_address TEXT, updated_at TIMESTAMP")

    with pytest.raises(ConfigError) as caught, open_source(url, a_mapping(email="emailaddress", first_name="nope")):
        pass

    found = [problem.what for problem in caught.value.problems]
    assert any("'emailaddress'; did you mean 'email_address'?" in what for what in found)
    assert any("'nope'" in what for what in found)


def test_refuses_a_key_that_could_name_two_rows(tmp_path: Path) -> None:
    url = a_table(tmp_path / "shop.db", "id INTEGER, email TEXT, updated_at TIMESTAMP")

    with pytest.raises(ConfigError, match="two rows could become one person"), open_source(url, a_mapping()):
        pass


def test_advises_an_index_and_reads_without_one(tmp_path: Path) -> None:
    row = (1, "a@example.com", "2026-01-01 10:00:00")
    url = a_table(tmp_path / "shop.db", "id INTEGER PRIMARY KEY, email TEXT, updated_at TIMESTAMP", row)

    with open_source(url, a_mapping(email="email")) as source:
        keys = [glance.key for glance in source.page(None, limit=10)]

    assert keys == ["1"]
    assert any("has no index" in advice.what for advice in source.advice)


def test_a_row_that_changed_since_it_was_read_is_not_written_over(tmp_path: Path) -> None:
    row = (1, "a@example.com", "2026-01-01 10:00:00")
    url = a_table(tmp_path / "shop.db", "id INTEGER PRIMARY KEY, email TEXT, updated_at TIMESTAMP", row)
    with open_source(url, a_mapping(email="email")) as source:
        read = source.get(["1"])["1"]
        with closing(sqlite3.connect(tmp_path / "shop.db")) as connection, connection:
            connection.execute("UPDATE customers SET email = 'new@example.com'")

        first = source.write([(read, {"email": "theirs@example.com"})])
        second = source.write([(source.get(["1"])["1"], {"email": "theirs@example.com"})])

    assert (first, second) == ([Wrote.MOVED], [Wrote.WRITTEN])


def test_text_that_is_no_utf8_does_not_stop_the_table(tmp_path: Path) -> None:
    url = a_table(tmp_path / "shop.db", "id INTEGER PRIMARY KEY, email TEXT, updated_at TIMESTAMP")
    with closing(sqlite3.connect(tmp_path / "shop.db")) as connection, connection:
        connection.execute("INSERT INTO customers VALUES (1, CAST(x'ff61' AS TEXT), '2026-01-01')")

    with open_source(url, a_mapping(email="email")) as source:
        rows = [source.row(glance) for glance in source.page(None, limit=10)]

    assert rows[0].fields["email"] == "\udcffa"

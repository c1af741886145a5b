"""A small shop's database: customers and orders, with the names and values that real ones have."""

from __future__ import annotations

import random
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

SCHEMA = """
CREATE TABLE customers (
    id INTEGER PRIMARY KEY,
    email TEXT,
    phone TEXT,
    first_name TEXT,
    last_name TEXT,
    city TEXT,
    country TEXT,
    plan TEXT,
    lifetime_value NUMERIC(10, 2),
    accepts_marketing BOOLEAN,
    updated_at TIMESTAMP NOT NULL
);
CREATE INDEX customers_updated ON customers (updated_at, id);
CREATE TABLE orders (
    id INTEGER PRIMARY KEY,
    customer_id INTEGER NOT NULL REFERENCES customers (id),
    total NUMERIC(10, 2) NOT NULL,
    currency TEXT NOT NULL,
    items TEXT NOT NULL,
    placed_at TIMESTAMP NOT NULL
);
"""
PEOPLE = (
    ("Ann", "O'Brien", "Dublin", "Ireland"),
    ("Zoë", "Müller-Lüdenscheidt", "Köln", "Germany"),
    ("王", "小明", "北京", "China"),
    ("Nguyễn", "Thị Hoa", "Hà Nội", "Vietnam"),
    ("محمد", "الأحمد", "دبي", "UAE"),
    ("Robert'); DROP TABLE customers;--", "Tables", "Little Bobby", "USA"),
    ("=cmd|' /C calc'!A0", '"Quoted", Jr.', "Comma, City", "USA"),
    ("😀 Emoji", "Nul\tTab", "Line\u2028Break", "Brasil"),
    ("Null", "null", "None", "Undefined"),
    ("Łukasz", "Żółć", "Łódź", "Polska"),
)
PRODUCTS = ("Earl Grey", "Teapot “Ōkura”", "Café crème 250 g", "Sencha <b>bold</b>", "50% off & more")
WRONG = (("no-at-sign.example.com", None), ("two@@example.com", None), ("", None))


def create(path: Path, *, customers: int, orders: int, seed: int = 7) -> int:
    """Fill a new SQLite file; returns how many customers have no usable address and shall be refused."""
    rng = random.Random(seed)  # noqa: S311  # a shop, not a secret
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("PRAGMA journal_mode=WAL")
        connection.executescript(SCHEMA)
        connection.executemany(
            "INSERT INTO customers VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", _customers(rng, customers)
        )
        connection.executemany("INSERT INTO orders VALUES (?, ?, ?, ?, ?, ?)", _orders(rng, customers, orders))
    return len(WRONG)


def _customers(rng: random.Random, count: int) -> Iterator[tuple[Any, ...]]:
    start = datetime.now(UTC) - timedelta(days=700)
    for number in range(1, count + 1):
        first, last, city, country = PEOPLE[number % len(PEOPLE)]
        email, phone = f"Customer+{number}.o'neil@Example.com", f"+1500555{number % 10000:04}" if number % 3 else None
        if number <= len(WRONG):
            email, phone = WRONG[number - 1]
        changed = start + timedelta(seconds=number * 60)
        plan = rng.choice(["free", "pro", "team", None])
        spent = None if number % 5 == 0 else f"{rng.randrange(0, 500_000) / 100:.2f}"
        yield number, email, phone, first, last, city, country, plan, spent, True, changed.isoformat(" ")


def _orders(rng: random.Random, customers: int, count: int) -> Iterator[tuple[Any, ...]]:
    start = datetime.now(UTC) - timedelta(days=300)
    for number in range(1, count + 1):
        placed = start + timedelta(minutes=number * 3)
        customer = rng.randrange(len(WRONG) + 1, customers + 1)
        items = "|".join(rng.sample(PRODUCTS, k=2))
        yield number, customer, f"{rng.randrange(100, 20_000) / 100:.2f}", "EUR", items, placed.isoformat()


MAPPING = """
[[mappings]]
name = "customers"
url = "sqlite:///{path}"
table = "customers"
key = "id"
cursor = "updated_at"

[mappings.fields]
email = "email"
phone_number = {{ column = "phone", direction = "push" }}
first_name = "first_name"
last_name = "last_name"
"location.city" = "city"
"location.country" = "country"
"properties.plan" = "plan"
"properties.lifetime_value" = {{ column = "lifetime_value", owner = "app" }}

[mappings.consent]
email = "accepts_marketing"
"""


def order_events(path: Path) -> list[dict[str, Any]]:
    """The past orders as events: told once, without firing a flow."""
    with closing(sqlite3.connect(path)) as connection:
        rows = connection.execute("SELECT id, customer_id, total, currency, items, placed_at FROM orders").fetchall()
    return [
        {
            "metric": "Placed Order",
            "profile": {"external_id": str(customer)},
            "unique_id": f"order-{number}",
            "time": placed_at,
            "value": total,
            "value_currency": currency,
            "properties": {"OrderId": str(number), "ItemNames": items.split("|")},
            "backfill": True,
        }
        for number, customer, total, currency, items, placed_at in rows
    ]


def customer(path: Path, number: int) -> dict[str, Any]:
    """One customer's row as it stands in the shop now."""
    with closing(sqlite3.connect(path)) as connection:
        connection.row_factory = sqlite3.Row
        return dict(connection.execute("SELECT * FROM customers WHERE id = ?", (number,)).fetchone())


def sign_up(path: Path, *, email: str, first_name: str, last_name: str) -> int:
    """A new customer's row; returns its key."""
    with closing(sqlite3.connect(path)) as connection, connection:
        row = (email, first_name, last_name, "free", True, datetime.now(UTC).isoformat(" "))
        columns = "email, first_name, last_name, plan, accepts_marketing, updated_at"
        statement = f"INSERT INTO customers ({columns}) VALUES (?, ?, ?, ?, ?, ?)"  # noqa: S608  # constants
        return int(connection.execute(statement, row).lastrowid or 0)

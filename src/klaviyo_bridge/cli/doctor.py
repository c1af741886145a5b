"""Prints what the doctor finds."""

from __future__ import annotations

from dataclasses import asdict

import orjson
import typer
from rich.console import Console
from rich.table import Table

from klaviyo_bridge.bridge import open_bridge
from klaviyo_bridge.config import load_settings
from klaviyo_bridge.services.doctor import Check


def examine(*, as_json: bool) -> bool:
    """Print every check; True when all is well."""
    with open_bridge(load_settings()) as bridge:
        checks = list(bridge.doctor.examine())
    if as_json:
        typer.echo(orjson.dumps([asdict(check) for check in checks], option=orjson.OPT_INDENT_2).decode())
    else:
        Console().print(_table(checks))
    return all(check.ok for check in checks)


def _table(checks: list[Check]) -> Table:
    table = Table("", "What", "Finding", "What to do", box=None, pad_edge=False)
    for check in checks:
        mark = "[red]!![/]" if not check.ok else "[yellow]?[/]" if check.advice else "[green]ok[/]"
        table.add_row(mark, check.name, check.finding, check.advice)
    return table

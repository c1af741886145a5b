"""Prints what sync and verify do, and what sync left behind."""

from __future__ import annotations

import signal
import threading
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import asdict
from typing import Any

import orjson
import typer
from rich.console import Console
from rich.table import Table

from klaviyo_bridge.bridge import open_bridge
from klaviyo_bridge.config import load_settings
from klaviyo_bridge.services.profile_sync import Synced

WRONG_ROWS, STOPPED, BUSY = 1, 3, 4

console = Console(highlight=False)
progress = Console(stderr=True, highlight=False)


def run_sync(*, pull: bool, push: bool, full: bool, mapping: str | None, as_json: bool) -> int:
    """Sync once. The exit code: 0 done, 1 some rows are wrong, 3 stopped by Ctrl-C, 4 another run is going on."""
    with open_bridge(load_settings()) as bridge, _asked_to_stop() as stopping:
        watch = _show if progress.is_terminal and not as_json else _quiet
        total = bridge.profiles.sync(
            pull=pull, push=push, full=full, mapping=mapping, watch=watch, stop=stopping.is_set
        )
    if as_json:
        _print_json({**total.counts(), "refused": [asdict(problem) for problem in total.pushed.refused]})
    else:
        _summary(total)
    if total.skipped:
        return BUSY
    return STOPPED if total.stopped else WRONG_ROWS if total.pushed.rejected or total.pulled.unwritable else 0


def run_verify(*, mapping: str | None, as_json: bool) -> int:
    """Compare both sides; the exit code is 1 when anything differs."""
    with open_bridge(load_settings()) as bridge:
        found = bridge.profiles.verify(mapping=mapping)
    if as_json:
        _print_json(asdict(found))
        return int(found.different > 0)
    console.print(
        f"{found.read:,} rows: {found.equal:,} equal, {found.different:,} different, {found.refused:,} refused"
    )
    rows = [
        (d.mapping, d.key, d.field, d.ours or "-", "no such profile" if d.missing else d.theirs or "-")
        for d in found.differences
    ]
    _table(("Mapping", "Key", "Field", "Ours", "Klaviyo's"), rows)
    return int(found.different > 0)


def print_conflicts(*, limit: int, as_json: bool) -> None:
    """Values that lost, newest first, masked."""
    with open_bridge(load_settings()) as bridge:
        found = bridge.profiles.conflicts(limit=limit)
    if as_json:
        _print_json(found)
        return
    names = ("at", "mapping", "key", "field", "winner", "because", "ours", "theirs")
    _table(names, [tuple(str(row[name] or "-") for name in names) for row in found])


def print_refusals(*, mapping: str | None, limit: int, as_json: bool) -> None:
    """Rows that were not taken as they stand, and why."""
    with open_bridge(load_settings()) as bridge:
        found = bridge.profiles.refusals(mapping=mapping, limit=limit)
    if as_json:
        _print_json(found)
        return
    rows = [(row["kind"], f"{where}: {what}") for row in found for where, what in row["problems"]]
    _table(("Kind", "Why"), rows)


@contextmanager
def _asked_to_stop() -> Generator[threading.Event]:
    """Set by the first Ctrl-C; the second one ends the process as ever."""
    stopping = threading.Event()

    def stop(_number: int, _frame: object) -> None:
        stopping.set()
        signal.signal(signal.SIGINT, signal.default_int_handler)
        progress.print("Stopping after this page; the next run goes on here. Ctrl-C again ends at once.")

    before = signal.signal(signal.SIGINT, stop)
    try:
        yield stopping
    finally:
        signal.signal(signal.SIGINT, before)


def _show(total: Synced) -> None:
    progress.print(f"\rpulled {total.pulled.read:,}  pushed {total.pushed.read:,}", end="")


def _quiet(_total: Synced) -> None:
    """Nobody is watching."""


def _summary(total: Synced) -> None:
    pulled, pushed = total.pulled, total.pushed
    if total.skipped:
        console.print("Another sync is running; nothing was done.")
        return
    console.print(
        f"Pull: {pulled.read:,} profiles read, {pulled.applied:,} rows changed here, {pulled.pushed_back:,} sent back, "
        f"{pulled.consents:,} consents, {pulled.conflicts:,} conflicts, {pulled.unwritable:,} not writable"
    )
    console.print(
        f"Push: {pushed.read:,} rows read = {pushed.queued:,} queued + {pushed.unchanged:,} unchanged + "
        f"{pushed.rejected:,} refused + {pushed.deleted:,} deleted; {pushed.omitted:,} fields left behind"
    )
    for problem in pushed.refused[:20]:
        console.print(f"  {problem}", markup=False)
    if pushed.rejected > len(pushed.refused[:20]):
        console.print("  … all of them: klaviyo-bridge refusals")


def _table(names: tuple[str, ...], rows: list[Any]) -> None:
    table = Table(*names, box=None, pad_edge=False)
    for row in rows:
        table.add_row(*row)
    console.print(table)


def _print_json(value: object) -> None:
    typer.echo(orjson.dumps(value, option=orjson.OPT_INDENT_2, default=str).decode())

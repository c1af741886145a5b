"""`klaviyo-bridge export`: brings the BI tables up to date, with progress on standard error."""

from __future__ import annotations

import orjson
import typer
from rich.console import Console
from rich.table import Table

from klaviyo_bridge.bridge import open_bridge
from klaviyo_bridge.config import load_settings
from klaviyo_bridge.errors import BridgeError
from klaviyo_bridge.services.metrics_export.export import Outcome, Progress


def export(*, full: bool, as_json: bool) -> bool:
    """Export, and print what was moved; False when it stopped before its end, which the next one goes on from."""
    console = Console(stderr=True)
    with open_bridge(load_settings()) as bridge, console.status("Reading Klaviyo") as status:

        def show(progress: Progress) -> None:
            status.update(f"{progress.stream}: {progress.read:,} read, {progress.moved:,} moved")

        try:
            outcome = bridge.metrics_export.run(full=full, watch=show)
        except BridgeError as error:
            console.print(f"The export stopped: {error}. Start it again: it goes on from where it was.")
            return False
    if as_json:
        typer.echo(orjson.dumps(outcome.as_dict(), option=orjson.OPT_INDENT_2).decode())
    else:
        Console().print(_table(outcome))
    return True


def _table(outcome: Outcome) -> Table:
    table = Table("Stream", "Read", "Moved", "Deleted", "", box=None, pad_edge=False)
    for done in outcome.streams:
        table.add_row(done.stream, f"{done.read:,}", f"{done.moved:,}", f"{done.deleted:,}", done.postponed or "")
    return table

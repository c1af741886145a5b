"""`klaviyo-bridge events …`."""

from __future__ import annotations

from typing import Annotated

import typer

app = typer.Typer(help="Events: hand over the history in your tables.", no_args_is_help=True)


@app.callback()
def events() -> None:
    """Events: hand over the history in your tables."""


@app.command(epilog="Example: klaviyo-bridge events backfill orders")
def backfill(
    name: Annotated[str, typer.Argument(help="An [[events]] mapping of bridge.toml.")],
    again: Annotated[bool, typer.Option(help="Begin at the first row; nothing is counted twice.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document instead of text.")] = False,
) -> None:
    """Queue every row of the mapping as a past event; no flow fires. Goes on where it was stopped.

    A worker delivers. Exit code 1 when rows were left out because they are wrong.
    """
    from dataclasses import asdict

    import orjson
    from rich.console import Console
    from rich.progress import Progress

    from klaviyo_bridge.bridge import open_bridge
    from klaviyo_bridge.config import load_settings

    with open_bridge(load_settings()) as bridge, Progress(console=Console(stderr=True)) as bar:
        task = bar.add_task(name, total=bridge.history.count(name))
        total = bridge.history.backfill(name, again=again, progress=lambda done: bar.update(task, completed=done.read))
    for problem in total.refused[:100]:
        typer.echo(f"Left out: {problem}", err=True)
    if as_json:
        typer.echo(orjson.dumps(asdict(total)).decode())
    else:
        typer.echo(f"Read {total.read}, queued {total.queued}, known {total.repeated}, wrong {len(total.refused)}.")
    raise typer.Exit(1 if total.refused else 0)

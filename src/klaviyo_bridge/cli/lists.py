"""`klaviyo-bridge lists …` and `klaviyo-bridge segments …`."""

from __future__ import annotations

from typing import Annotated, Any

import typer

app = typer.Typer(help="Lists: show, create, and keep equal to a query.", no_args_is_help=True)
segments = typer.Typer(help="Segments: show, and print who is in one.", no_args_is_help=True)
Json = Annotated[bool, typer.Option("--json", help="Print one JSON document instead of text.")]


@app.command("show", epilog="Example: klaviyo-bridge lists show --json")
def show_lists(as_json: Json = False) -> None:
    """Print every list, and whether it asks for double opt-in."""
    from dataclasses import asdict

    from klaviyo_bridge.bridge import open_bridge
    from klaviyo_bridge.config import load_settings

    with open_bridge(load_settings()) as bridge:
        _print([asdict(each) for each in bridge.lists.all()], as_json=as_json)


@app.command(epilog="Example: klaviyo-bridge lists create VIP --double-opt-in")
def create(
    name: Annotated[str, typer.Argument(help="The new list's name.")],
    double_opt_in: Annotated[bool | None, typer.Option(help="Else the account's default.")] = None,
) -> None:
    """Create a list and print its id."""
    from klaviyo_bridge.bridge import open_bridge
    from klaviyo_bridge.config import load_settings

    opt_in = None if double_opt_in is None else "double" if double_opt_in else "single"
    with open_bridge(load_settings()) as bridge:
        typer.echo(bridge.lists.create(name, opt_in=opt_in).id)


@segments.command("show", epilog="Example: klaviyo-bridge segments show --json")
def show_segments(as_json: Json = False) -> None:
    """Print every segment."""
    from dataclasses import asdict

    from klaviyo_bridge.bridge import open_bridge
    from klaviyo_bridge.config import load_settings

    with open_bridge(load_settings()) as bridge:
        _print([asdict(each) for each in bridge.segments.all()], as_json=as_json)


@segments.command(epilog="Example: klaviyo-bridge segments members VIP > members.ndjson")
def members(name: Annotated[str, typer.Argument(help="The segment's name.")]) -> None:
    """Print every member, a JSON object a line."""
    import orjson

    from klaviyo_bridge.bridge import open_bridge
    from klaviyo_bridge.config import load_settings

    with open_bridge(load_settings()) as bridge:
        for page in bridge.segments.members(bridge.segments.find(name).id):
            for profile in page.profiles:
                typer.echo(orjson.dumps({"id": profile.id, **profile.attributes}).decode())


def _print(rows: list[dict[str, Any]], *, as_json: bool) -> None:
    import orjson

    if as_json:
        typer.echo(orjson.dumps(rows, option=orjson.OPT_INDENT_2).decode())
        return
    for row in rows:
        typer.echo("  ".join(f"{name}={value}" for name, value in row.items() if value is not None))

"""`klaviyo-bridge dead-letters …`."""

from __future__ import annotations

from typing import Annotated

import typer

app = typer.Typer(help="Rows that Klaviyo refused: look, replay, discard, export.", no_args_is_help=True)

Reason = Annotated[str | None, typer.Option(help="Only those with this reason.")]
KindOf = Annotated[str | None, typer.Option("--kind", help="Only rows of this kind: profile or event.")]
Reveal = Annotated[bool, typer.Option("--reveal", help="Show personal data instead of masking it.")]
Ids = Annotated[list[int] | None, typer.Argument(help="Numbers of dead letters.")]


@app.command("list", epilog="Example: klaviyo-bridge dead-letters list --reason invalid")
def list_letters(reason: Reason = None, kind: KindOf = None, limit: int = 100) -> None:
    """One JSON document a line, personal data masked."""
    _print(reason, kind, limit=limit, reveal=False)


@app.command(epilog="Example: klaviyo-bridge dead-letters export --reveal > dead.ndjson")
def export(reason: Reason = None, kind: KindOf = None, reveal: Reveal = False) -> None:
    """All of them, one JSON document a line."""
    _print(reason, kind, limit=None, reveal=reveal)


@app.command(epilog="Example: klaviyo-bridge dead-letters show 17 --reveal")
def show(number: int, reveal: Reveal = False) -> None:
    """One of them. Exit code 1 if there is none."""
    import orjson

    from klaviyo_bridge.bridge import open_bridge
    from klaviyo_bridge.config import load_settings
    from klaviyo_bridge.errors import NotFound
    from klaviyo_bridge.services.dead_letters import described

    with open_bridge(load_settings()) as bridge:
        try:
            letter = bridge.dead_letters.get(number)
        except NotFound as error:
            typer.echo(str(error), err=True)
            raise typer.Exit(1) from None
    typer.echo(orjson.dumps(described(letter, reveal=reveal), option=orjson.OPT_INDENT_2).decode())


@app.command(epilog="Example: klaviyo-bridge dead-letters replay --reason duplicate_profile")
def replay(ids: Ids = None, reason: Reason = None, kind: KindOf = None) -> None:
    """Deliver again: those numbered, or all with a reason or kind. Harmless to repeat."""
    from klaviyo_bridge.bridge import open_bridge
    from klaviyo_bridge.config import load_settings
    from klaviyo_bridge.domain.dead_letter import Wanted
    from klaviyo_bridge.domain.outbox import Kind

    if not (ids or reason or kind):
        raise typer.BadParameter("give numbers, --reason or --kind")
    with open_bridge(load_settings()) as bridge:
        wanted = Wanted(reason=reason, kind=Kind(kind) if kind else None)
        done = bridge.dead_letters.replay(ids) if ids else bridge.dead_letters.replay_all(wanted)
    typer.echo(f"{done.waiting} wait to be delivered; {done.superseded} were overtaken by newer writes.")


@app.command(epilog="Example: klaviyo-bridge dead-letters discard 17 18")
def discard(ids: Annotated[list[int], typer.Argument(help="Numbers of dead letters.")]) -> None:
    """End them for good."""
    from klaviyo_bridge.bridge import open_bridge
    from klaviyo_bridge.config import load_settings

    with open_bridge(load_settings()) as bridge:
        typer.echo(f"{bridge.dead_letters.discard(ids)} discarded.")


def _print(reason: str | None, kind: str | None, *, limit: int | None, reveal: bool) -> None:
    from itertools import islice

    import orjson

    from klaviyo_bridge.bridge import open_bridge
    from klaviyo_bridge.config import load_settings
    from klaviyo_bridge.domain.dead_letter import Wanted
    from klaviyo_bridge.domain.outbox import Kind
    from klaviyo_bridge.services.dead_letters import described

    with open_bridge(load_settings()) as bridge:
        letters = bridge.dead_letters.every(Wanted(reason=reason, kind=Kind(kind) if kind else None))
        for letter in islice(letters, limit):
            typer.echo(orjson.dumps(described(letter, reveal=reveal)).decode())

"""`klaviyo-bridge consent …`: ask, look, and see what was refused."""

from __future__ import annotations

from typing import Annotated, Any

import typer

app = typer.Typer(help="Consent: subscribe, unsubscribe, suppress, erase, and who said what.", no_args_is_help=True)

Email = Annotated[str | None, typer.Option(help="The person's email address.")]
Phone = Annotated[str | None, typer.Option(help="The person's phone number, as +15005550006.")]
ExternalId = Annotated[str | None, typer.Option(help="The person's id in your application.")]
ListId = Annotated[str | None, typer.Option("--list", help="Only this list, by its id.")]
Source = Annotated[str, typer.Option(help="Where this comes from, for the ledger.")]
Channels = Annotated[list[str] | None, typer.Option("--channel", help="email, sms or whatsapp; may be repeated.")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON document instead of text.")]


@app.command(
    epilog="Example: klaviyo-bridge consent subscribe --email ann@example.com --consented-at 2026-10-20T12:00Z"
)
def subscribe(
    email: Email = None,
    phone: Phone = None,
    external_id: ExternalId = None,
    channel: Channels = None,
    list_id: ListId = None,
    consented_at: Annotated[str | None, typer.Option(help="When the person agreed (ISO 8601).")] = None,
    evidence: Annotated[str | None, typer.Option(help="How that is known.")] = None,
    historical: Annotated[bool, typer.Option(help="Skip double opt-in; wants a date and evidence.")] = False,
    source: Source = "command line",
) -> None:
    """Subscribe a person. Exit code 1 when the ledger forbids it."""
    fields = {**_person(email, phone, external_id), "channels": channel, "list_id": list_id, "source": source}
    dated = {"consented_at": consented_at, "evidence": evidence, "historical_import": historical or None}
    _ask("subscribe", {**fields, **dated})


@app.command(epilog="Example: klaviyo-bridge consent unsubscribe --email ann@example.com")
def unsubscribe(
    email: Email = None,
    phone: Phone = None,
    external_id: ExternalId = None,
    channel: Channels = None,
    list_id: ListId = None,
    source: Source = "command line",
) -> None:
    """Unsubscribe a person, everywhere or from one list."""
    fields = {**_person(email, phone, external_id), "channels": channel, "list_id": list_id, "source": source}
    _ask("unsubscribe", fields)


@app.command(epilog="Example: klaviyo-bridge consent suppress --email ann@example.com")
def suppress(email: Email = None, external_id: ExternalId = None, source: Source = "command line") -> None:
    """Send a person no email."""
    _ask("suppress", {**_person(email, None, external_id), "source": source})


@app.command(epilog="Example: klaviyo-bridge consent unsuppress --email ann@example.com")
def unsuppress(email: Email = None, external_id: ExternalId = None, source: Source = "command line") -> None:
    """Lift a suppression made by hand."""
    _ask("unsuppress", {**_person(email, None, external_id), "source": source})


@app.command(epilog="Example: klaviyo-bridge consent erase --email ann@example.com --yes")
def erase(
    email: Email = None,
    phone: Phone = None,
    external_id: ExternalId = None,
    yes: Annotated[bool, typer.Option(help="Do not ask: there is no way back.")] = False,
) -> None:
    """Forget a person, at Klaviyo and here. There is no way back."""
    if not yes:
        typer.confirm("Delete this person at Klaviyo, and everything the bridge holds about them?", abort=True)
    _ask("erase", _person(email, phone, external_id))


@app.command(epilog="Example: klaviyo-bridge consent show --email ann@example.com --json")
def show(email: Email = None, phone: Phone = None, external_id: ExternalId = None, as_json: Json = False) -> None:
    """Print every record about a person, oldest first."""
    from dataclasses import asdict

    from klaviyo_bridge.bridge import open_bridge
    from klaviyo_bridge.config import load_settings

    with open_bridge(load_settings()) as bridge:
        records = bridge.consent.history(_person(email, phone, external_id))
    _print([asdict(record) for record in records], as_json=as_json)


@app.command(epilog="Example: klaviyo-bridge consent refusals --limit 20")
def refusals(
    after: Annotated[int, typer.Option(help="Go on after this id.")] = 0,
    limit: Annotated[int, typer.Option(min=1, help="At most so many.")] = 100,
    as_json: Json = False,
) -> None:
    """Print what consent forbade, and why."""
    from klaviyo_bridge.bridge import open_bridge
    from klaviyo_bridge.config import load_settings

    with open_bridge(load_settings()) as bridge:
        _print(bridge.consent.refusals(after=after, limit=limit), as_json=as_json)


def _person(email: str | None, phone: str | None, external_id: str | None) -> dict[str, object]:
    named = {"email": email, "phone_number": phone, "external_id": external_id}
    return {name: value for name, value in named.items() if value}


def _ask(kind: str, fields: dict[str, Any]) -> None:
    from klaviyo_bridge.bridge import open_bridge
    from klaviyo_bridge.config import load_settings
    from klaviyo_bridge.domain.outbox import Kind

    given = {name: value for name, value in fields.items() if value is not None}
    with open_bridge(load_settings()) as bridge:
        asked = bridge.consent.ask(Kind(kind), [given], many=False)
    for refusal in asked.refused:
        typer.echo(f"Refused: {refusal.reason}.", err=True)
    if asked.refused:
        raise typer.Exit(1)
    typer.echo("Taken; it is on its way.")


def _print(rows: list[dict[str, Any]], *, as_json: bool) -> None:
    import orjson

    if as_json:
        typer.echo(orjson.dumps(rows, option=orjson.OPT_INDENT_2).decode())
        return
    for row in rows:
        typer.echo("  ".join(f"{name}={value}" for name, value in row.items() if value is not None))

"""The commands of `klaviyo-bridge webhooks`; what they do is in `cli.webhooks`, loaded when one runs."""

from __future__ import annotations

from typing import Annotated

import typer

app = typer.Typer(name="webhooks", help="Klaviyo's webhooks, test deliveries, and what arrives.", no_args_is_help=True)
Json = Annotated[bool, typer.Option("--json", help="Print one JSON document instead of text.")]
Id = Annotated[str, typer.Argument(help="Id of the webhook, as `list` shows it.")]


@app.command(epilog="Example: klaviyo-bridge webhooks topics 'event:klaviyo.*'")
def topics(match: Annotated[str, typer.Argument(help="Pattern.")] = "*", as_json: Json = False) -> None:
    """List the account's topics."""
    from klaviyo_bridge.cli import webhooks

    with webhooks.a_bridge() as bridge:
        found = bridge.subscriptions.topics(match)
        webhooks.show(found, as_json=as_json, lines=found)


@app.command("list", epilog="Example: klaviyo-bridge webhooks list --json")
def list_webhooks(as_json: Json = False) -> None:
    """List the account's webhooks."""
    from klaviyo_bridge.cli import webhooks

    with webhooks.a_bridge() as bridge:
        webhooks.show_subscriptions(bridge.subscriptions.all(), as_json=as_json)


@app.command(epilog="Example: klaviyo-bridge webhooks create https://b.example.com/webhooks/klaviyo profile.updated")
def create(
    url: Annotated[str, typer.Argument(help="Public https address of /webhooks/klaviyo.")],
    patterns: Annotated[list[str], typer.Argument(help="Topics, patterns, or names such as profile.updated.")],
    name: Annotated[str, typer.Option(help="Name shown in Klaviyo.")] = "klaviyo-bridge",
    as_json: Json = False,
) -> None:
    """Create a webhook, signed with the first configured secret."""
    from klaviyo_bridge.cli import webhooks

    with webhooks.a_bridge() as bridge:
        made = bridge.subscriptions.create(url=url, patterns=patterns, name=name)
        webhooks.show_subscriptions([made], as_json=as_json)


@app.command(epilog="Example: klaviyo-bridge webhooks rotate 01HX…")
def rotate(webhook_id: Id, as_json: Json = False) -> None:
    """Have Klaviyo sign with the first configured secret; the old one stays accepted while it is configured."""
    from klaviyo_bridge.cli import webhooks

    with webhooks.a_bridge() as bridge:
        webhooks.show_subscriptions([bridge.subscriptions.rotate(webhook_id)], as_json=as_json)


@app.command(epilog="Example: klaviyo-bridge webhooks disable 01HX…")
def disable(webhook_id: Id, as_json: Json = False) -> None:
    """Have Klaviyo send nothing to this webhook; polling goes on."""
    from klaviyo_bridge.cli import webhooks

    with webhooks.a_bridge() as bridge:
        webhooks.show_subscriptions([bridge.subscriptions.enable(webhook_id, enabled=False)], as_json=as_json)


@app.command(epilog="Example: klaviyo-bridge webhooks enable 01HX…")
def enable(webhook_id: Id, as_json: Json = False) -> None:
    """Have Klaviyo send to this webhook again."""
    from klaviyo_bridge.cli import webhooks

    with webhooks.a_bridge() as bridge:
        webhooks.show_subscriptions([bridge.subscriptions.enable(webhook_id)], as_json=as_json)


@app.command(epilog="Example: klaviyo-bridge webhooks delete 01HX…")
def delete(webhook_id: Id) -> None:
    """Delete a webhook."""
    from klaviyo_bridge.cli import webhooks

    with webhooks.a_bridge() as bridge:
        bridge.subscriptions.delete(webhook_id)


@app.command(epilog="Example: klaviyo-bridge webhooks secret")
def secret() -> None:
    """Print a new random secret for KLAVIYO_WEBHOOK_SIGNING_SECRET. Nothing is changed."""
    from klaviyo_bridge.services.webhook_subscriptions import new_secret

    typer.echo(new_secret())


@app.command(epilog="Example: klaviyo-bridge webhooks trigger event:klaviyo.opened_email")
def trigger(
    topic: Annotated[str, typer.Argument(help="Topic of the test event.")],
    url: Annotated[str | None, typer.Option(help="Endpoint; else the configured host and port.")] = None,
    profile_id: Annotated[str, typer.Option(help="Klaviyo's id of the person.")] = "01TEST",
    properties: Annotated[str, typer.Option(help="Event properties as JSON.")] = "{}",
) -> None:
    """Send a signed test delivery to your own endpoint. Exit code 1 unless it was taken."""
    from klaviyo_bridge.cli import webhooks

    status = webhooks.trigger(topic, url=url, profile_id=profile_id, properties=properties)
    typer.echo(f"The endpoint answered {status}.")
    raise typer.Exit(0 if status == 200 else 1)


@app.command(epilog="Example: klaviyo-bridge webhooks listen --count 1 --json")
def listen(
    count: Annotated[int | None, typer.Option(min=1, help="End after so many events.")] = None,
    payload: Annotated[bool, typer.Option(help="Print the whole payload; it may hold personal data.")] = False,
    as_json: Json = False,
) -> None:
    """Print events as they arrive in the inbox, from now on."""
    from klaviyo_bridge.cli import webhooks

    webhooks.listen(count=count, as_json=as_json, payload=payload)


@app.command(epilog="Example: klaviyo-bridge webhooks inbox --json")
def inbox(as_json: Json = False) -> None:
    """Count the inbox's events by topic and state."""
    from klaviyo_bridge.cli import webhooks

    with webhooks.a_bridge() as bridge:
        counts = bridge.inbox.counts()
        lines = [f"{topic}  {state} {n}" for topic, states in counts.items() for state, n in states.items()]
        webhooks.show(counts, as_json=as_json, lines=lines)


@app.command(epilog="Example: klaviyo-bridge webhooks replay --state dead")
def replay(
    state: Annotated[str, typer.Option(help="dead, ignored or handled.")] = "dead",
    topic: Annotated[str | None, typer.Option(help="Only events of this topic.")] = None,
) -> None:
    """Have ended events handled once more."""
    from klaviyo_bridge.cli import webhooks

    with webhooks.a_bridge() as bridge:
        typer.echo(f"{bridge.inbox.replay(state=state, topic=topic)} events are handled once more.")

"""What a person types: parse, call, print.

Each command imports what it needs when it runs, so that `--help` costs no more than Typer itself.
"""

from __future__ import annotations

from typing import Annotated

import typer

from klaviyo_bridge.cli import consent, dead_letters, events, lists
from klaviyo_bridge.cli.webhook_commands import app as webhooks_app

app = typer.Typer(
    name="klaviyo-bridge",
    help="Keeps an application's database and Klaviyo in step, both ways.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,  # plain help: Rich alone would double the time of --help
)

app.add_typer(consent.app, name="consent")
app.add_typer(events.app, name="events")
app.add_typer(lists.app, name="lists")
app.add_typer(lists.segments, name="segments")
app.add_typer(webhooks_app)
app.add_typer(dead_letters.app, name="dead-letters")

Host = Annotated[str | None, typer.Option(help="Address to listen on; else BRIDGE_HOST.")]
Port = Annotated[int | None, typer.Option(help="Port to listen on; else BRIDGE_PORT.")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON document instead of text.")]


@app.command(epilog="Example: klaviyo-bridge resume")
def resume() -> None:
    """Send again for an account that stopped because Klaviyo refused its key."""
    from klaviyo_bridge.bridge import open_bridge
    from klaviyo_bridge.config import load_settings

    with open_bridge(load_settings()) as bridge:
        bridge.delivery.resume()
    typer.echo("The account is no longer stopped.")


@app.command(epilog="Example: klaviyo-bridge up --port 8700")
def up(host: Host = None, port: Port = None) -> None:
    """Run everything in one process: HTTP service, worker and clock."""
    from klaviyo_bridge.cli.run import run_service

    run_service(host=host, port=port, working=True)


@app.command(epilog="Example: klaviyo-bridge serve --host 0.0.0.0 --port 8700")
def serve(host: Host = None, port: Port = None) -> None:
    """Run the HTTP service only; a `worker` elsewhere delivers."""
    from klaviyo_bridge.cli.run import run_service

    run_service(host=host, port=port, working=False)


@app.command(epilog="Example: klaviyo-bridge worker")
def worker() -> None:
    """Deliver, settle and sync; start more of them to share the work (on Postgres)."""
    from klaviyo_bridge.cli.run import run_worker

    run_worker()


@app.command(epilog="Example: klaviyo-bridge migrate")
def migrate() -> None:
    """Bring the database to this version's schema. Safe to run twice, and at once."""
    from klaviyo_bridge.config import load_settings
    from klaviyo_bridge.infra.migrate import migrate as migrate_database

    migrate_database(load_settings().database_url.get_secret_value())
    typer.echo("The database is up to date.")


@app.command(epilog="Example: klaviyo-bridge config --json")
def config(as_json: Json = False) -> None:
    """Print the settings in effect, secrets masked. Exit code 2 if they do not allow a start."""
    from klaviyo_bridge.cli.config import show

    show(as_json=as_json)


@app.command(epilog="Example: klaviyo-bridge doctor --json")
def doctor(as_json: Json = False) -> None:
    """Check key, scopes, database, clock and webhook secret, and say what to do. Exit code 1 if something is wrong."""
    from klaviyo_bridge.cli.doctor import examine

    raise typer.Exit(0 if examine(as_json=as_json) else 1)


Mapping = Annotated[str | None, typer.Option(help="Only this mapping of bridge.toml.")]


@app.command(epilog="Example: klaviyo-bridge sync --full --json")
def sync(
    push: Annotated[bool, typer.Option("--push", help="Only from the application to Klaviyo.")] = False,
    pull: Annotated[bool, typer.Option("--pull", help="Only from Klaviyo to the application.")] = False,
    full: Annotated[bool, typer.Option("--full", help="Look at every row and every profile.")] = False,
    mapping: Mapping = None,
    as_json: Json = False,
) -> None:
    """Sync once, both ways; a worker delivers. Exit code 1: wrong rows, 3: stopped by Ctrl-C, 4: another sync runs."""
    from klaviyo_bridge.cli.sync import run_sync

    raise typer.Exit(
        run_sync(pull=pull or not push, push=push or not pull, full=full, mapping=mapping, as_json=as_json)
    )


@app.command(epilog="Example: klaviyo-bridge verify --mapping customers")
def verify(mapping: Mapping = None, as_json: Json = False) -> None:
    """Compare every mapped row with its profile at Klaviyo, field by field. Exit code 1 if anything differs."""
    from klaviyo_bridge.cli.sync import run_verify

    raise typer.Exit(run_verify(mapping=mapping, as_json=as_json))


@app.command(epilog="Example: klaviyo-bridge conflicts --limit 20 --json")
def conflicts(
    limit: Annotated[int, typer.Option(min=1, help="How many, newest first.")] = 100, as_json: Json = False
) -> None:
    """List values that lost when both sides had changed a field. They are masked."""
    from klaviyo_bridge.cli.sync import print_conflicts

    print_conflicts(limit=limit, as_json=as_json)


@app.command(epilog="Example: klaviyo-bridge refusals --mapping customers")
def refusals(
    mapping: Mapping = None,
    limit: Annotated[int, typer.Option(min=1, help="How many rows, newest first.")] = 1_000,
    as_json: Json = False,
) -> None:
    """List rows of the mapped tables that Klaviyo was not told as they stand, and why."""
    from klaviyo_bridge.cli.sync import print_refusals

    print_refusals(mapping=mapping, limit=limit, as_json=as_json)


@app.command(epilog="Example: klaviyo-bridge export --full --json")
def export(
    full: Annotated[bool, typer.Option("--full", help="Read everything again, also what did not change.")] = False,
    as_json: Json = False,
) -> None:
    """Bring the BI tables (DuckDB, Parquet, Postgres) up to date. Exit code 1 if it stopped before its end."""
    from klaviyo_bridge.cli.export import export as export_now

    raise typer.Exit(0 if export_now(full=full, as_json=as_json) else 1)


@app.command(epilog="Example: klaviyo-bridge demo --customers 3000 --orders 2000")
def demo(
    customers: Annotated[int, typer.Option(min=10, help="Customers in the shop.")] = 3_000,
    orders: Annotated[int, typer.Option(min=1, help="Past orders in the shop.")] = 2_000,
    keep: Annotated[bool, typer.Option(help="Leave the files in .demo/ for a look.")] = False,
) -> None:
    """Run the everyday flow on real HTTP: a simulated Klaviyo, the bridge, and a small shop."""
    from klaviyo_bridge.cli.demo.story import tell

    raise typer.Exit(0 if tell(customers=customers, orders=orders, keep=keep) else 1)

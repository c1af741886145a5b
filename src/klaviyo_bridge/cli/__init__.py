"""What a person types: parse, call, print.

Each command imports what it needs when it runs, so that `--help` costs no more than Typer itself.
"""

from __future__ import annotations

from typing import Annotated

import typer

app = typer.Typer(
    name="klaviyo-bridge",
    help="Keeps an application's database and Klaviyo in step, both ways.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,  # plain help: Rich alone would double the time of --help
)

Host = Annotated[str | None, typer.Option(help="Address to listen on; else BRIDGE_HOST.")]
Port = Annotated[int | None, typer.Option(help="Port to listen on; else BRIDGE_PORT.")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON document instead of text.")]


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


@app.command(epilog="Example: klaviyo-bridge doctor --json")
def doctor(as_json: Json = False) -> None:
    """Check key, scopes, database, clock and webhook secret, and say what to do. Exit code 1 if something is wrong."""
    from klaviyo_bridge.cli.doctor import examine

    raise typer.Exit(0 if examine(as_json=as_json) else 1)


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

"""The command line: `serve` a simulator, or `seed`, `reset` and read the `log` of one that runs."""

from __future__ import annotations

import sys
from typing import Annotated

import orjson
import typer

from klaviyo_simulator.errors import SimulatorError
from klaviyo_simulator.server import serve as run_server
from klaviyo_simulator.simulator import ACCOUNT_ID, PRIVATE_KEY, Simulator
from klaviyo_simulator.switches import Switches
from klaviyo_simulator.testing import Control

app = typer.Typer(no_args_is_help=True, add_completion=False, help="A Klaviyo to run at home.")
DEFAULT_URL = "http://127.0.0.1:8600"
Url = Annotated[str, typer.Option(help="Where the simulator runs.")]


@app.command()
def serve(
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port to listen on; 0 picks a free one.")] = 8600,
    kdp: Annotated[bool, typer.Option("--kdp", help="Open the Webhooks API (Advanced KDP).")] = False,
    no_limits: Annotated[bool, typer.Option("--no-limits", help="No rate limits.")] = False,
    limit_factor: Annotated[float, typer.Option(help="Multiply all rate limits.")] = 1.0,
    speed: Annotated[float, typer.Option(help="Pace of the clock: 1 real, 0 stepped by hand.")] = 1.0,
    seed: Annotated[int, typer.Option(help="Seed of all chance.")] = 1,
    switch: Annotated[list[str] | None, typer.Option(help="NAME=VALUE, repeatable; see the docs.")] = None,
) -> None:
    """Serve a Klaviyo."""
    switches = Switches(kdp=kdp, limits=not no_limits, limit_factor=limit_factor)
    switches.change(dict(_pair(text) for text in switch or []))
    simulator = Simulator(switches=switches, seed=seed, speed=speed)
    run_server(simulator, host=host, port=port, tell=_greet)


def _greet(url: str) -> None:
    typer.echo(f"klaviyo-simulator on {url}  account {ACCOUNT_ID}  key {PRIVATE_KEY}")
    sys.stdout.flush()


def _pair(text: str) -> tuple[str, object]:
    name, _, value = text.partition("=")
    try:
        return name, orjson.loads(value)
    except orjson.JSONDecodeError:
        return name, value


@app.command()
def seed(
    profiles: Annotated[int, typer.Option(help="How many people.")] = 1000,
    days: Annotated[int, typer.Option(help="How many days of history.")] = 365,
    events: Annotated[float, typer.Option(help="Events per person, on average.")] = 5.0,
    number: Annotated[int, typer.Option(help="Seed of the generator.")] = 1,
    url: Url = DEFAULT_URL,
) -> None:
    """Fill a running simulator with generated data."""
    _show(Control(url).seed(profiles=profiles, days=days, events_per_profile=events, seed=number))


@app.command()
def reset(url: Url = DEFAULT_URL) -> None:
    """Bring a running simulator back to the state of its start."""
    Control(url).reset()
    typer.echo("reset")


@app.command()
def log(
    what: Annotated[str, typer.Argument(help="requests, effects or counts")] = "requests",
    limit: Annotated[int, typer.Option(help="At most so many.")] = 50,
    since: Annotated[int, typer.Option(help="After this sequence number.")] = 0,
    url: Url = DEFAULT_URL,
) -> None:
    """Read the log of a running simulator, one JSON object a line."""
    answer = Control(url).call("GET", f"log/{what}", limit=limit, since=since)
    for item in answer.get(what, [answer]):
        typer.echo(orjson.dumps(item).decode())


def _show(document: object) -> None:
    typer.echo(orjson.dumps(document, option=orjson.OPT_INDENT_2).decode())


def run() -> None:
    """Run the command line; an error of ours is one line and exit code 1."""
    try:
        app()
    except (SimulatorError, ConnectionError) as error:
        typer.echo(f"klaviyo-simulator: {error}", err=True)
        raise SystemExit(1) from None

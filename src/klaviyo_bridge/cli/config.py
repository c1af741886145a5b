"""Prints the settings as they are in effect; a secret shows only that it is set."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import orjson
import typer
from pydantic import BaseModel, SecretStr
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError

from klaviyo_bridge.config import Settings, load_settings, variable_of

MASK = "********"


def show(*, as_json: bool) -> None:
    """Print every setting by the name a person sets it by."""
    shown = effective(load_settings())
    if as_json:
        typer.echo(orjson.dumps(shown, option=orjson.OPT_INDENT_2).decode())
        return
    width = max(map(len, shown))
    for name, value in shown.items():
        typer.echo(f"{name:<{width}}  {_text(value)}")


def effective(settings: Settings) -> dict[str, Any]:
    """Settings by the name of their variable, secrets masked; of a database's URL only the password is."""
    fields = Settings.model_fields
    found = {variable_of(field, name): masked(getattr(settings, name)) for name, field in fields.items()}
    return found | {"BRIDGE_DATABASE_URL": without_password(settings.database_url.get_secret_value())}


def masked(value: Any) -> Any:
    """The value in plain types, each secret in it replaced."""
    if isinstance(value, SecretStr):
        return MASK if value.get_secret_value() else ""
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, BaseModel):
        return {name: masked(getattr(value, name)) for name in type(value).model_fields}
    if isinstance(value, dict):
        return {name: masked(part) for name, part in value.items()}  # pyright: ignore[reportUnknownVariableType]
    if isinstance(value, tuple | list):
        return [masked(part) for part in value]  # pyright: ignore[reportUnknownVariableType]
    return value


def without_password(url: str) -> str:
    """The URL with its password masked; all of it when it cannot be read, or carries more in its query."""
    try:
        parsed = make_url(url)
    except ArgumentError:
        return MASK
    return MASK if "password" in parsed.query else parsed.render_as_string(hide_password=True)


def _text(value: Any) -> str:
    return value if isinstance(value, str) else orjson.dumps(value).decode()

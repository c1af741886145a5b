"""Email templates: stored, cloned, rendered. Which operations there are is in `resources.templates`."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from klaviyo_simulator.account import Account
from klaviyo_simulator.reading import within

MOST_TEMPLATES = 1000
_TAG = re.compile(r"\{\{\s*([\w.]+)\s*(?:\|\s*default:\s*(['\"])(.*?)\2\s*)?[^}]*\}\}")


@dataclass(slots=True, kw_only=True)
class Template:
    """`reusable` is False for the clone that a campaign message holds."""

    id: str
    name: str
    editor_type: str
    html: str
    text: str
    amp: str | None
    created: float
    updated: float
    reusable: bool = True


def templates_of(account: Account) -> dict[str, Template]:
    return account.areas.setdefault("templates", {})


def new_template(
    account: Account,
    *,
    name: str,
    editor_type: str = "CODE",
    html: str = "",
    text: str = "",
    amp: str | None = None,
    reusable: bool = True,
) -> Template:
    now = account.now()
    item = Template(
        id=account.world.ids.short(),
        name=name,
        editor_type=editor_type,
        html=html,
        text=text,
        amp=amp,
        created=now,
        updated=now,
        reusable=reusable,
    )
    templates_of(account)[item.id] = item
    return item


def clone(account: Account, source: Template, *, name: str | None = None, reusable: bool = True) -> Template:
    return new_template(
        account,
        name=name or f"Clone of {source.name}",
        editor_type=source.editor_type,
        html=source.html,
        text=source.text,
        amp=source.amp,
        reusable=reusable,
    )


def fill(text: str, context: Any) -> str:
    """Put values into `{{ person.first_name|default:'friend' }}`; unknown names become their default."""
    return _TAG.sub(_value_from(context), text)


def _value_from(context: Any) -> Callable[[re.Match[str]], str]:
    def value_of(found: re.Match[str]) -> str:
        value = within(context, *found.group(1).split("."))
        return found.group(3) or "" if value is None else str(value)

    return value_of

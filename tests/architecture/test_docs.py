"""The documentation is a test too: what follows from the code is equal to it."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest
import typer.main

from klaviyo_bridge.cli import app

ROOT = Path(__file__).parents[2]


def generated() -> dict[Path, str]:
    spec = importlib.util.spec_from_file_location("generate", ROOT / "docs/generate.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.pages()


@pytest.mark.parametrize("path", generated(), ids=lambda path: path.name)
def test_generated_pages_are_up_to_date(path: Path) -> None:
    assert path.read_text("utf-8") == generated()[path], "run: uv run python docs/generate.py"


def commands(group: typer.main.TyperGroup, prefix: str = "") -> list[tuple[str, typer.main.TyperCommand]]:
    found: list[tuple[str, typer.main.TyperCommand]] = []
    for name, command in group.commands.items():
        below = commands(command, f"{prefix}{name} ") if isinstance(command, typer.main.TyperGroup) else None
        found += below if below is not None else [(prefix + name, command)]
    return found


@pytest.mark.parametrize(("name", "command"), commands(typer.main.get_command(app)))
def test_every_command_has_help_with_an_example(name: str, command: typer.main.TyperCommand) -> None:
    assert command.help
    assert f"klaviyo-bridge {name}" in (command.epilog or "")


PAGES = [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_between_pages_lead_somewhere(page: Path) -> None:
    text = page.read_text("utf-8")
    targets = [part.split(")")[0].split("#")[0] for part in text.split("](")[1:]]

    broken = [t for t in targets if t and "://" not in t and not (page.parent / t).exists()]

    assert broken == []

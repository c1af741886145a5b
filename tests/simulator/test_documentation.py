"""The documentation names every switch with its default, every fault and every control route."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from klaviyo_simulator.control_routes import ROUTES
from klaviyo_simulator.faults import KINDS
from klaviyo_simulator.switches import Switches

DOCS = Path(__file__).parents[2] / "docs" / "simulator"


def test_every_switch_is_documented_with_its_default() -> None:
    rows = re.findall(r"^\| `(\w+)` \| (\S+) \|", (DOCS / "known-and-assumed.md").read_text(), re.MULTILINE)
    documented = {name: default.strip('"').lower() for name, default in rows}

    assert documented == {name: str(value).lower() for name, value in Switches().as_dict().items()}


def test_every_fault_is_in_the_cookbook() -> None:
    rows = re.findall(r"^\| `(\w+)` \|", (DOCS / "fault-cookbook.md").read_text(), re.MULTILINE)

    assert rows == list(KINDS)


@pytest.mark.parametrize("route", ROUTES, ids=lambda route: f"{route.method} {route.path}")
def test_every_control_route_is_in_the_quick_start(route) -> None:
    text = (DOCS / "quick-start.md").read_text()

    assert route.path in text

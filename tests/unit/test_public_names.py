"""What `import klaviyo_bridge` gives, told once for people and once for type checkers."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import klaviyo_bridge


def stubbed() -> set[str]:
    stub = Path(klaviyo_bridge.__file__).with_suffix(".pyi").read_text("utf-8")
    imports = [node for node in ast.walk(ast.parse(stub)) if isinstance(node, ast.ImportFrom)]
    return {alias.name for node in imports for alias in node.names}


def test_the_stub_names_what_the_package_gives() -> None:
    assert stubbed() == set(klaviyo_bridge.__all__)


@pytest.mark.parametrize("name", klaviyo_bridge.__all__)
def test_every_public_name_is_there_and_documented(name: str) -> None:
    assert getattr(klaviyo_bridge, name).__doc__


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no_such_name"):
        _ = klaviyo_bridge.no_such_name

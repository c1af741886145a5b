"""The error tree is drawn, and the drawing is complete."""

from __future__ import annotations

import pytest

from klaviyo_bridge import errors
from klaviyo_bridge.errors import BridgeError, InvalidPayload, Problem


def tree(cls: type[BridgeError]) -> list[type[BridgeError]]:
    below = [error for child in cls.__subclasses__() for error in tree(child)]
    return [cls, *(error for error in below if error.__module__ == errors.__name__)]


@pytest.mark.parametrize("error", tree(BridgeError), ids=lambda cls: cls.__name__)
def test_every_error_is_in_the_drawing(error: type[BridgeError]) -> None:
    assert f"{error.__name__}\n" in (errors.__doc__ or "") or f" {error.__name__} " in (errors.__doc__ or "")


@pytest.mark.parametrize("error", tree(BridgeError), ids=lambda cls: cls.__name__)
def test_an_error_without_a_message_says_what_its_class_means(error: type[BridgeError]) -> None:
    assert str(error()) or issubclass(error, InvalidPayload | errors.ConfigError)


def test_problems_name_the_field_and_what_is_wrong() -> None:
    error = InvalidPayload(problems=[Problem("profiles[3].email", "is not an email address")])

    assert str(error) == "profiles[3].email: is not an email address"

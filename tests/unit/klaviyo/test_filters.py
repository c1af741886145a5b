"""Filters read back by a parser that shares nothing with the builder."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from klaviyo_bridge.errors import InvalidPayload
from klaviyo_bridge.klaviyo import filters


class Reader:
    """Klaviyo's filter grammar, by hand: `operator(field,value)`, lists, JSON strings, bare times."""

    def __init__(self, text: str) -> None:
        self.text, self.at = text, 0

    def read(self) -> Any:
        found = self.condition()
        assert self.at == len(self.text), f"left over: {self.text[self.at :]!r}"
        return found

    def condition(self) -> Any:
        operator = self.until("(")
        if operator == "and":
            parts = [self.condition()]
            while self.peek() == ",":
                self.at += 1
                parts.append(self.condition())
            self.expect(")")
            return ("and", parts)
        field = ""
        while self.peek() not in ",)":
            field += self.take()
        if self.take() == ")":
            return (operator, field)
        value = self.value()
        self.expect(")")
        return (operator, field, value)

    def value(self) -> Any:
        if self.peek() == '"':
            value, length = json.JSONDecoder().raw_decode(self.text[self.at :])
            self.at += length
            return value
        if self.peek() == "[":
            self.at += 1
            items = [self.value()]
            while self.peek() == ",":
                self.at += 1
                items.append(self.value())
            self.expect("]")
            return items
        return self.bare()

    def bare(self) -> Any:
        word = ""
        while self.peek() not in ",)]":
            word += self.take()
        if word in ("true", "false"):
            return word == "true"
        if "T" in word:
            return datetime.fromisoformat(word)
        return float(word) if any(mark in word for mark in ".e") else int(word)

    def until(self, mark: str) -> str:
        end = self.text.index(mark, self.at)
        found, self.at = self.text[self.at : end], end + 1
        return found

    def peek(self) -> str:
        return self.text[self.at]

    def take(self) -> str:
        self.at += 1
        return self.text[self.at - 1]

    def expect(self, mark: str) -> None:
        assert self.take() == mark


TEXT = st.text(st.characters(exclude_categories=["Cs"])) | st.sampled_from(
    ['"', "\\", '")', '\\")', ",", "),equals(email,", "a\nb", "a b  c", "ada+x@example.com", "'", "\x00", "🙂"]
)
MOMENTS = st.datetimes(timezones=st.just(UTC)) | st.datetimes(
    min_value=datetime(1900, 1, 2), max_value=datetime(2200, 1, 1), timezones=st.just(timezone(timedelta(hours=5)))
)
SCALARS = TEXT | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | MOMENTS
FIELDS = st.sampled_from(["email", "messages.channel", "$value", "push_token", "integration.name"])


@given(FIELDS, SCALARS | st.lists(SCALARS, min_size=1, max_size=4))
def test_every_value_is_read_back_as_it_was(field: str, value: Any) -> None:
    assert Reader(filters.equals(field, value)).read() == ("equals", field, value)


@given(st.lists(st.tuples(FIELDS, TEXT), min_size=2, max_size=4))
def test_conditions_stay_apart_whatever_their_values(parts: list[tuple[str, str]]) -> None:
    text = filters.all_of(*(filters.equals(field, value) for field, value in parts))

    assert Reader(text).read() == ("and", [("equals", field, value) for field, value in parts])


@pytest.mark.parametrize(
    ("built", "text"),
    [
        (filters.equals("email", "a+b@example.com"), 'equals(email,"a+b@example.com")'),
        (filters.equals("name", ["Black Friday Sale"]), 'equals(name,["Black Friday Sale"])'),
        (filters.any_of("id", ["01A", "01B"]), 'any(id,["01A","01B"])'),
        (filters.contains("name", "x"), 'contains(name,"x")'),
        (filters.contains_any("send_channel", ["email"]), 'contains-any(send_channel,["email"])'),
        (filters.contains_all("tag", ["a"]), 'contains-all(tag,["a"])'),
        (filters.starts_with("name", "x"), 'starts-with(name,"x")'),
        (filters.ends_with("name", "x"), 'ends-with(name,"x")'),
        (filters.has("metric"), "has(metric)"),
        (
            filters.greater_than("updated", datetime(2026, 10, 1, 2, tzinfo=timezone(timedelta(hours=2)))),
            "greater-than(updated,2026-10-01T00:00:00Z)",
        ),
        (filters.greater_or_equal("value", 3), "greater-or-equal(value,3)"),
        (filters.less_than("value", 3.5), "less-than(value,3.5)"),
        (filters.less_or_equal("value", 3), "less-or-equal(value,3)"),
        (filters.equals("archived", False), "equals(archived,false)"),
        (filters.all_of("has(metric)"), "has(metric)"),
    ],
)
def test_the_text_of_a_filter(built: str, text: str) -> None:
    assert built == text


@pytest.mark.parametrize(
    "build",
    [
        pytest.param(lambda: filters.equals("email,x", "a"), id="comma in a field"),
        pytest.param(lambda: filters.equals("email)", "a"), id="bracket in a field"),
        pytest.param(lambda: filters.equals("", "a"), id="no field"),
        pytest.param(lambda: filters.equals("email\n", "a"), id="newline in a field"),
        pytest.param(lambda: filters.equals("email", "\ud800"), id="half a surrogate pair"),
        pytest.param(lambda: filters.any_of("email", []), id="nothing to match"),
        pytest.param(lambda: filters.equals("value", float("nan")), id="NaN"),
        pytest.param(lambda: filters.equals("value", float("inf")), id="infinity"),
        pytest.param(lambda: filters.greater_than("updated", datetime(2026, 1, 1)), id="naive time"),
        pytest.param(filters.all_of, id="no condition"),
    ],
)
def test_what_no_filter_can_say_is_refused(build: Any) -> None:
    with pytest.raises(InvalidPayload):
        build()

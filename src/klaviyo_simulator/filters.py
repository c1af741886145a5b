"""The filter grammar of Klaviyo's collections: parsing, which operators a field allows, and evaluation."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from klaviyo_simulator.errors import ApiError, invalid
from klaviyo_simulator.times import looks_like_datetime, parse_instant

COMPARE = ("greater-or-equal", "greater-than", "less-or-equal", "less-than")
_NAME = re.compile(r"[A-Za-z][A-Za-z-]*")
_FIELD = re.compile(r"[A-Za-z_$][\w$ .\-]*")
_BARE = re.compile(r"[^,)\]\s][^,)\]]*")
_NUMBER = re.compile(r"-?\d+(\.\d+)?")


@dataclass(frozen=True, slots=True)
class Instant:
    """A bare datetime in a filter."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Condition:
    operator: str
    field: str
    value: Any


@dataclass(frozen=True, slots=True)
class Allowed:
    """What may be asked of one field. `kind` is text, datetime, boolean or number."""

    operators: tuple[str, ...]
    kind: str = "text"


def text(*operators: str) -> Allowed:
    return Allowed(operators)


def moment(*operators: str) -> Allowed:
    return Allowed(operators or COMPARE, "datetime")


def flag(*operators: str) -> Allowed:
    return Allowed(operators, "boolean")


def parse_filter(expression: str, allowed: Mapping[str, Allowed]) -> list[Condition]:
    """The conditions, all of which must hold. ApiError 400 with Klaviyo's words."""
    conditions = _Parser(expression).conditions()
    for condition in conditions:
        _check(condition, allowed)
    return conditions


def matches(condition: Condition, actual: Any) -> bool:
    """Whether a value fulfils a condition."""
    return _TESTS[condition.operator](actual, condition.value)


def wrong_filter(detail: str = "Invalid filter provided.") -> ApiError:
    return invalid(detail, parameter="filter")


class _Parser:
    def __init__(self, source: str) -> None:
        self._source = source
        self._at = 0

    def conditions(self) -> list[Condition]:
        found = self._sequence()
        if self._at != len(self._source):
            raise wrong_filter()
        return found

    def _sequence(self) -> list[Condition]:
        found = self._term()
        while self._accept(","):
            found += self._term()
        return found

    def _term(self) -> list[Condition]:
        operator = self._match(_NAME)
        self._expect("(")
        if operator == "and":
            inner = self._sequence()
        elif operator == "has":
            inner = [Condition("has", self._match(_FIELD).strip(), True)]
        elif operator in _TESTS:
            inner = [self._comparison(operator)]
        else:
            raise wrong_filter(f"'{operator}' is not a valid filter operator.")
        self._expect(")")
        return inner

    def _comparison(self, operator: str) -> Condition:
        name = self._match(_FIELD).strip()
        self._expect(",")
        return Condition(operator, name, self._value())

    def _value(self) -> Any:
        self._space()
        start = self._peek()
        if start in ('"', "'"):
            return self._quoted(start)
        if start == "[":
            return self._list()
        return _bare(self._match(_BARE).strip())

    def _list(self) -> list[Any]:
        self._expect("[")
        values: list[Any] = []
        while self._peek() != "]":
            values.append(self._value())
            if not self._accept(","):
                break
        self._expect("]")
        return values

    def _quoted(self, quote: str) -> str:
        self._at += 1
        parts: list[str] = []
        while (char := self._next()) != quote:
            parts.append(_ESCAPES.get(escaped := self._next(), escaped) if char == "\\" else char)
        return "".join(parts)

    def _next(self) -> str:
        char = self._peek()
        if not char:
            raise wrong_filter()
        self._at += 1
        return char

    def _peek(self) -> str:
        return self._source[self._at : self._at + 1]

    def _space(self) -> None:
        while self._peek() == " ":
            self._at += 1

    def _accept(self, char: str) -> bool:
        self._space()
        if self._peek() != char:
            return False
        self._at += 1
        self._space()
        return True

    def _expect(self, char: str) -> None:
        if not self._accept(char):
            raise wrong_filter()

    def _match(self, pattern: re.Pattern[str]) -> str:
        self._space()
        found = pattern.match(self._source, self._at)
        if found is None:
            raise wrong_filter()
        self._at = found.end()
        return found.group()


_ESCAPES = {"n": "\n", "t": "\t", "r": "\r", "b": "\b", "f": "\f"}
_WORDS = {"true": True, "false": False, "null": None}


def _bare(word: str) -> Any:
    if word in _WORDS:
        return _WORDS[word]
    if looks_like_datetime(word):
        return _instant(word)
    if _NUMBER.fullmatch(word):
        return float(word) if "." in word else int(word)
    raise wrong_filter()


def _instant(word: str) -> Instant:
    try:
        return Instant(parse_instant(word))
    except ValueError:
        raise wrong_filter() from None


def _check(condition: Condition, allowed: Mapping[str, Allowed]) -> None:
    rule = allowed.get(condition.field)
    if rule is None:
        names = ",".join(sorted(allowed))
        raise wrong_filter(
            f"'{condition.field}' is not a filterable field for this resource.  Filterable fields are {names}"
        )
    if condition.operator not in rule.operators:
        raise wrong_filter(
            f"'{condition.operator}' is not an allowed filter operator for {condition.field}.  "
            f"Allowed operators are {','.join(sorted(rule.operators))}"
        )
    if condition.operator != "has":
        _check_value(condition, rule)


def _check_value(condition: Condition, rule: Allowed) -> None:
    value = condition.value
    if condition.operator == "any" and not isinstance(value, list):
        raise wrong_filter()
    values: list[Any] = value if isinstance(value, list) else [value]  # pyright: ignore[reportUnknownVariableType]
    if not all(isinstance(item, _KINDS[rule.kind]) for item in values):
        raise wrong_filter()


_KINDS: dict[str, tuple[type, ...]] = {
    "text": (str,),
    "datetime": (Instant,),
    "timestamp": (Instant, int),
    "boolean": (bool,),
    "number": (int, float),
}


def _equals(actual: Any, wanted: Any) -> bool:
    if isinstance(wanted, Instant):
        return actual is not None and int(actual) == int(wanted.seconds)
    return actual in wanted if isinstance(wanted, list) else actual == wanted


def _number(wanted: Any) -> float:
    return wanted.seconds if isinstance(wanted, Instant) else wanted


_TESTS: dict[str, Callable[[Any, Any], bool]] = {
    "equals": _equals,
    "any": _equals,
    "has": lambda actual, wanted: bool(actual),
    "contains": lambda actual, wanted: actual is not None and wanted.lower() in actual.lower(),
    "contains-any": lambda actual, wanted: any(item in (actual or ()) for item in wanted),
    "contains-all": lambda actual, wanted: all(item in (actual or ()) for item in wanted),
    "starts-with": lambda actual, wanted: actual is not None and actual.startswith(wanted),
    "ends-with": lambda actual, wanted: actual is not None and actual.endswith(wanted),
    "greater-than": lambda actual, wanted: actual is not None and actual > _number(wanted),
    "greater-or-equal": lambda actual, wanted: actual is not None and actual >= _number(wanted),
    "less-than": lambda actual, wanted: actual is not None and actual < _number(wanted),
    "less-or-equal": lambda actual, wanted: actual is not None and actual <= _number(wanted),
}

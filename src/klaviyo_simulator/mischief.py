"""What a fault does to a request or an answer, short of the socket itself (that is in `app`)."""

from __future__ import annotations

import random
from typing import Any

import orjson

from klaviyo_simulator.door import JSON_API, Answer, Headers
from klaviyo_simulator.errors import ApiError, Problem
from klaviyo_simulator.faults import Rule

BEFORE = ("status", "html", "body", "latency", "reset_before", "hang")
AFTER = (
    "slow_body",
    "truncate",
    "reset_after",
    "reset_during",
    "missing_headers",
    "wrong_limits",
    "unknown_enum",
    "extra_field",
)
_HTML = (
    "<!DOCTYPE html><html><head><title>{title}</title></head>"
    "<body><h1>{title}</h1><p>Cloudflare Ray ID: 7f00000000000000</p></body></html>"
)
_CODES = {429: "throttled", 503: "service_unavailable", 504: "timeout"}


def replacing(rule: Rule, new_id: Any) -> Answer:
    """The answer that a status, html or body fault gives instead."""
    status = int(rule.number("status", 403 if rule.kind == "html" else 503))
    if rule.kind == "html":
        title = str(rule.params.get("title", "Attention Required! | Cloudflare"))
        return Answer(status, _HTML.format(title=title).encode(), [(b"Content-Type", b"text/html; charset=UTF-8")])
    if rule.kind == "body":
        kind = str(rule.params.get("content_type", "text/plain")).encode()
        return Answer(status, str(rule.params.get("text", "")).encode(), [(b"Content-Type", kind)])
    return _status_answer(rule, status, new_id)


def _status_answer(rule: Rule, status: int, new_id: Any) -> Answer:
    code = _CODES.get(status, "error" if status >= 500 else "invalid")
    detail = str(rule.params.get("detail", "A server error occurred."))
    body = orjson.dumps(ApiError(status, Problem(detail=detail, code=code)).document(new_id))
    if status in (502, 504, 520, 522, 524) and "detail" not in rule.params:
        page = _HTML.format(title=f"{status}").encode()
        return Answer(status, page, [(b"Content-Type", b"text/html")])
    headers: Headers = [] if status == 429 else [JSON_API]
    retry_after = rule.params.get("retry_after", "1" if status == 429 else None)
    if retry_after is not None:
        headers.append((b"Retry-After", str(retry_after).encode()))
    return Answer(status, body, headers)


def altered(answer: Answer, rules: list[Rule]) -> Answer:
    """The answer with headers left out or changed, and unknown values put in."""
    for rule in rules:
        match rule.kind:
            case "missing_headers":
                answer = _without(answer, rule)
            case "wrong_limits":
                answer = _lying(answer, rule)
            case "unknown_enum" | "extra_field":
                answer = _rewritten(answer, rule)
            case _:
                pass
    return answer


def _without(answer: Answer, rule: Rule) -> Answer:
    standard = ["ratelimit-limit", "ratelimit-remaining", "ratelimit-reset", "content-type"]
    gone = {str(name).lower() for name in rule.params.get("names", standard)}
    kept = [(name, value) for name, value in answer.headers if name.decode().lower() not in gone]
    return Answer(answer.status, answer.body, kept)


def _lying(answer: Answer, rule: Rule) -> Answer:
    text = str(rule.params.get("limit", "1, 1;w=1, 10;w=60")).encode()
    kept = [(name, text if name == b"RateLimit-Limit" else value) for name, value in answer.headers]
    return Answer(answer.status, answer.body, kept)


def _rewritten(answer: Answer, rule: Rule) -> Answer:
    if not answer.body or answer.status >= 400:
        return answer
    document: Any = orjson.loads(answer.body)
    if rule.kind == "unknown_enum":
        _replace(document, str(rule.params.get("attribute", "status")), rule.params.get("value", "brand_new"))
    else:
        _extend(document, str(rule.params.get("name", "brand_new_field")), rule.params.get("value", "surprise"))
    return Answer(answer.status, orjson.dumps(document), answer.headers)


def _replace(node: Any, name: str, value: Any) -> None:
    """Every member of that name, wherever it is."""
    if isinstance(node, dict):
        if name in node:
            node[name] = value
        for inner in node.values():  # pyright: ignore[reportUnknownVariableType]
            _replace(inner, name, value)
    elif isinstance(node, list):
        for inner in node:  # pyright: ignore[reportUnknownVariableType]
            _replace(inner, name, value)


def _extend(document: Any, name: str, value: Any) -> None:
    data = document.get("data")
    for resource in data if isinstance(data, list) else [data]:  # pyright: ignore[reportUnknownVariableType]
        if isinstance(resource, dict) and isinstance(resource.get("attributes"), dict):  # pyright: ignore[reportUnknownMemberType]
            resource["attributes"][name] = value


def delay_of(rules: list[Rule], rng: random.Random, *, after: bool) -> float:
    """Seconds that the latency faults add, before the work or after it."""
    chosen = [rule for rule in rules if rule.kind == "latency" and bool(rule.params.get("after")) == after]
    return sum(rule.number("seconds", 1.0) + rng.random() * rule.number("jitter", 0.0) for rule in chosen)

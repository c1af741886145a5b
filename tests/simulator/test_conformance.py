"""The official SDK accepts every answer.

And the answers fit the published specification where it is at hand.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema_rs
import orjson
import pytest

from klaviyo_simulator.resources.catalogue import OPERATIONS
from klaviyo_simulator.testing import RunningSimulator, running_simulator
from simulator.sdk_walk import Walk

SPECIFICATION = Path(__file__).parents[3] / "shared" / "klaviyo" / "openapi-2026-07-15.json"
NOT_IN_WALK = {
    # Answered 501, or not offered by the SDK as a method of its own.
    "create_flow",
    "update_flow",
    "delete_flow",
    "update_flow_action",
    "delete_flow_action",
    "create_tag",
    "update_tag",
    "delete_tag",
    "create_tag_group",
    "update_tag_group",
    "delete_tag_group",
    "get_image_for_campaign_message",
    "get_image_id_for_campaign_message",
    "update_image_for_campaign_message",
    "get_profile_id_for_push_token",
    "cancel_campaign_send",
    "create_client_event",
    "create_client_profile",
    "create_client_subscription",
}
STATUS_DEVIATIONS = {
    # Recorded live.
    "merge_profiles": 202,
    "delete_template": 200,
    "render_template": 200,
    "clone_template": 200,
}
# Members the live API answers with null although the specification does not say so.
NULL_RECORDED = {"latitude", "longitude", "whatsapp"}


@pytest.fixture(scope="module")
def walked() -> Iterator[RunningSimulator]:
    with running_simulator(limits=False, kdp=True) as klaviyo:
        Walk(klaviyo).all()
        yield klaviyo


@pytest.mark.filterwarnings("ignore")
def test_the_official_sdk_walks_through_all_operations(walked: RunningSimulator) -> None:
    called = {item["operation"] for item in walked.control.requests(limit=100_000)}

    assert {operation.id for operation in OPERATIONS} - called == NOT_IN_WALK


@pytest.mark.filterwarnings("ignore")
def test_nothing_in_the_walk_was_refused(walked: RunningSimulator) -> None:
    refused = [
        (item["operation"], item["status"], item["answer"])
        for item in walked.control.requests(limit=100_000)
        if item["status"] >= 400
    ]

    assert refused == []


def with_nulls(node: Any) -> Any:
    """The specification's schema as JSON Schema: `nullable` becomes a type, links may be null (recorded)."""
    if isinstance(node, list):
        return [with_nulls(item) for item in node]
    if not isinstance(node, dict):
        return node
    changed = {name: with_nulls(value) for name, value in node.items()}
    for name in NULL_RECORDED & set(changed):
        changed[name] = {"anyOf": [changed[name], {"type": "null"}]}
    if changed.get("nullable") and "type" in changed:
        changed["type"] = [changed["type"], "null"]
        if "enum" in changed:
            changed["enum"] = [*changed["enum"], None]
    if changed.get("format") == "uri":
        changed["type"] = ["string", "null"]
    # The generator of the specification writes oneOf where its branches overlap.
    if "oneOf" in changed:
        changed["anyOf"] = changed.pop("oneOf")
    return changed


@pytest.fixture(scope="module")
def specification() -> dict[str, Any]:
    if not SPECIFICATION.exists():
        pytest.skip("the specification is not here")
    return with_nulls(orjson.loads(SPECIFICATION.read_bytes()))


def declared(specification: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {
        operation["operationId"]: operation["responses"]
        for path in specification["paths"].values()
        for operation in path.values()
        if isinstance(operation, dict) and "operationId" in operation
    }


KEPT = 32 * 1024


@pytest.mark.filterwarnings("ignore")
def test_answers_fit_the_specification(walked: RunningSimulator, specification: dict[str, Any]) -> None:
    responses = declared(specification)
    components = specification["components"]
    wrong: list[str] = []
    for item in walked.control.requests(limit=100_000):
        expected = responses[item["operation"]]
        status = str(item["status"])
        if STATUS_DEVIATIONS.get(item["operation"]) == item["status"]:
            status = next(code for code in expected if code.startswith("2"))
        if status not in expected:
            wrong.append(f"{item['operation']}: status {status}")
            continue
        content = expected[status].get("content")
        whole = len(item["answer"] or "") < KEPT  # the log keeps no more of a body
        if content and item["answer"] and whole and item["operation"] != "delete_template":
            schema = {"components": components, **next(iter(content.values()))["schema"]}
            validator = jsonschema_rs.Draft202012Validator(schema)
            answer = orjson.loads(item["answer"])
            wrong += [
                f"{item['operation']}: {error.message[:150]} at {error.instance_path}"
                for error in validator.iter_errors(answer)
            ]

    assert not sorted(set(wrong)), "\n".join(sorted(set(wrong)))

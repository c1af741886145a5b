"""The table of limits against Klaviyo's published ones."""

from __future__ import annotations

import pytest

from klaviyo_bridge.klaviyo.limits import LIMITS, Window, limit_for


@pytest.mark.parametrize(
    ("operation", "burst", "steady", "daily"),
    [
        ("bulk_import_profiles", 10, 150, None),
        ("create_or_update_profile", 75, 750, None),
        ("create_event", 350, 3500, None),
        ("bulk_create_events", 10, 150, None),
        ("bulk_subscribe_profiles", 75, 750, None),
        ("request_profile_deletion", 3, 60, None),
        ("get_accounts", 1, 15, None),
        ("create_list", 10, 150, 150),
        ("create_segment", 1, 15, 100),
        ("query_campaign_values", 1, 2, 225),
    ],
)
def test_what_klaviyo_allows(operation: str, burst: int, steady: int, daily: int | None) -> None:
    limit = LIMITS[operation]

    assert (limit.burst, limit.steady, limit.daily) == (burst, steady, daily)


def test_windows_come_shortest_first() -> None:
    assert LIMITS["create_list"].windows == (Window(10, 1.0), Window(150, 60.0), Window(150, 86_400.0))


@pytest.mark.parametrize(
    ("operation", "query", "steady", "lane"),
    [
        ("get_list", [("additional-fields[list]", "profile_count")], 15, "get_list+profile_count"),
        ("get_segment", [("additional-fields[segment]", "profile_count")], 15, "get_segment+profile_count"),
        ("get_profiles", [("additional-fields[profile]", "subscriptions")], 750, "get_profiles"),
        (
            "get_profiles",
            [("additional-fields[profile]", "subscriptions,predictive_analytics")],
            150,
            "get_profiles+predictive_analytics",
        ),
        ("get_profile", [("include", "lists")], 15, "get_profile+lists"),
        ("get_profile", [], 750, "get_profile"),
        ("get_lists", [("additional-fields[list]", "profile_count")], 750, "get_lists"),
    ],
)
def test_some_requests_have_lower_limits(operation: str, query: list[tuple[str, str]], steady: int, lane: str) -> None:
    limit = limit_for(operation, query)

    assert (limit.steady, limit.lane) == (steady, lane)


def test_posts_that_only_read_are_known_as_reads() -> None:
    assert {name for name, limit in LIMITS.items() if limit.reads and limit.method == "POST"} == {
        "query_campaign_values",
        "query_flow_series",
        "query_flow_values",
        "query_form_series",
        "query_form_values",
        "query_metric_aggregates",
        "query_segment_series",
        "query_segment_values",
        "render_template",
    }


def test_every_path_is_one_of_the_api() -> None:
    assert all(limit.path.startswith("/api/") and limit.burst < limit.steady for limit in LIMITS.values())

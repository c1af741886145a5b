"""All operations the simulator knows, and the areas it does not."""

from __future__ import annotations

from klaviyo_simulator.resources import (
    accounts,
    consents,
    events,
    imports,
    lists,
    metrics,
    profiles,
    push_tokens,
    segments,
    webhooks,
)
from klaviyo_simulator.routing import Operation

OPERATIONS: list[Operation] = [
    *accounts.OPERATIONS,
    *profiles.OPERATIONS,
    *push_tokens.OPERATIONS,
    *imports.OPERATIONS,
    *consents.OPERATIONS,
    *events.OPERATIONS,
    *metrics.OPERATIONS,
    *lists.OPERATIONS,
    *segments.OPERATIONS,
    *webhooks.OPERATIONS,
]

NOT_IMPLEMENTED = (
    "back-in-stock-subscriptions",
    "brands",
    "campaign-audiences",
    "campaign-schedule",
    "campaign-variations",
    "catalog-categories",
    "catalog-category-bulk-create-jobs",
    "catalog-category-bulk-delete-jobs",
    "catalog-category-bulk-update-jobs",
    "catalog-item-bulk-create-jobs",
    "catalog-item-bulk-delete-jobs",
    "catalog-item-bulk-update-jobs",
    "catalog-items",
    "catalog-variant-bulk-create-jobs",
    "catalog-variant-bulk-delete-jobs",
    "catalog-variant-bulk-update-jobs",
    "catalog-variants",
    "conversation-messages",
    "coupon-code-bulk-create-jobs",
    "coupon-codes",
    "coupons",
    "custom-metrics",
    "custom-objects",
    "data-sources",
    "data-source-records",
    "form-series-reports",
    "form-values-reports",
    "form-versions",
    "forms",
    "image-upload",
    "images",
    "mapped-metrics",
    "reviews",
    "template-universal-content",
    "tracking-settings",
    "web-feeds",
)
"""First path segments under /api/ that Klaviyo has and the simulator answers 501."""

"""Operations on metrics and their properties."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Any

from klaviyo_simulator.account import Account
from klaviyo_simulator.documents import Linkage, identifiers, many, one, resource
from klaviyo_simulator.errors import JsonObject, not_found
from klaviyo_simulator.events import Metric
from klaviyo_simulator.filters import Condition, matches, text
from klaviyo_simulator.flows import Flow, flows_of
from klaviyo_simulator.limits import XS, M
from klaviyo_simulator.ordering import Ordering
from klaviyo_simulator.paging import paginate
from klaviyo_simulator.query import QuerySpec, names
from klaviyo_simulator.resources import fieldnames
from klaviyo_simulator.resources.flow_shapes import flow_resource
from klaviyo_simulator.resources.shapes import metric_resource
from klaviyo_simulator.routing import Call, Operation, Reply

PAGE = 200
SAMPLE = 2000


def the_metric(account: Account, metric_id: str) -> Metric:
    found = account.metrics.by_id.get(metric_id)
    if found is None:
        raise not_found(f"A metric with id {metric_id} does not exist.")
    return found


def _keeps(metric: Metric, condition: Condition) -> bool:
    name = condition.field.removeprefix("integration.")
    return matches(condition, getattr(metric.integration, name))


def _flows(call: Call, metric: Metric) -> list[Flow]:
    return [flow for flow in flows_of(call.account).values() if flow.metric_name == metric.name]


def _relations(call: Call, metric: Metric) -> dict[str, Linkage]:
    if "flow-triggers" not in call.query.include:
        return {}
    return {"flow-triggers": [("flow", flow.id) for flow in _flows(call, metric)]}


def _included(call: Call, metrics: Iterable[Metric]) -> list[JsonObject]:
    return [flow_resource(call, flow) for metric in metrics for flow in _flows(call, metric)]


def get_metrics(call: Call) -> Reply:
    metrics = call.account.metrics
    chosen = (item for item in metrics if all(_keeps(item, condition) for condition in call.query.conditions))
    page = paginate(Ordering((item.id,) for item in chosen), call.query, strict=call.world.switches.strict_cursors)
    found = [metrics.by_id[key[0]] for key in page.keys]
    rows = [metric_resource(call, item, _relations(call, item)) for item in found]
    return many(call, rows, page=page, included=_included(call, found))


def get_metric(call: Call) -> Reply:
    metric = the_metric(call.account, call.params["id"])
    return one(call, metric_resource(call, metric, _relations(call, metric)), included=_included(call, [metric]))


def get_flows_triggered_by_metric(call: Call) -> Reply:
    return many(call, _included(call, [the_metric(call.account, call.params["id"])]))


def get_ids_for_flows_triggered_by_metric(call: Call) -> Reply:
    metric = the_metric(call.account, call.params["id"])
    return identifiers(call, "flow", [flow.id for flow in _flows(call, metric)])


def _samples(account: Account, metric: Metric) -> dict[str, list[Any]]:
    """Values seen per property, in the newest events of the metric."""
    seen: dict[str, list[Any]] = {}
    ordering = account.events.ordered(metric_id=metric.id)
    for key in islice(ordering.walk_back(), SAMPLE):
        for name, value in account.events.by_id[key[-1]].read_properties().items():
            seen.setdefault(name, []).append(value)
    return seen


def property_id(metric: Metric, name: str) -> str:
    return f"{metric.id}:{name}"


def property_resource(call: Call, metric: Metric, name: str, values: list[Any]) -> JsonObject:
    attributes: JsonObject = {"label": name, "property": name, "inferred_type": _inferred(values)}
    if "sample_values" in call.query.additional.get("metric-property", frozenset()):
        attributes["sample_values"] = list(_distinct(values))[:10]
    linkage: Linkage = ("metric", metric.id) if "metric" in call.query.include else None
    return resource(call, "metric-property", property_id(metric, name), attributes, {"metric": linkage})


def _distinct(values: list[Any]) -> Iterator[Any]:
    seen: list[Any] = []
    for value in values:
        if value not in seen:
            seen.append(value)
            yield value


def _inferred(values: list[Any]) -> str:
    kinds: set[type[Any]] = {type(value) for value in values}
    if kinds <= {bool}:
        return "boolean"
    if kinds <= {int, float}:
        return "numeric"
    if kinds <= {list}:
        return "list"
    return "string" if kinds <= {str} else "other"


def get_properties_for_metric(call: Call) -> Reply:
    metric = the_metric(call.account, call.params["id"])
    seen = _samples(call.account, metric)
    return many(call, [property_resource(call, metric, name, seen[name]) for name in sorted(seen)])


def get_property_ids_for_metric(call: Call) -> Reply:
    metric = the_metric(call.account, call.params["id"])
    seen = sorted(_samples(call.account, metric))
    return identifiers(call, "metric-property", [property_id(metric, name) for name in seen])


def _the_property(call: Call) -> tuple[Metric, str, list[Any]]:
    metric_id, _, name = call.params["id"].partition(":")
    metric = call.account.metrics.by_id.get(metric_id)
    seen = _samples(call.account, metric) if metric else {}
    if metric is None or name not in seen:
        raise not_found(f"A metric property with id {call.params['id']} does not exist.")
    return metric, name, seen[name]


def get_metric_property(call: Call) -> Reply:
    metric, name, values = _the_property(call)
    included = [metric_resource(call, metric)]
    return one(call, property_resource(call, metric, name, values), included=included)


def get_metric_for_metric_property(call: Call) -> Reply:
    return one(call, metric_resource(call, _the_property(call)[0]))


def get_metric_id_for_metric_property(call: Call) -> Reply:
    linkage = {"type": "metric", "id": _the_property(call)[0].id}
    return Reply(200, {"data": linkage, "links": {"self": f"{call.base}{call.path}"}})


_METRIC = {"metric": fieldnames.METRIC}
_BOTH = _METRIC | {"flow": fieldnames.FLOW}
_READ = ("metrics:read",)
_FLOWS = ("flows:read", "metrics:read")
_PROPERTY = QuerySpec(
    fields={"metric-property": fieldnames.METRIC_PROPERTY},
    additional={"metric-property": names("sample_values")},
)

OPERATIONS = [
    Operation(
        id="get_metrics",
        method="GET",
        path="/api/metrics",
        handler=get_metrics,
        limit=M,
        scopes=_READ,
        query=QuerySpec(
            fields=_BOTH,
            include=names("flow-triggers"),
            filters={"integration.name": text("equals"), "integration.category": text("equals")},
            cursor=True,
        ),
    ),
    Operation(
        id="get_metric",
        method="GET",
        path="/api/metrics/{id}",
        handler=get_metric,
        limit=M,
        scopes=_READ,
        query=QuerySpec(fields=_BOTH, include=names("flow-triggers")),
    ),
    Operation(
        id="get_flows_triggered_by_metric",
        method="GET",
        path="/api/metrics/{id}/flow-triggers",
        handler=get_flows_triggered_by_metric,
        limit=M,
        scopes=_FLOWS,
        query=QuerySpec(fields={"flow": fieldnames.FLOW}),
    ),
    Operation(
        id="get_ids_for_flows_triggered_by_metric",
        method="GET",
        path="/api/metrics/{id}/relationships/flow-triggers",
        handler=get_ids_for_flows_triggered_by_metric,
        limit=M,
        scopes=_FLOWS,
    ),
    Operation(
        id="get_properties_for_metric",
        method="GET",
        path="/api/metrics/{id}/metric-properties",
        handler=get_properties_for_metric,
        limit=XS,
        scopes=_READ,
        query=_PROPERTY,
    ),
    Operation(
        id="get_property_ids_for_metric",
        method="GET",
        path="/api/metrics/{id}/relationships/metric-properties",
        handler=get_property_ids_for_metric,
        limit=XS,
        scopes=_READ,
    ),
    Operation(
        id="get_metric_property",
        method="GET",
        path="/api/metric-properties/{id}",
        handler=get_metric_property,
        limit=XS,
        scopes=_READ,
        query=QuerySpec(
            fields=_METRIC | {"metric-property": fieldnames.METRIC_PROPERTY},
            additional={"metric-property": names("sample_values")},
            include=names("metric"),
        ),
    ),
    Operation(
        id="get_metric_for_metric_property",
        method="GET",
        path="/api/metric-properties/{id}/metric",
        handler=get_metric_for_metric_property,
        limit=XS,
        scopes=_READ,
        query=QuerySpec(fields=_METRIC),
    ),
    Operation(
        id="get_metric_id_for_metric_property",
        method="GET",
        path="/api/metric-properties/{id}/relationships/metric",
        handler=get_metric_id_for_metric_property,
        limit=XS,
        scopes=_READ,
    ),
]

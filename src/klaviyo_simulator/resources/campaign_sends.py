"""Operations that send, cancel and estimate campaigns. The job ids are the campaign ids."""

from __future__ import annotations

from collections.abc import Callable

from klaviyo_simulator.bodies import Body, choice, data, fields, resource
from klaviyo_simulator.campaigning import CANCELLED, SENT, Campaign, begin, cancel, problem_with, recipients
from klaviyo_simulator.documents import empty, one
from klaviyo_simulator.documents import resource as document
from klaviyo_simulator.errors import conflict, invalid, not_found
from klaviyo_simulator.limits import M
from klaviyo_simulator.query import QuerySpec, names
from klaviyo_simulator.resources.campaign_shapes import the_campaign
from klaviyo_simulator.resources.campaigns import classic
from klaviyo_simulator.routing import Call, Operation, Reply

SEND_JOB = "campaign-send-job"
ESTIMATION_JOB = "campaign-recipient-estimation-job"
ESTIMATION = "campaign-recipient-estimation"


def _status(call: Call, kind: str, item: Campaign, status: str | None, *, code: int = 200) -> Reply:
    if status is None:
        raise not_found(f"{kind} with id {item.id} not found.")
    return one(call, document(call, kind, item.id, {"status": status}), status=code)


def send_campaign(call: Call) -> Reply:
    item = the_campaign(call.account, call.data["id"])
    problem = problem_with(call.account, item)
    if problem is not None:
        raise conflict(problem) if item.job_status else invalid(problem, pointer="/data/id")
    begin(call.account, item, call.cause)
    return _status(call, SEND_JOB, item, "queued", code=202)


def get_campaign_send_job(call: Call) -> Reply:
    item = the_campaign(call.account, call.params["id"])
    return _status(call, SEND_JOB, item, item.job_status)


def cancel_campaign_send(call: Call) -> Reply:
    item = the_campaign(call.account, call.params["id"])
    if item.job_status is None:
        raise not_found(f"{SEND_JOB} with id {item.id} not found.")
    if item.status in (SENT, CANCELLED):
        raise conflict(f"A campaign with status '{item.status}' cannot be cancelled.")
    cancel(call.account, item, call.cause, revert=call.attributes["action"] == "revert")
    return empty(204)


def refresh_campaign_recipient_estimation(call: Call) -> Reply:
    """202 now; with the switch `estimation_works` off, both GETs stay 404 as on a recorded account."""
    item = the_campaign(call.account, call.data["id"])
    account = call.account
    if call.world.switches.estimation_works:
        item.estimate_status = "queued"

        def work() -> None:
            item.estimate, item.estimate_status = len(recipients(account, item)), "complete"

        call.world.scheduler.after(call.world.switches.delay_send, work)
    return _status(call, ESTIMATION_JOB, item, "queued", code=202)


def get_campaign_recipient_estimation_job(call: Call) -> Reply:
    item = the_campaign(call.account, call.params["id"])
    return _status(call, ESTIMATION_JOB, item, item.estimate_status)


def get_campaign_recipient_estimation(call: Call) -> Reply:
    item = the_campaign(call.account, call.params["id"])
    if item.estimate is None:
        raise not_found(f"{ESTIMATION} with id {item.id} not found.")
    return one(call, document(call, ESTIMATION, item.id, {"estimated_recipient_count": item.estimate}))


def _op(
    name: str, method: str, path: str, handler: Callable[[Call], Reply], kind: str, body: Body | None = None
) -> Operation:
    return Operation(
        id=name,
        method=method,
        path=path,
        handler=classic(handler),
        limit=M,
        scopes=("campaigns:read",) if method == "GET" else ("campaigns:write",),
        query=QuerySpec(fields={kind: names("id status estimated_recipient_count")}),
        body=body,
    )


_ACTION = fields({"action": choice("cancel", "revert")})

OPERATIONS = [
    _op(
        "send_campaign",
        "POST",
        "/api/campaign-send-jobs",
        send_campaign,
        SEND_JOB,
        Body(data(resource(SEND_JOB, needs_id=True))),
    ),
    _op("get_campaign_send_job", "GET", "/api/campaign-send-jobs/{id}", get_campaign_send_job, SEND_JOB),
    _op(
        "cancel_campaign_send",
        "PATCH",
        "/api/campaign-send-jobs/{id}",
        cancel_campaign_send,
        SEND_JOB,
        Body(data(resource(SEND_JOB, needs_id=True, attributes=_ACTION))),
    ),
    _op(
        "refresh_campaign_recipient_estimation",
        "POST",
        "/api/campaign-recipient-estimation-jobs",
        refresh_campaign_recipient_estimation,
        ESTIMATION_JOB,
        Body(data(resource(ESTIMATION_JOB, needs_id=True))),
    ),
    _op(
        "get_campaign_recipient_estimation_job",
        "GET",
        "/api/campaign-recipient-estimation-jobs/{id}",
        get_campaign_recipient_estimation_job,
        ESTIMATION_JOB,
    ),
    _op(
        "get_campaign_recipient_estimation",
        "GET",
        "/api/campaign-recipient-estimations/{id}",
        get_campaign_recipient_estimation,
        ESTIMATION,
    ),
]

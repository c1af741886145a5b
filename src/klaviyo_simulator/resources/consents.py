"""Subscribe, unsubscribe, suppress and unsuppress: the requests; what they do is in `consenting`."""

from __future__ import annotations

from collections.abc import Callable, Generator

from klaviyo_simulator.account import Account, Job, MailingList
from klaviyo_simulator.bodies import (
    FLAG_OR_NULL,
    TEXT,
    TEXT_OR_NULL,
    Body,
    Schema,
    array,
    data,
    fields,
    reference,
    resource,
)
from klaviyo_simulator.consenting import Terms, subscribe, suppress, unsubscribe, unsuppress, wanted_channels
from klaviyo_simulator.documents import LINKS_ONLY, Linkage, empty, many, one
from klaviyo_simulator.documents import resource as document
from klaviyo_simulator.errors import ApiError, JsonObject, Problem, invalid, not_found
from klaviyo_simulator.filters import text
from klaviyo_simulator.later import do_later
from klaviyo_simulator.limits import L
from klaviyo_simulator.log import Cause
from klaviyo_simulator.people import create, identifier_problems, match, problems_error, region_problem
from klaviyo_simulator.profiles import Profile
from klaviyo_simulator.query import QuerySpec
from klaviyo_simulator.reading import list_in, object_in, within
from klaviyo_simulator.resources import fieldnames
from klaviyo_simulator.resources.imports import jobs_page, the_job
from klaviyo_simulator.resources.schemas import SUBSCRIPTIONS, WITHDRAWALS
from klaviyo_simulator.resources.shapes import the_list
from klaviyo_simulator.routing import Call, Operation, Reply
from klaviyo_simulator.times import iso, iso_or_none, parse_instant

ROWS = "/data/attributes/profiles/data"
LIST_POINTER = "/data/relationships/list/data/id"
SUPPRESS = "profile-suppression-bulk-create-job"
UNSUPPRESS = "profile-suppression-bulk-delete-job"


def bulk_subscribe_profiles(call: Call) -> Reply:
    rows: list[JsonObject] = call.attributes["profiles"]["data"]
    historical = bool(call.attributes.get("historical_import"))
    problems = _identifier_problems(call, rows)
    for index, row in enumerate(rows):
        problems += _subscribe_problems(call, row, f"{ROWS}/{index}", historical=historical)
    problems_error(problems)
    terms = Terms(
        mailing_list=_wanted_list(call),
        historical=historical,
        source=call.attributes.get("custom_source"),
        cause=call.cause,
    )
    account = call.account

    def work() -> Generator[None]:
        for index, row in enumerate(rows):
            subscribe(account, row, terms)
            if index % 100 == 99:
                yield

    do_later(account, call.operation.id, call.world.switches.delay_subscribe, work)
    return empty(202)


def bulk_unsubscribe_profiles(call: Call) -> Reply:
    rows: list[JsonObject] = call.attributes["profiles"]["data"]
    problems = _identifier_problems(call, rows)
    for index, row in enumerate(rows):
        if not wanted_channels(row["attributes"]["subscriptions"]):
            problems.append(_no_channel(f"{ROWS}/{index}"))
    problems_error(problems)
    mailing_list, account, cause = _wanted_list(call), call.account, call.cause

    def work() -> None:
        for row in rows:
            unsubscribe(account, row, mailing_list, cause)

    do_later(account, call.operation.id, call.world.switches.delay_unsubscribe, work)
    return empty(202)


def _identifier_problems(call: Call, rows: list[JsonObject]) -> list[Problem]:
    problems: list[Problem] = []
    for index, row in enumerate(rows):
        attributes: JsonObject = row["attributes"]
        pointer = f"{ROWS}/{index}/attributes"
        problems += identifier_problems(attributes, pointer)
        region = region_problem(attributes.get("phone_number"), call.world.switches, f"{pointer}/phone_number")
        if region is not None:
            problems.append(region)
        if not (attributes.get("email") or attributes.get("phone_number") or row.get("id")):
            detail = "One of the following identifiers must be provided: email, phone_number"
            problems.append(Problem(detail=detail, pointer=pointer))
    return problems


def _no_channel(pointer: str) -> Problem:
    detail = "At least one channel must be provided in 'subscriptions'."
    return Problem(detail=detail, pointer=f"{pointer}/attributes/subscriptions")


def _subscribe_problems(call: Call, row: JsonObject, pointer: str, *, historical: bool) -> list[Problem]:
    attributes: JsonObject = row["attributes"]
    subscriptions: JsonObject = attributes["subscriptions"]
    where = f"{pointer}/attributes"
    channels = wanted_channels(subscriptions)
    if not channels:
        return [_no_channel(pointer)]
    problems: list[Problem] = []
    if subscriptions.get("sms") and not attributes.get("phone_number"):
        detail = "'phone_number' must not be empty when the sms channel is included"
        problems.append(Problem(detail=detail, pointer=f"{where}/phone_number"))
    if subscriptions.get("email") and not attributes.get("email") and not row.get("id"):
        detail = "'email' must not be empty when the email channel is included"
        problems.append(Problem(detail=detail, pointer=f"{where}/email"))
    for channel, asked in channels.items():
        detail = _consented_at_problem(call, row, channel, asked.get("consented_at"), historical=historical)
        if detail:
            problems.append(Problem(detail=detail, pointer=f"{where}/subscriptions"))
    return problems


def _consented_at_problem(
    call: Call, row: JsonObject, channel: str, text_: str | None, *, historical: bool
) -> str | None:
    if channel == "open_tracking":
        return None
    if text_ is None:
        return "'consented_at' is required when historical_import is true" if historical else None
    if not historical:
        return "'consented_at' is only allowed when historical_import is true"
    try:
        at = parse_instant(text_)
    except ValueError:
        return "'consented_at' is not a valid datetime"
    if at >= call.account.now():
        return "'consented_at' must be in the past"
    return _backdated(call, row, channel, at)


def _backdated(call: Call, row: JsonObject, channel: str, at: float) -> str | None:
    found = match(call.account, row["attributes"], profile_id=row.get("id")).profile
    state = found.consent.channels.get(channel) if found and found.consent else None
    if state is None or state.consent != "UNSUBSCRIBED" or state.timestamp is None or at >= state.timestamp:
        return None
    return f"The backdated consent date {iso(at)} is before current unsubscription date {iso(state.timestamp)}"


def _wanted_list(call: Call) -> MailingList | None:
    wanted: str | None = within(call.data, "relationships", "list", "data", "id")
    if not wanted:
        return None
    found = call.account.lists.get(wanted)
    if found is None:
        raise invalid(f"List not found with id {wanted}", pointer=LIST_POINTER)
    return found


def bulk_suppress_profiles(call: Call) -> Reply:
    def act(account: Account, profile: Profile, cause: Cause) -> bool:
        return suppress(account, profile, cause)

    return _suppression_job(call, SUPPRESS, act, creates=True)


def bulk_unsuppress_profiles(call: Call) -> Reply:
    return _suppression_job(call, UNSUPPRESS, unsuppress, creates=False)


def _suppression_job(call: Call, kind: str, act: Callable[[Account, Profile, Cause], bool], *, creates: bool) -> Reply:
    account = call.account
    emails, members = _targets(call)
    problems_error([problem for problems in map(_email_problems, enumerate(emails)) for problem in problems])
    now = account.now()
    job = Job(id=call.world.ids.ulid(now), kind=kind, created=now, total=len(emails) or len(members))
    _note_group(call, job)
    cause = Cause(call.request_id, job.id)

    def work() -> Generator[None]:
        for number, profile in enumerate(_people(account, emails, members, cause, creates=creates)):
            done = profile is not None and act(account, profile, cause)
            job.completed += done
            job.skipped += not done
            if number % 100 == 99:
                yield

    do_later(account, call.operation.id, call.world.switches.delay_suppress, work, job=job)
    return one(call, job_resource(call, job, fresh=True), status=202)


def _email_problems(numbered: tuple[int, str]) -> list[Problem]:
    index, email = numbered
    return identifier_problems({"email": email}, f"{ROWS}/{index}/attributes")


def _people(
    account: Account, emails: list[str], members: list[str], cause: Cause, *, creates: bool
) -> Generator[Profile | None]:
    for email in emails:
        found = account.profiles.find("email", email)
        yield create(account, {"email": email}, cause) if found is None and creates else found
    for profile_id in members:
        yield account.profiles.get(profile_id)


def _targets(call: Call) -> tuple[list[str], list[str]]:
    """The emails named, or the members of the one list or segment named."""
    emails: list[str] = [row["attributes"]["email"] for row in list_in(call.attributes, "profiles", "data")]
    groups = _groups(call)
    if bool(emails) + len(groups) != 1:
        detail = "Exactly one of profiles, list or segment must be provided."
        raise ApiError(400, Problem(detail=detail, pointer="/data"))
    if emails:
        return emails, []
    if "list" in groups:
        return [], list(the_list(call.account, groups["list"]).members)
    segment = call.account.segments.get(groups["segment"])
    if segment is None:
        raise not_found(f"A segment with id {groups['segment']} does not exist.")
    return [], list(segment.members)


def _note_group(call: Call, job: Job) -> None:
    for name, group_id in _groups(call).items():
        (job.list_ids if name == "list" else job.segment_ids).append(group_id)


def _groups(call: Call) -> dict[str, str]:
    relationships = object_in(call.data, "relationships")
    return {name: within(entry, "data", "id") for name, entry in relationships.items()}


def job_resource(call: Call, job: Job, *, fresh: bool = False) -> JsonObject:
    attributes: JsonObject = {
        "status": "processing" if fresh else job.status,
        "created_at": iso(job.created),
        "total_count": 0 if fresh else job.total,
        "completed_count": job.completed,
        "completed_at": iso_or_none(job.finished),
        "skipped_count": job.skipped,
    }
    links: dict[str, Linkage] = {"lists": LINKS_ONLY, "segments": LINKS_ONLY}
    return document(call, job.kind, job.id, attributes, links)


def _get_jobs(kind: str) -> Callable[[Call], Reply]:
    def get_jobs(call: Call) -> Reply:
        jobs, page = jobs_page(call, kind)
        return many(call, [job_resource(call, job) for job in jobs], page=page)

    return get_jobs


def _get_job(kind: str) -> Callable[[Call], Reply]:
    def get_job(call: Call) -> Reply:
        return one(call, job_resource(call, the_job(call, kind)))

    return get_job


def _consent_body(kind: str, row: Schema, *, most: int, **attributes: Schema) -> Body:
    return Body(
        data(
            resource(
                kind,
                attributes=fields({"profiles": data(array(row, most=most, least=1))}, **attributes),
                optional_relationships=fields(list=reference("list")),
            )
        )
    )


_SUBSCRIBE_ROW = resource(
    "profile",
    may_have_id=True,
    attributes=fields(
        {"subscriptions": SUBSCRIPTIONS},
        email=TEXT_OR_NULL,
        phone_number=TEXT_OR_NULL,
        age_gated_date_of_birth=TEXT_OR_NULL,
    ),
)
_UNSUBSCRIBE_ROW = resource(
    "profile",
    attributes=fields({"subscriptions": WITHDRAWALS}, email=TEXT_OR_NULL, phone_number=TEXT_OR_NULL),
)


def _suppression_body(kind: str) -> Body:
    rows = data(array(resource("profile", attributes=fields({"email": TEXT})), most=100, least=1))
    return Body(
        data(
            resource(
                kind,
                optional_attributes=fields(profiles=rows),
                optional_relationships=fields(list=reference("list"), segment=reference("segment")),
            )
        )
    )


_WRITE_SCOPES = ("lists:write", "profiles:write", "subscriptions:write")


def _suppression_operations(
    kind: str, verb: str, handler: Callable[[Call], Reply], scopes: tuple[str, ...]
) -> list[Operation]:
    fields_ = {kind: fieldnames.SUPPRESSION_JOB}
    path = f"/api/{kind}s"
    return [
        Operation(
            id=f"get_bulk_{verb}_profiles_jobs",
            method="GET",
            path=path,
            handler=_get_jobs(kind),
            limit=L,
            scopes=("subscriptions:read",),
            query=QuerySpec(
                fields=fields_,
                filters={name: text("equals") for name in ("status", "list_id", "segment_id")},
                sort=frozenset({"created"}),
                cursor=True,
            ),
        ),
        Operation(
            id=f"bulk_{verb}_profiles",
            method="POST",
            path=path,
            handler=handler,
            limit=L,
            scopes=scopes,
            query=QuerySpec(fields=fields_),
            body=_suppression_body(kind),
        ),
        Operation(
            id=f"get_bulk_{verb}_profiles_job",
            method="GET",
            path=f"{path}/{{job_id}}",
            handler=_get_job(kind),
            limit=L,
            scopes=("subscriptions:read",),
            query=QuerySpec(fields=fields_),
        ),
    ]


OPERATIONS = [
    Operation(
        id="bulk_subscribe_profiles",
        method="POST",
        path="/api/profile-subscription-bulk-create-jobs",
        handler=bulk_subscribe_profiles,
        limit=L,
        scopes=_WRITE_SCOPES,
        body=_consent_body(
            "profile-subscription-bulk-create-job",
            _SUBSCRIBE_ROW,
            most=1000,
            custom_source=TEXT_OR_NULL,
            historical_import=FLAG_OR_NULL,
        ),
    ),
    Operation(
        id="bulk_unsubscribe_profiles",
        method="POST",
        path="/api/profile-subscription-bulk-delete-jobs",
        handler=bulk_unsubscribe_profiles,
        limit=L,
        scopes=_WRITE_SCOPES,
        body=_consent_body("profile-subscription-bulk-delete-job", _UNSUBSCRIBE_ROW, most=100),
    ),
    *_suppression_operations(SUPPRESS, "suppress", bulk_suppress_profiles, ("profiles:write", "subscriptions:write")),
    *_suppression_operations(UNSUPPRESS, "unsuppress", bulk_unsuppress_profiles, ("subscriptions:write",)),
]

"""Bulk import of profiles: the synchronous all-or-nothing check, the job, its rows and errors."""

from __future__ import annotations

import re
from collections.abc import Generator
from itertools import pairwise

import orjson

from klaviyo_simulator.account import Account, Job, MailingList
from klaviyo_simulator.bodies import Body, array, data, fields, references, resource
from klaviyo_simulator.documents import LINKS_ONLY, Linkage, identifiers, many, one
from klaviyo_simulator.documents import resource as document
from klaviyo_simulator.errors import ApiError, JsonObject, Problem, invalid, not_found
from klaviyo_simulator.filters import matches, text
from klaviyo_simulator.later import do_later, failing_rows
from klaviyo_simulator.limits import M
from klaviyo_simulator.log import Cause
from klaviyo_simulator.membership import join
from klaviyo_simulator.ordering import Ordering
from klaviyo_simulator.paging import Page, paginate
from klaviyo_simulator.people import (
    change,
    create,
    has_identifier,
    identifier_problems,
    is_cut_short,
    match,
    missing_identifier,
    patch_of,
)
from klaviyo_simulator.query import QuerySpec
from klaviyo_simulator.reading import list_in
from klaviyo_simulator.resources import fieldnames
from klaviyo_simulator.resources.schemas import META, PROFILE_ATTRIBUTES
from klaviyo_simulator.resources.shapes import list_resource, profile_resource
from klaviyo_simulator.routing import Call, Operation, Reply
from klaviyo_simulator.switches import Switches
from klaviyo_simulator.times import iso, iso_or_none

KIND = "profile-bulk-import-job"
MOST_ROWS = 10_000
LARGEST_ROW = 100_000
LIFETIME = 7 * 86400
CHUNK = 250
ROWS = "/data/attributes/profiles/data"
_ATTRIBUTES = re.compile(rb'"attributes"')


def bulk_import_profiles(call: Call) -> Reply:
    rows: list[JsonObject] = call.attributes["profiles"]["data"]
    _check_rows(rows, call.world.switches, large=_may_hold_large_row(call.raw, len(rows)))
    lists = _lists(call)
    now = call.account.now()
    job = Job(
        id=call.world.ids.job(call.account.id, now),
        kind=KIND,
        created=now,
        total=len(rows),
        list_ids=[item.id for item in lists],
    )
    every = failing_rows(call.account, call.operation.id)
    account, cause = call.account, Cause(call.request_id, job.id)
    account.effect("job.accepted", cause, values={"kind": KIND, "rows": len(rows)})
    delay = call.world.switches.delay_import
    call.world.scheduler.load += len(rows)
    do_later(
        account,
        call.operation.id,
        delay,
        lambda: _import_rows(account, job, rows, lists, cause, every),
        job=job,
    )
    return one(call, job_resource(call, job, fresh=True), status=202)


def _may_hold_large_row(raw: bytes, rows: int) -> bool:
    """A quick test that spares measuring 10,000 small rows: how far apart the word `attributes` is."""
    if len(raw) <= LARGEST_ROW:
        return False
    places = [found.start() for found in _ATTRIBUTES.finditer(raw)]
    if len(places) != rows + 1:
        return True
    gaps = (after - before for before, after in pairwise([*places, len(raw)]))
    return max(gaps) > LARGEST_ROW - 1000


def _check_rows(rows: list[JsonObject], switches: Switches, *, large: bool) -> None:
    if len(rows) > MOST_ROWS:
        raise invalid(f"A maximum of {MOST_ROWS} profiles can be imported at once.", pointer=ROWS)
    problems: list[Problem] = []
    for index, row in enumerate(rows):
        problem = _row_problem(row, f"{ROWS}/{index}", switches, large=large)
        if problem is not None:
            problems.append(problem)
    if problems:
        raise ApiError(400, *problems)


def _row_problem(row: JsonObject, pointer: str, switches: Switches, *, large: bool) -> Problem | None:
    attributes: JsonObject = row["attributes"]
    if switches.bulk_bad_phone == "drop" and is_cut_short(attributes.get("phone_number")):
        del attributes["phone_number"]
    for problem in identifier_problems(attributes, f"{pointer}/attributes"):
        return problem
    if not has_identifier(attributes) and not row.get("id"):
        return missing_identifier(f"{pointer}/attributes")
    if large and len(orjson.dumps(row)) > LARGEST_ROW:
        return Problem(detail=f"A profile must not exceed {LARGEST_ROW} bytes.", pointer=pointer)
    return None


def _lists(call: Call) -> list[MailingList]:
    found: list[MailingList] = []
    for entry in list_in(call.data, "relationships", "lists", "data"):
        item = call.account.lists.get(entry["id"])
        if item is None:
            raise invalid(f"List ID {entry['id']} does not exist.", pointer="/data")
        found.append(item)
    return found


def _import_rows(
    account: Account, job: Job, rows: list[JsonObject], lists: list[MailingList], cause: Cause, every: int
) -> Generator[None]:
    scheduler = account.world.scheduler
    for index, row in enumerate(rows):
        scheduler.load -= 1
        if every and (index + 1) % every == 0:
            _fail(account, job, index, row, "invalid", "The profile could not be imported.")
        else:
            _import_row(account, job, index, row, lists, cause)
        if index % CHUNK == CHUNK - 1:
            yield
    account.effect("job.completed", cause, values={"kind": KIND, "completed": job.completed, "failed": job.failed})


def _import_row(
    account: Account, job: Job, index: int, row: JsonObject, lists: list[MailingList], cause: Cause
) -> None:
    attributes: JsonObject = row["attributes"]
    profile_id: str | None = row.get("id")
    found = match(account, attributes, profile_id=profile_id)
    if found.unknown_id:
        _fail(account, job, index, row, "not_found", f"A profile with id {profile_id} does not exist.")
        return
    if found.other is not None:
        detail = "A profile already exists with one of these identifiers."
        _fail(account, job, index, row, "duplicate_profile", detail)
        return
    profile = found.profile
    patch = patch_of(row.get("meta"))
    if profile is None:
        profile = create(account, attributes, cause, patch=patch, bulk=True)
    else:
        change(account, profile, attributes, cause, patch=patch)
    job.completed += 1
    job.profile_ids.append(profile.id)
    for item in lists:
        trigger = account.world.switches.bulk_import_triggers_list_flows
        join(account, item, profile, cause, with_event=False, trigger=trigger)


def _fail(account: Account, job: Job, index: int, row: JsonObject, code: str, detail: str) -> None:
    job.failed += 1
    job.errors.append(
        {
            "id": account.world.ids.uuid(),
            "code": code,
            "title": "Invalid input." if code == "invalid" else "Conflict.",
            "detail": detail,
            "source": {"pointer": f"{ROWS}/{index}"},
            "original_payload": row,
        }
    )


def job_resource(
    call: Call, job: Job, relations: dict[str, Linkage] | None = None, *, fresh: bool = False
) -> JsonObject:
    attributes: JsonObject = {
        "status": "queued" if fresh else job.status,
        "created_at": iso(job.created),
        "total_count": job.total,
        "completed_count": job.completed,
        "failed_count": job.failed,
        "completed_at": iso_or_none(job.finished),
        "expires_at": iso(job.created + LIFETIME),
        "started_at": iso_or_none(job.started),
    }
    links: dict[str, Linkage] = {
        "lists": [("list", list_id) for list_id in job.list_ids],
        "profiles": LINKS_ONLY,
        "import-errors": LINKS_ONLY,
    }
    return document(
        call,
        KIND,
        job.id,
        attributes,
        links | (relations or {}),
        related_only=frozenset({"import-errors"}),
    )


def the_job(call: Call, kind: str = KIND) -> Job:
    """404 also for a job that has expired, or whose record a fault has hidden."""
    job_id = call.params.get("job_id") or call.params["id"]
    job = call.account.jobs.get(job_id)
    if job is None or job.kind != kind or job.hidden or call.account.now() > job.created + LIFETIME:
        raise not_found(f"A {kind} with id {job_id} does not exist.")
    return job


def jobs_page(call: Call, kind: str) -> tuple[list[Job], Page]:
    """The jobs of a kind, newest first unless sorted otherwise."""
    account = call.account
    jobs = {
        job.id: job
        for job in account.jobs.values()
        if job.kind == kind
        and not job.hidden
        and account.now() <= job.created + LIFETIME
        and all(matches(item, _job_value(job, item.field)) for item in call.query.conditions)
    }
    page = paginate(
        Ordering((job.created, job.id) for job in jobs.values()),
        call.query,
        descending=(call.query.sort or "-").startswith("-"),
        strict=call.world.switches.strict_cursors,
    )
    return [jobs[key[-1]] for key in page.keys], page


def _job_value(job: Job, name: str) -> object:
    if name == "status":
        return job.status
    ids = job.list_ids if name == "list_id" else job.segment_ids
    return ids[0] if ids else None


def get_jobs(call: Call) -> Reply:
    jobs, page = jobs_page(call, KIND)
    return many(call, [job_resource(call, job) for job in jobs], page=page)


def get_job(call: Call) -> Reply:
    job = the_job(call)
    lists = (list_resource(call, item) for item in _job_lists(call.account, job))
    return one(call, job_resource(call, job), included=lists)


def _job_lists(account: Account, job: Job) -> list[MailingList]:
    return [account.lists[list_id] for list_id in job.list_ids if list_id in account.lists]


def get_job_lists(call: Call) -> Reply:
    return many(call, [list_resource(call, item) for item in _job_lists(call.account, the_job(call))])


def get_job_list_ids(call: Call) -> Reply:
    return identifiers(call, "list", the_job(call).list_ids)


def get_job_profiles(call: Call) -> Reply:
    job = the_job(call)
    page = paginate(Ordering((item,) for item in job.profile_ids), call.query)
    found = (call.account.profiles.get(key[0]) for key in page.keys)
    return many(call, [profile_resource(call, item) for item in found if item is not None], page=page)


def get_job_profile_ids(call: Call) -> Reply:
    job = the_job(call)
    page = paginate(Ordering((item,) for item in job.profile_ids), call.query)
    return identifiers(call, "profile", [key[0] for key in page.keys], page=page)


def get_job_errors(call: Call) -> Reply:
    job = the_job(call)
    page = paginate(Ordering((index,) for index in range(len(job.errors))), call.query)
    rows: list[JsonObject] = [job.errors[key[0]] for key in page.keys]
    return many(call, [_error_resource(call, row) for row in rows], page=page)


def _error_resource(call: Call, row: JsonObject) -> JsonObject:
    attributes = {name: value for name, value in row.items() if name != "id"}
    return document(call, "import-error", row["id"], attributes)


_PAGED = QuerySpec(page=(20, 100))
_PROFILE_READ = ("profiles:read",)
_BODY = data(
    resource(
        KIND,
        attributes=fields(
            {
                "profiles": data(
                    array(
                        resource("profile", attributes=PROFILE_ATTRIBUTES, may_have_id=True, meta=META),
                        least=1,
                    )
                )
            }
        ),
        optional_relationships=fields(lists=references("list")),
    )
)

OPERATIONS = [
    Operation(
        id="get_bulk_import_profiles_jobs",
        method="GET",
        path="/api/profile-bulk-import-jobs",
        handler=get_jobs,
        limit=M,
        scopes=("lists:read", "profiles:read"),
        query=QuerySpec(
            fields={KIND: fieldnames.IMPORT_JOB},
            filters={"status": text("any", "equals")},
            sort=frozenset({"created_at"}),
            page=(20, 100),
        ),
    ),
    Operation(
        id="bulk_import_profiles",
        method="POST",
        path="/api/profile-bulk-import-jobs",
        handler=bulk_import_profiles,
        limit=M,
        scopes=("lists:write", "profiles:write"),
        query=QuerySpec(fields={KIND: fieldnames.IMPORT_JOB}),
        body=Body(_BODY),
    ),
    Operation(
        id="get_bulk_import_profiles_job",
        method="GET",
        path="/api/profile-bulk-import-jobs/{job_id}",
        handler=get_job,
        limit=M,
        scopes=("lists:read", "profiles:read"),
        query=QuerySpec(fields={KIND: fieldnames.IMPORT_JOB, "list": fieldnames.LIST}, include=frozenset({"lists"})),
    ),
    Operation(
        id="get_list_for_bulk_import_profiles_job",
        method="GET",
        path="/api/profile-bulk-import-jobs/{job_id}/lists",
        handler=get_job_lists,
        limit=M,
        scopes=("lists:read",),
        query=QuerySpec(fields={"list": fieldnames.LIST}),
    ),
    Operation(
        id="get_list_ids_for_bulk_import_profiles_job",
        method="GET",
        path="/api/profile-bulk-import-jobs/{job_id}/relationships/lists",
        handler=get_job_list_ids,
        limit=M,
        scopes=("lists:read",),
    ),
    Operation(
        id="get_profiles_for_bulk_import_profiles_job",
        method="GET",
        path="/api/profile-bulk-import-jobs/{job_id}/profiles",
        handler=get_job_profiles,
        limit=M,
        scopes=_PROFILE_READ,
        query=QuerySpec(
            fields={"profile": fieldnames.PROFILE}, additional=fieldnames.ADDITIONAL_PROFILE, page=(20, 100)
        ),
    ),
    Operation(
        id="get_profile_ids_for_bulk_import_profiles_job",
        method="GET",
        path="/api/profile-bulk-import-jobs/{job_id}/relationships/profiles",
        handler=get_job_profile_ids,
        limit=M,
        scopes=_PROFILE_READ,
        query=_PAGED,
    ),
    Operation(
        id="get_errors_for_bulk_import_profiles_job",
        method="GET",
        path="/api/profile-bulk-import-jobs/{job_id}/import-errors",
        handler=get_job_errors,
        limit=M,
        scopes=_PROFILE_READ,
        query=QuerySpec(fields={"import-error": fieldnames.IMPORT_ERROR}, page=(20, 100)),
    ),
]

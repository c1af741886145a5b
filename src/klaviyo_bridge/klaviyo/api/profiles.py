"""Profiles: single and bulk writes, pages, consent jobs, merging."""

from __future__ import annotations

from collections.abc import Mapping

from klaviyo_bridge.errors import OutcomeUnknown
from klaviyo_bridge.klaviyo import filters
from klaviyo_bridge.klaviyo.api.documents import accepted, page, page_query, resource
from klaviyo_bridge.klaviyo.lane import Priority
from klaviyo_bridge.klaviyo.rows import encode, profile_body
from klaviyo_bridge.klaviyo.session import Session
from klaviyo_bridge.klaviyo.types import ImportJob, Page, RemoteProfile, RowError, SuppressionJob

_SUBSCRIPTIONS = ("additional-fields[profile]", "subscriptions")


class Profiles:
    """Everything about people."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def upsert(
        self,
        attributes: Mapping[str, object],
        *,
        profile_id: str | None = None,
        patch: Mapping[str, object] | None = None,
        priority: Priority = Priority.UPSERT,
    ) -> tuple[RemoteProfile, bool]:
        """Create or update; the second value says whether it was created.

        A field given as None is cleared, a field not given stays. Raises DuplicateProfile when the
        identifiers belong to two profiles. Should the answer to a success be unreadable, the id is empty.
        """
        body = profile_body(attributes, profile_id=profile_id, patch=patch)
        reply = self._session.call("create_or_update_profile", body=body, priority=priority)
        return RemoteProfile.parse(accepted(reply)), reply.status == 201

    def update(
        self,
        profile_id: str,
        attributes: Mapping[str, object],
        *,
        patch: Mapping[str, object] | None = None,
        priority: Priority = Priority.UPSERT,
    ) -> RemoteProfile:
        """Change fields of a profile that exists, identifiers included. Raises NotFound, DuplicateProfile."""
        body = profile_body(attributes, profile_id=profile_id, patch=patch)
        reply = self._session.call("update_profile", path={"id": profile_id}, body=body, priority=priority)
        return RemoteProfile.parse(accepted(reply))

    def get(self, profile_id: str, *, subscriptions: bool = False, priority: Priority = Priority.LIVE) -> RemoteProfile:
        """One profile. Raises NotFound; Klaviyo answers a malformed id with InvalidPayload instead."""
        query = [_SUBSCRIPTIONS] if subscriptions else []
        reply = self._session.call("get_profile", path={"id": profile_id}, query=query, priority=priority)
        return RemoteProfile.parse(resource(reply))

    def page(
        self,
        *,
        filter: str | None = None,  # noqa: A002  # Klaviyo's word
        sort: str | None = None,
        cursor: str | None = None,
        size: int = 100,
        subscriptions: bool = False,
        priority: Priority = Priority.FULL_SYNC,
    ) -> Page[RemoteProfile]:
        """One page. `created` and `updated` know only strictly greater and less: overlap your reads."""
        query = page_query("get_profiles", filter=filter, sort=sort, cursor=cursor, size=size)
        query += [_SUBSCRIPTIONS] if subscriptions else []
        return page(self._session.call("get_profiles", query=query, priority=priority), RemoteProfile.parse)

    def merge(self, destination: str, source: str, *, priority: Priority = Priority.UPSERT) -> None:
        """Move `source` into `destination`. Asynchronous; the source's id goes on resolving for a while."""
        data = {
            "type": "profile-merge",
            "id": destination,
            "relationships": {"profiles": {"data": [{"type": "profile", "id": source}]}},
        }
        self._session.call("merge_profiles", body=encode({"data": data}), priority=priority)

    def bulk_import(self, body: bytes, *, priority: Priority = Priority.UPSERT) -> ImportJob:
        """Hand in a packed import (`packing.import_envelope`). Never raises once Klaviyo took it, except:

        OutcomeUnknown when the answer names no job, so that nobody can ask how it ended.
        """
        job = ImportJob.parse(accepted(self._session.call("bulk_import_profiles", body=body, priority=priority)))
        if not job.id:
            raise OutcomeUnknown("bulk_import_profiles: Klaviyo took the import and named no job")
        return job

    def import_job(self, job_id: str) -> ImportJob:
        """Where a bulk import stands. Raises NotFound when it has expired."""
        reply = self._session.call("get_bulk_import_profiles_job", path={"job_id": job_id})
        return ImportJob.parse(resource(reply))

    def import_jobs(self, *, status: str | None = None, cursor: str | None = None) -> Page[ImportJob]:
        """Imports of the account, newest first; one call tells about many."""
        query = page_query(
            "get_bulk_import_profiles_jobs",
            filter=filters.equals("status", status) if status else None,
            sort="-created_at",
            cursor=cursor,
            size=100,
        )
        return page(self._session.call("get_bulk_import_profiles_jobs", query=query), ImportJob.parse)

    def import_errors(self, job_id: str, cursor: str | None = None) -> Page[RowError]:
        """Rows that an import could not take. Read every page."""
        operation = "get_errors_for_bulk_import_profiles_job"
        query = page_query(operation, cursor=cursor, size=100)
        return page(self._session.call(operation, path={"id": job_id}, query=query), RowError.parse)

    def subscribe(self, body: bytes, *, priority: Priority = Priority.CONSENT) -> None:
        """Hand in a packed subscribe. 202 is all Klaviyo ever says about it."""
        self._session.call("bulk_subscribe_profiles", body=body, priority=priority)

    def unsubscribe(self, body: bytes, *, priority: Priority = Priority.CONSENT) -> None:
        """Hand in a packed unsubscribe. 202 is all Klaviyo ever says about it."""
        self._session.call("bulk_unsubscribe_profiles", body=body, priority=priority)

    def suppress(self, body: bytes, *, priority: Priority = Priority.CONSENT) -> SuppressionJob:
        """Hand in a packed suppress."""
        reply = self._session.call("bulk_suppress_profiles", body=body, priority=priority)
        return SuppressionJob.parse(accepted(reply))

    def unsuppress(self, body: bytes, *, priority: Priority = Priority.CONSENT) -> SuppressionJob:
        """Hand in a packed unsuppress."""
        reply = self._session.call("bulk_unsuppress_profiles", body=body, priority=priority)
        return SuppressionJob.parse(accepted(reply))

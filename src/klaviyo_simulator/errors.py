"""Errors of the simulator, and the shape in which Klaviyo writes them.

SimulatorError
├── ApiError       answered to the client in Klaviyo's shape (`problems`, one object each)
└── ControlError   a control request (under /_simulator/) that makes no sense
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

JsonObject = dict[str, Any]

TITLES: dict[str, str] = {
    "invalid": "Invalid input.",
    "authentication_failed": "Incorrect authentication credentials.",
    "not_authenticated": "Authentication credentials were not provided.",
    "permission_denied": "You do not have permission to perform this action.",
    "not_found": "Not found.",
    "duplicate_profile": "Conflict.",
    "conflict": "Conflict.",
    "throttled": "Request was throttled.",
    "method_not_allowed": "Method not allowed.",
    "unsupported_media_type": "Unsupported media type.",
    "payload_too_large": "Payload too large.",
    "gone": "Gone.",
    "not_implemented": "Not implemented.",
    "error": "A server error occurred.",
}


class SimulatorError(Exception):
    """Root of everything the simulator raises on purpose."""


class ControlError(SimulatorError):
    """A control request that cannot be carried out; answered 400 with the message."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """One member of `errors`. `pointer` and `parameter` exclude each other."""

    detail: str
    code: str = "invalid"
    pointer: str | None = None
    parameter: str | None = None
    title: str | None = None
    meta: JsonObject = field(default_factory=dict[str, Any])
    links: JsonObject = field(default_factory=dict[str, Any])

    def document(self, *, status: int, new_id: Callable[[], str]) -> JsonObject:
        """The error object as Klaviyo writes it."""
        source = {"parameter": self.parameter} if self.parameter else {"pointer": self.pointer or "/data/"}
        return {
            "id": new_id(),
            "status": status,
            "code": self.code,
            "title": self.title or TITLES.get(self.code, "Error."),
            "detail": self.detail,
            "source": source,
            "links": self.links,
            "meta": self.meta,
        }


class ApiError(SimulatorError):
    """What the client is answered instead of success."""

    def __init__(self, status: int, *problems: Problem) -> None:
        super().__init__("; ".join(problem.detail for problem in problems))
        self.status = status
        self.problems = problems

    def document(self, new_id: Callable[[], str]) -> JsonObject:
        return {"errors": [problem.document(status=self.status, new_id=new_id) for problem in self.problems]}


def invalid(detail: str, *, pointer: str | None = None, parameter: str | None = None) -> ApiError:
    return ApiError(400, Problem(detail=detail, pointer=pointer, parameter=parameter))


def not_found(detail: str, *, pointer: str = "/data/") -> ApiError:
    return ApiError(404, Problem(detail=detail, code="not_found", pointer=pointer))


def conflict(detail: str, *, pointer: str = "/data/") -> ApiError:
    return ApiError(409, Problem(detail=detail, code="conflict", pointer=pointer))


def forbidden(detail: str | None = None) -> ApiError:
    text = detail or TITLES["permission_denied"]
    return ApiError(403, Problem(detail=text, code="permission_denied"))


def not_implemented(what: str) -> ApiError:
    detail = f"klaviyo-simulator does not implement {what}."
    return ApiError(501, Problem(detail=detail, code="not_implemented"))


def duplicate_profile(profile_id: str | None) -> ApiError:
    """409; older answers lacked the id, hence the option to leave it out."""
    problem = Problem(
        detail="A profile already exists with one of these identifiers.",
        code="duplicate_profile",
        pointer="/data/attributes",
        meta={"duplicate_profile_id": profile_id} if profile_id else {},
    )
    return ApiError(409, problem)

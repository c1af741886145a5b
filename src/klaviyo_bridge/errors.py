"""Every error the bridge raises. The caller's one question is: try again, or not?

```
BridgeError
├── Unavailable            try again later; the work goes back to the queue
│   ├── RateLimited        Klaviyo said when (`retry_after`, seconds)
│   ├── CircuitOpen        we stopped asking (`retry_after` = seconds to the next probe)
│   ├── OutcomeUnknown     the request may have had its effect: reconcile, then resend
│   └── Overloaded         our own backlog is full; nothing was taken
├── Rejected               will never work as it stands; the row becomes a dead letter
│   ├── InvalidPayload     which fields, and why (`problems`)
│   ├── DuplicateProfile   another profile holds this identifier (`profile_id`, if told)
│   ├── ConsentRefused     the person said no, or was erased
│   └── NotFound
├── NotAuthorized          the key is wrong or lacks a scope: stop, alert, keep the queue
├── InvalidWebhook         unsigned, stale or malformed; answered and forgotten
└── ConfigError            the process does not start (`problems`)
```
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Problem:
    """What is wrong with one field: `where` (a path such as `profiles[3].email`) and `what`."""

    where: str
    what: str

    def __str__(self) -> str:
        return f"{self.where}: {self.what}"


class BridgeError(Exception):
    """The bridge could not do what it was asked."""

    def __init__(self, message: str = "") -> None:
        super().__init__(message or (type(self).__doc__ or "").strip().splitlines()[0])


class Unavailable(BridgeError):
    """The other side could not answer; the same call may work later."""

    def __init__(self, message: str = "", *, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class RateLimited(Unavailable):
    """Klaviyo refused the call because a window is full."""


class CircuitOpen(Unavailable):
    """Klaviyo failed so often that no call was made."""


class OutcomeUnknown(Unavailable):
    """The request was sent, and nobody knows whether it had its effect."""


class Overloaded(Unavailable):
    """The backlog is at its bound; nothing was taken."""


class Rejected(BridgeError):
    """Klaviyo or a rule of ours refuses this, and always will."""


class InvalidPayload(Rejected):
    """One or more fields are wrong."""

    def __init__(self, message: str = "", *, problems: Sequence[Problem] = ()) -> None:
        super().__init__(message or "; ".join(map(str, problems)))
        self.problems = tuple(problems)


class DuplicateProfile(Rejected):
    """Another profile already holds one of these identifiers."""

    def __init__(self, message: str = "", *, profile_id: str | None = None) -> None:
        super().__init__(message)
        self.profile_id = profile_id


class ConsentRefused(Rejected):
    """The person opted out, was suppressed or was erased, and no newer consent is given."""


class NotFound(Rejected):
    """There is no such thing."""


class NotAuthorized(BridgeError):
    """The key is missing, wrong, or lacks a scope."""


class InvalidWebhook(BridgeError):
    """The delivery is not authentic, too old, or not readable."""


class ConfigError(BridgeError):
    """The settings do not allow a start."""

    def __init__(self, message: str = "", *, problems: Sequence[Problem] = ()) -> None:
        super().__init__(message or "; ".join(map(str, problems)))
        self.problems = tuple(problems)

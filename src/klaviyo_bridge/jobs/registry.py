"""What runs without being asked: jobs from the queue, and pulses from the clock."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

Argument = dict[str, Any]


class JobKind(StrEnum):
    """The kinds of job in the queue; each value is the name the engine stores."""

    DELIVER = "deliver"
    HANDLE_WEBHOOK = "handle_webhook"


class QueueName(StrEnum):
    """Lines of jobs: a long import never keeps a live event waiting."""

    LIVE = "live"
    BULK = "bulk"


@dataclass(frozen=True, slots=True)
class Pulse:
    """Something done again and again, `every` so many seconds, in each worker process.

    `beat` returns how much it did; after doing something it is asked again at once.
    """

    name: str
    every: float
    beat: Callable[[], int]

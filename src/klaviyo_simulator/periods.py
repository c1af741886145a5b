"""Time frames and intervals of reports and aggregates, in a time zone. Pure calculation."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

YEAR = timedelta(days=366)
ROLLING = {"last_7_days": 7, "last_30_days": 30, "last_90_days": 90, "last_365_days": 365}


def timeframe(key: str, now: float, zone: ZoneInfo) -> tuple[datetime, datetime]:
    """Start (included) and end (excluded) of a named time frame."""
    present = datetime.fromtimestamp(now, zone)
    today = midnight(present)
    if key in ROLLING:
        return today - timedelta(days=ROLLING[key]), present
    week, month = floor(present, "week"), floor(present, "month")
    year = month.replace(month=1)
    frames = {
        "today": (today, present),
        "yesterday": (today - timedelta(days=1), today),
        "this_week": (week, present),
        "last_week": (week - timedelta(days=7), week),
        "this_month": (month, present),
        "last_month": (floor(month - timedelta(days=1), "month"), month),
        "last_3_months": (_months_before(month, 3), month),
        "last_12_months": (_months_before(month, 12), month),
        "this_year": (year, present),
        "last_year": (year.replace(year=year.year - 1), year),
    }
    return frames[key]


def midnight(moment: datetime) -> datetime:
    return moment.replace(hour=0, minute=0, second=0, microsecond=0)


def _months_before(month: datetime, count: int) -> datetime:
    total = month.year * 12 + month.month - 1 - count
    return month.replace(year=total // 12, month=total % 12 + 1)


def floor(moment: datetime, interval: str) -> datetime:
    """The start of the hour, day, week (Monday) or month a moment is in."""
    if interval == "hour":
        return moment.replace(minute=0, second=0, microsecond=0)
    day = midnight(moment)
    if interval == "week":
        return day - timedelta(days=day.weekday())
    return day.replace(day=1) if interval == "month" else day


def following(start: datetime, interval: str) -> datetime:
    """The start of the next period."""
    if interval == "hour":
        return (start.astimezone(UTC) + timedelta(hours=1)).astimezone(start.tzinfo)
    if interval == "month":
        return floor(start.replace(day=28) + timedelta(days=4), "month")
    return start + timedelta(days=7 if interval == "week" else 1)


def periods(start: datetime, end: datetime, interval: str) -> list[datetime]:
    """The starts of all periods that lie in [start, end)."""
    found: list[datetime] = []
    current = floor(start, interval)
    while current < end:
        found.append(current)
        current = following(current, interval)
    return found


def as_utc(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat()

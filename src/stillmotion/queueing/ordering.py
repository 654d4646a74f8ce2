"""Which job comes next: the higher priority, then the earlier place."""

from __future__ import annotations

import sqlite3

NEXT_FIRST = "ORDER BY priority DESC, place, jobs.number"
_AMONG = "state IN ('queued', 'paused') AND priority = ? AND id <> ?"


def place_beside(
    connection: sqlite3.Connection, job_id: str, other: sqlite3.Row, *, before: bool
) -> float:
    """A place for a job just before, or just after, another that waits."""
    place = _between(connection, job_id, other["id"], other["priority"], before=before)
    if place is None:
        _spread(connection, other["priority"])
        place = _between(connection, job_id, other["id"], other["priority"], before=before)
    assert place is not None
    return place


def _between(
    connection: sqlite3.Connection, job_id: str, other: str, priority: int, *, before: bool
) -> float | None:
    """Half way to the neighbour; None if no number lies between."""
    [beside] = connection.execute("SELECT place FROM jobs WHERE id = ?", (other,)).fetchone()
    sign, edge = ("<", "MAX") if before else (">", "MIN")
    [neighbour] = connection.execute(
        f"SELECT {edge}(place) FROM jobs WHERE {_AMONG} AND place {sign} ?",
        (priority, job_id, beside),
    ).fetchone()
    if neighbour is None:
        # Places begin as the jobs' numbers: one after the last is still before those to come.
        neighbour = beside - 1 if before else max(_next_number(connection), beside + 1)
    place = float((beside + neighbour) / 2)
    return place if min(beside, neighbour) < place < max(beside, neighbour) else None


def _spread(connection: sqlite3.Connection, priority: int) -> None:
    """Give the waiting jobs of a priority places at equal distances, in the order they have."""
    rows = connection.execute(
        f"SELECT id, place FROM jobs WHERE {_AMONG} {NEXT_FIRST}", (priority, "")
    ).fetchall()
    low = min(row["place"] for row in rows) - 1
    high = max(_next_number(connection), low + 2)
    for index, row in enumerate(rows, 1):
        place = low + (high - low) * index / (len(rows) + 1)
        connection.execute("UPDATE jobs SET place = ? WHERE id = ?", (place, row["id"]))


def _next_number(connection: sqlite3.Connection) -> int:
    found = connection.execute("SELECT seq FROM sqlite_sequence WHERE name = 'jobs'").fetchone()
    return 1 if found is None else int(found[0]) + 1

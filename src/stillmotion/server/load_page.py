"""The measurement of a server's load as a page of Markdown."""

from __future__ import annotations

from stillmotion.server.load import Calls, LoadResult

_HEAD = """\
# What the server bears

Written by `stillmotion bench server`, on {processors} processors that the measuring client and
other work share (load average before: {load_before}); stillmotion {stillmotion}, Python {python}.
One server process, loopback, no job is made meanwhile.

| calls | connections | answered | per second | p50 ms | p95 ms | p99 ms | max ms |
|---|---|---|---|---|---|---|---|
"""


def page(result: LoadResult) -> str:
    """The page."""
    settings = result.settings
    rows = [
        _row("`POST /v1/jobs`", settings.connections, result.submitted),
        _row("`POST /v1/jobs`, queue full", min(4, settings.connections), result.beyond),
        _row(f"`GET /v1/jobs/ID`, {settings.jobs} queued", settings.connections, result.status),
        _row(f"`GET /v1/jobs`, {settings.jobs} queued", settings.connections, result.listed),
    ]
    heard, times = result.listening, result.listening.milliseconds
    memory = result.server_megabytes
    lines = [
        "",
        f"**Listeners.** {heard.listeners} event streams were open at once. {heard.sent} events "
        f"were due to them in {heard.seconds} s; {heard.received} arrived, after "
        f"{times['p50']} ms (median), {times['p95']} ms (p95) and {times['max']} ms at most, and "
        f"{heard.ended} of {heard.listeners} heard the end of their job. (The queue is looked at "
        "every 100 ms.)",
        "",
        f"**Answers.** {_answers(result)}",
    ]
    if memory is not None:
        lines += ["", f"**Memory.** The server used {memory} MB at most."]
    return _HEAD.format(**result.machine) + "\n".join([*rows, *lines]) + "\n"


def _row(name: str, connections: int, calls: Calls) -> str:
    times = calls.milliseconds
    cells = [name, connections, calls.count, calls.per_second, *(times[q] for q in times)]
    return f"| {' | '.join(str(cell) for cell in cells)} |"


def _answers(result: LoadResult) -> str:
    counted: dict[str, int] = {}
    for calls in (result.submitted, result.beyond, result.status, result.listed):
        for status, count in calls.statuses.items():
            counted[status] = counted.get(status, 0) + count
    return ", ".join(f"{count} x {status}" for status, count in sorted(counted.items())) + "."

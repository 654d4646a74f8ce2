"""What a server allows: sizes, costs, numbers and times, each with a careful default."""

from __future__ import annotations

from dataclasses import dataclass, fields

from pydantic import BaseModel, ConfigDict, Field

from stillmotion.errors import InputError

MAX_PRIORITY = 100
MIB = 1 << 20
MAX_HEAD_BYTES = 1 << 14
"""Of the headers of a request, of its first line, and of what has arrived of an unfinished head."""
_LONGEST_SIDE = 16384
_LARGEST_SCALE = 16
_MOST_REPEATS = 50


class TokenLimits(BaseModel):
    """What the owner of one token may have at a time."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    max_waiting: int = Field(default=50, ge=0, description="Jobs that wait or run at a time.")
    max_cost: float = Field(
        default=2e11, ge=0, description="Cost of all jobs that wait or run, in pixel steps."
    )
    max_priority: int = Field(
        default=MAX_PRIORITY, ge=-MAX_PRIORITY, le=MAX_PRIORITY, description="Of a job."
    )
    max_streams: int = Field(default=16, ge=0, description="Event streams open at a time.")
    max_requests: int = Field(
        default=100, ge=1, description="Requests, streams among them, answered at a time."
    )
    max_uploads: int = Field(default=4, ge=1, description="Uploads that arrive at a time.")
    requests_per_minute: int = Field(default=1200, ge=1, description="Requests in one minute.")


@dataclass(frozen=True, kw_only=True)
class ServerLimits:
    """Limits of the whole server.  Raises InputError for a number that allows nothing."""

    max_json_bytes: int = MIB // 8
    """Of a request with a job; many jobs are told in one answer."""
    max_picture_bytes: int = 32 * MIB
    max_picture_pixels: int = 40_000_000
    max_clip_bytes: int = 256 * MIB
    max_clip_frames: int = 1000
    max_clip_pixels: int = 1 << 28
    """Most pixels (f * h * w) of an uploaded clip."""
    probe_seconds: int = 30
    """Processor time for looking at one upload."""
    probe_bytes: int = 2 << 30
    """Address space for looking at one upload."""
    max_probes: int = 2
    """Uploads looked at together."""
    max_uploads: int = 64
    """Uploads that arrive together."""
    min_free_bytes: int = 1 << 29
    """Of the disk; with less neither uploads nor jobs are taken."""
    max_queue: int = 1000
    """Jobs that wait, of all owners together."""
    max_ended: int = 5000
    """Jobs of one owner that have ended and are remembered; the oldest are forgotten."""
    max_cost: float = 2e10
    """Of one job: frames x pixels x steps x count."""
    max_frames: int = 1024
    """Of one clip that is made."""
    max_frame_pixels: int = 1 << 22
    """h * w of what is made."""
    max_count: int = 64
    """Of one job."""
    max_steps: int = 10_000
    max_items: int = 256
    """Of a list or table in a job."""
    max_clips: int = 64
    """Of one job that scores them: the record of each is read before it is queued."""
    max_streams: int = 1000
    """Event streams of all owners together, in one process."""
    max_connections: int = 2000
    """Of one process; who comes beyond them is refused."""
    request_seconds: float = 60.0
    """For an answer that is no stream and no download."""
    body_seconds: float = 20.0
    """Longest silence while a body arrives."""
    send_seconds: float = 30.0
    """Longest silence of one who reads an answer."""
    header_seconds: float = 10.0
    """For the head of a request to arrive."""

    @property
    def numbers(self) -> dict[str, int]:
        """The most that a field of this name may hold, wherever in a job it stands."""
        return {
            "frames": self.max_frames,
            "count": self.max_count,
            "steps": self.max_steps,
            "height": _LONGEST_SIDE,
            "width": _LONGEST_SIDE,
            "scale": _LARGEST_SCALE,
            "time_travel": _MOST_REPEATS,
        }

    @property
    def lengths(self) -> dict[str, int]:
        """The most entries that a list of this name may have, where that is not `max_items`."""
        return {"clips": self.max_clips}

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if value <= 0:
                raise InputError(f"{field.name} is {value}; give a number above 0.")

"""Numbers for Prometheus, in a registry of their own so that several servers do not mix."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.exposition import generate_latest

CONTENT_TYPE = CONTENT_TYPE_LATEST
_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)


class Metrics:
    """What is counted; labels are routes and states, never what a client may choose freely."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry(auto_describe=True)
        self._requests = Counter(
            "stillmotion_http_requests",
            "Requests answered.",
            ("method", "route", "status"),
            registry=self.registry,
        )
        self._seconds = Histogram(
            "stillmotion_http_seconds",
            "Time to answer a request.",
            ("route",),
            buckets=_SECONDS,
            registry=self.registry,
        )
        self._refused = Counter(
            "stillmotion_refused", "Requests refused.", ("reason",), registry=self.registry
        )
        self._uploaded = Counter(
            "stillmotion_uploaded_bytes", "Bytes of uploads kept.", registry=self.registry
        )
        self._jobs = Gauge("stillmotion_jobs", "Jobs by state.", ("state",), registry=self.registry)
        self._gauges: dict[str, Gauge] = {}

    def answered(self, method: str, route: str, status: int, seconds: float) -> None:
        """Count an answer; other methods than HTTP's own are counted together."""
        known = method if method in _METHODS else "OTHER"
        self._requests.labels(known, route, str(status)).inc()
        if not route.endswith("/events"):
            self._seconds.labels(route).observe(seconds)

    def refused(self, reason: str) -> None:
        """Count a refusal by a limit."""
        self._refused.labels(reason).inc()

    def uploaded(self, num_bytes: int) -> None:
        """Count an upload that was kept."""
        self._uploaded.inc(num_bytes)

    def watch(self, name: str, what: str, read: Callable[[], float]) -> None:
        """Show a number that is read when it is asked for."""
        gauge = Gauge(f"stillmotion_{name}", what, registry=self.registry)
        gauge.set_function(read)
        self._gauges[name] = gauge

    def page(self, jobs: Mapping[str, int]) -> bytes:
        """The text for Prometheus; `jobs` counts them by state."""
        for state, count in jobs.items():
            self._jobs.labels(state).set(count)
        return generate_latest(self.registry)


_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})

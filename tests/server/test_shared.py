"""Several server processes on one library: together they allow what one of them would."""

from __future__ import annotations

import logging
import multiprocessing
from pathlib import Path

import pytest
from tests.server.conftest import Api, WithTokens, check_problem
from tests.server.drawing import draw

from stillmotion.server import shared
from stillmotion.server.app import create_app
from stillmotion.server.problems import ProblemError
from stillmotion.server.rates import Places, RateLimiter
from stillmotion.server.service import make_service
from stillmotion.server.shared import FILE_NAME, PLACE_SECONDS, SharedCounters


class Time:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def limiters(folder: Path, clock: Time, count: int) -> list[RateLimiter]:
    """As many as there would be processes."""
    return [RateLimiter(SharedCounters(folder, clock=clock), clock=clock) for _ in range(count)]


@pytest.mark.parametrize("per_minute", [1, 59, 60, 600, 1200])
def test_processes_share_a_bucket(tmp_path: Path, per_minute: int) -> None:
    clock = Time()
    processes = limiters(tmp_path, clock, 3)

    def allowed(tries: int) -> int:
        waits = [process.seconds_to_wait("ada", per_minute) for process in processes * tries]
        assert all(wait >= 0 for wait in waits)
        return waits.count(0.0)

    assert allowed(per_minute + 5) == per_minute
    assert allowed(5) == 0
    clock.now += 30
    # A process keeps to what it was told to wait, which can be less than what has come in since.
    assert per_minute // 2 - 3 <= allowed(per_minute) <= per_minute / 2
    assert processes[0].seconds_to_wait("bob", per_minute) == 0
    clock.now -= 3600  # a clock that is set back gives nothing, and takes nothing
    assert allowed(5) == 0


def test_few_requests_look_at_the_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One handful a second at most; and a client that is refused costs nothing."""
    clock = Time()
    [limiter] = limiters(tmp_path, clock, 1)
    assert limiter.shared is not None
    draws, plain = [], limiter.shared.draw
    monkeypatch.setattr(limiter.shared, "draw", lambda *given: draws.append(given) or plain(*given))
    assert sum(limiter.seconds_to_wait("ada", 1200) == 0 for _ in range(5000)) == 1200
    assert len(draws) == 1200 / 20 + 1


def test_real_processes_share_a_bucket(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    found = context.Queue()
    processes = [context.Process(target=draw, args=(tmp_path, 400, found)) for _ in range(2)]
    for process in processes:
        process.start()
    counts = [found.get(timeout=60) for _ in processes]
    for process in processes:
        process.join()
    # 300, and what came in while they ran: five a second.
    assert 300 <= sum(counts) <= 400


def test_who_cannot_count_together_counts_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A lock that is held, or a damaged file, stops no request and lets no more in."""
    caplog.set_level(logging.WARNING, "stillmotion.server")
    monkeypatch.setattr(shared, "_BUSY_SECONDS", 0.01)
    clock = Time()
    [limiter] = limiters(tmp_path, clock, 1)
    other = SharedCounters(tmp_path)
    with other._writing():
        assert [limiter.seconds_to_wait("ada", 2) for _ in range(2)] == [0, 0]
        assert limiter.seconds_to_wait("ada", 2) > 0
    assert [record.getMessage() for record in caplog.records] == ["limits"]
    clock.now += 60
    assert limiter.seconds_to_wait("ada", 2) == 0
    (tmp_path / "damaged").mkdir()
    (tmp_path / "damaged" / FILE_NAME).write_bytes(b"no database" * 999)
    limiter = RateLimiter(SharedCounters(tmp_path / "damaged"), clock=clock)
    assert [limiter.seconds_to_wait("ada", 1) > 0 for _ in range(2)] == [False, True]
    places = Places(2, "event streams", SharedCounters(tmp_path / "damaged"))
    places.take("ada", 1)
    places.keep()
    places.give_back("ada")
    assert places.taken == 0


def test_places_of_all_processes_count(tmp_path: Path) -> None:
    clock = Time()
    first, second = (
        Places(9, "event streams", SharedCounters(tmp_path, clock=clock)) for _ in range(2)
    )
    first.take("ada", 2)
    second.take("ada", 2)
    for places in (first, second):
        with pytest.raises(ProblemError, match="2 are open for this token"):
            places.take("ada", 2)
        places.take("bob", 2)
    first.give_back("ada")
    second.take("ada", 2)
    # A process that has ended without a word lets go after a while; one that lives does not.
    clock.now += PLACE_SECONDS - 1
    first.keep()
    clock.now += 2
    for _ in range(2):
        first.take("ada", 2)
    with pytest.raises(ProblemError):
        first.take("ada", 2)
    second.keep()
    with pytest.raises(ProblemError, match="4 are open"):
        first.take("ada", 3)


def test_two_servers_on_one_library(with_tokens: WithTokens) -> None:
    """Over HTTP: what one server has allowed, the other does not allow again."""
    ada = with_tokens(requests_per_minute=4, max_streams=1)["ada"]
    folder = ada.service.library.incoming().parent.parent
    service = make_service(folder, book=ada.service.book)
    other = Api(create_app(service), service, ada.token)
    assert [one.ask("GET", "/v1/jobs").status_code for one in (ada, other) * 2] == [200] * 4
    for one in (ada, other):
        check_problem(one.ask("GET", "/v1/jobs"), 429, "4 requests a minute")
    ada.service.streams.take("ada", 1)
    with pytest.raises(ProblemError):
        service.streams.take("ada", 1)


def test_without_tokens_nothing_is_counted(api: Api, library: Path) -> None:
    api.submit()
    assert not (library / FILE_NAME).exists()

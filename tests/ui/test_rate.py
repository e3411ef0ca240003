"""How often one address may ask, and how long guessing is made to wait."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from medmm.ui.asgi import Message, Receive, Scope, Send
from medmm.ui.rate import RATES, Lock, Rate, RateLimit, address_of


class Clock:
    """A clock that is moved by hand."""

    now = 1000.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr("medmm.ui.rate.time", made)
    return made


async def passed(scope: Scope, receive: Receive, send: Send) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": []})


def ask(limit: RateLimit, path: str = "/upload", client: str = "10.0.0.1", method: str = "POST") -> tuple[int, dict[bytes, bytes]]:
    sent: list[Message] = []

    async def send(message: Message) -> None:
        sent.append(message)

    async def receive() -> Any:
        return {}

    scope = {"type": "http", "method": method, "path": path, "client": (client, 1)}
    with ThreadPoolExecutor(1) as apart:  # another test of this process may have left a loop running in its thread
        apart.submit(asyncio.run, limit(scope, receive, send)).result()
    return sent[0]["status"], dict(sent[0]["headers"])


def test_a_burst_passes_then_one_a_moment(clock: Clock) -> None:
    limit = RateLimit(passed, {"/upload": Rate(3, 0.5)})
    assert [ask(limit)[0] for _ in range(5)] == [200, 200, 200, 429, 429]
    assert ask(limit)[1][b"retry-after"] == b"3"
    clock.now += 2
    assert [ask(limit)[0] for _ in range(2)] == [200, 429]
    clock.now += 1e6
    assert [ask(limit)[0] for _ in range(4)] == [200, 200, 200, 429]


def test_each_address_and_each_route_has_its_own_bucket(clock: Clock) -> None:
    limit = RateLimit(passed, {"/upload": Rate(1, 1), "/login": Rate(1, 1)})
    asked = [
        ask(limit),
        ask(limit, path="/login"),
        ask(limit, client="10.0.0.2"),
        ask(limit, path="/other"),
        ask(limit, method="GET"),
    ]
    assert [status for status, _ in asked] == [200] * 5
    assert [ask(limit)[0], ask(limit, path="/upload/")[0], ask(limit, path="/other")[0]] == [429, 429, 200]


@pytest.mark.parametrize("path", ["upload", "queue/join", "call/answer", "call/v2/answer", "component_server", "component_server/"])
def test_what_costs_something_is_limited(clock: Clock, path: str) -> None:
    limit = RateLimit(passed)
    answers = [ask(limit, f"/gradio_api/{path}")[0] for _ in range(1000)]
    assert 429 in answers
    assert answers.count(200) == min(r.burst for p, r in RATES.items() if f"/gradio_api/{path}".startswith(p))


def test_addresses_are_forgotten_beyond_a_number(clock: Clock) -> None:
    limit = RateLimit(passed, {"/upload": Rate(1, 1e-9)})
    assert ask(limit, client="first")[0] == 200
    for index in range(10_000):
        limit._wait({"path": "/upload", "client": (f"a{index}", 1)})
    assert len(limit._buckets) == 10_000
    assert ask(limit, client="first")[0] == 200


@pytest.mark.parametrize(
    ("client", "address"),
    [
        (("10.0.0.1", 5), "10.0.0.1"),
        (("2001:db8:1:2:3:4:5:6", 5), "2001:db8:1:2::/64"),
        (("2001:db8:1:2:ffff::1", 5), "2001:db8:1:2::/64"),
        (("a name", 5), "a name"),
        (None, ""),
    ],
)
def test_an_ipv6_subscriber_is_one_address(client: Any, address: str) -> None:
    assert address_of({"client": client}) == address


def test_waiting_doubles_up_to_a_quarter_of_an_hour(clock: Clock) -> None:
    lock, waits = Lock(free=2), []
    for _ in range(14):
        lock.fail("anna")
        waits.append(lock.wait("anna"))
    assert waits[:5] == [0, 1, 2, 4, 8]
    assert waits[-2:] == [900, 900]
    clock.now += 899
    assert lock.wait("anna") == 1
    clock.now += 1
    assert lock.wait("anna") == lock.wait("ben") == 0


def test_failures_fade_and_one_is_forgiven(clock: Clock) -> None:
    lock = Lock(free=1)
    lock.fail("anna")
    lock.forgive("anna")
    lock.forgive("ben")
    assert lock.wait("anna") == 0
    lock.fail("anna")
    assert lock.wait("anna") == 1
    clock.now += 3601
    lock.fail("anna")
    assert lock.wait("anna") == 1

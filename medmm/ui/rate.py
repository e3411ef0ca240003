"""How often one address may ask for what costs something: a token bucket each, and locks against guessing."""

from __future__ import annotations

import ipaddress
import threading
import time
from dataclasses import dataclass, field

from medmm.ui.asgi import App, Receive, Scope, Send, refuse

_KEPT = 10_000  # addresses remembered
_FORGET = 3600.0  # seconds after which a failure no longer counts


@dataclass(frozen=True, slots=True)
class Rate:
    """Requests at once, and a second in the long run."""

    burst: float
    per_second: float


RATES = {
    "/gradio_api/upload": Rate(60, 4),
    "/gradio_api/queue/join": Rate(200, 25),
    "/gradio_api/call/": Rate(100, 10),
    "/gradio_api/component_server": Rate(400, 50),  # runs beside the queue
    "/login": Rate(20, 0.5),
}
"""By how the path begins. A clinic behind one address is many people, so the bursts are wide."""


class RateLimit:
    """ASGI middleware: 429 with Retry-After to an address that asks too often.

    Args:
        app: The application behind.
        rates: By how the path begins.
    """

    def __init__(self, app: App, rates: dict[str, Rate] | None = None) -> None:
        self._app = app
        self._rates = RATES if rates is None else rates
        self._buckets: dict[tuple[str, str], tuple[float, float]] = {}  # tokens left, and when that was

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        wait = self._wait(scope) if scope["type"] == "http" and scope["method"] == "POST" else 0.0
        if wait:
            words = "Expected fewer requests from this address. Wait a moment and try again."
            await refuse(send, 429, words, [(b"retry-after", str(int(wait) + 1).encode())])
        else:
            await self._app(scope, receive, send)

    def _wait(self, scope: Scope) -> float:
        """Seconds until this request would be let through; 0 lets it through."""
        prefix = next((prefix for prefix in self._rates if scope["path"].startswith(prefix)), None)
        if prefix is None:
            return 0.0
        rate, key, now = self._rates[prefix], (prefix, address_of(scope)), time.monotonic()
        tokens, then = self._buckets.pop(key, (rate.burst, now))
        tokens = min(rate.burst, tokens + (now - then) * rate.per_second)
        allowed = tokens >= 1.0
        self._buckets[key] = (tokens - allowed, now)
        if len(self._buckets) > _KEPT:
            self._buckets.pop(next(iter(self._buckets)))  # the one not heard of for longest
        return 0.0 if allowed else (1.0 - tokens) / rate.per_second


def address_of(scope: Scope) -> str:
    """Who asks, as far as that can be told: the address, of IPv6 the network that one subscriber has."""
    host = str((scope.get("client") or ("",))[0])
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return host
    return str(ipaddress.ip_network((host, 64), strict=False)) if address.version == 6 else host


@dataclass(slots=True)
class _Failures:
    count: int
    last: float


@dataclass(slots=True)
class Lock:
    """Closes for longer and longer after failures: 1, 2, 4 ... seconds, up to a quarter of an hour.

    Attributes:
        free: Failures that cost nothing.
    """

    free: int
    _failures: dict[str, _Failures] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def wait(self, key: str) -> float:
        """Seconds until the key may try again."""
        with self._lock:
            failed = self._failures.get(key)
            if failed is None or failed.count < self.free:
                return 0.0
            delay = min(2.0 ** (failed.count - self.free), 900.0)
            return max(0.0, failed.last + delay - time.monotonic())

    def fail(self, key: str) -> None:
        """Count a failure."""
        now = time.monotonic()
        with self._lock:
            failed = self._failures.pop(key, None)
            count = failed.count if failed and now - failed.last < _FORGET else 0
            self._failures[key] = _Failures(count + 1, now)
            if len(self._failures) > _KEPT:
                self._failures.pop(next(iter(self._failures)))

    def forgive(self, key: str) -> None:
        """Take one failure back."""
        with self._lock:
            if key in self._failures:
                self._failures[key].count -= 1

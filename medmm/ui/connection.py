"""What only the running page can be told: patience with headers, how many connections, not to name itself, and to rest."""

from __future__ import annotations

import asyncio
from typing import Any

_CONNECTIONS = 600
_HEADER_SECONDS = 10.0
_LOOK_SECONDS = 0.02


def tighten(server: Any) -> None:
    """Set on a uvicorn server that has just started what Gradio, which starts it, leaves at its defaults.

    Every connection looks these up when it is made, so those of the first milliseconds alone are spared.
    """
    server.config.http_protocol_class = _impatient(server.config.http_protocol_class)
    server.config.limit_concurrency = _CONNECTIONS
    server.config.encoded_headers = []  # the name of the server


def rest(queue: Any) -> None:
    """Have Gradio's queue look for work fifty times a second, not a thousand, which keeps a tenth of a core busy for nothing."""
    queue.sleep_when_free = queue.progress_update_sleep_when_free = _LOOK_SECONDS


def _impatient(protocol: type[Any]) -> type[Any]:
    """The same protocol, closing a connection that for 10 to 20 seconds brings no whole request and awaits no answer."""

    class Impatient(protocol):  # type: ignore[misc]  # whichever of uvicorn's is installed
        def connection_made(self, transport: asyncio.Transport) -> None:
            super().connection_made(transport)
            self.loop.call_later(_HEADER_SECONDS, self._close_if_idle, None)

        def _close_if_idle(self, waiting_since: Any) -> None:
            if self.transport.is_closing():
                return
            idle = self.cycle is None or self.cycle.response_complete
            state = (self.cycle,) if idle else None
            if idle and state == waiting_since:
                self.transport.close()
            else:
                self.loop.call_later(_HEADER_SECONDS, self._close_if_idle, state)

    return Impatient

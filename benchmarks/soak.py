"""Many visitors at a served page at the same time: is each answered with his own, and what does the server keep?

    python -m benchmarks.soak [--visitors 50] [--requests 200] [--rounds 10]

Starts a page of its own. Every tenth request of a visitor uploads and opens a study, the others ask a model about it; every
note and every study is used once, and both must come back. Everybody loads the page anew in each round; between the rounds nobody
asks anything, and what the server holds is written down. Growth is counted from when the page has been loaded
100 times: Gradio remembers so many sessions, and takes memory for each until then.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path
from statistics import median

from tests.served import start
from tests.soak import Held, Tally, soak

_MB = 1 << 20
_SESSIONS = 100  # that Gradio remembers


def main() -> None:
    """Soak a page and print two tables."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--visitors", type=int, default=50)
    parser.add_argument("--requests", type=int, default=200, help="of each visitor")
    parser.add_argument("--rounds", type=int, default=10)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        server = start(Path(folder) / "page")
        try:
            began, before = time.monotonic(), Held.by(server)
            print("| requests | page, MB | helpers, MB | open files | threads | files on disk |\n|---|---|---|---|---|---|")
            _print_row(Tally(), before)
            found = []
            for tally, held in soak(server, asked.visitors, asked.rounds, max(1, asked.requests // asked.rounds)):
                _print_row(tally, held)
                found.append((tally, held))
            _print_verdict(found, asked.visitors, time.monotonic() - began)
        finally:
            server.stop()
        print(f"files on disk when the page has ended: {len(server.files())}")
        print(f"said on stderr: {server.said.read_text() or 'nothing'}")


def _print_row(tally: Tally, held: Held) -> None:
    memory = f"{held.page / _MB:.0f} | {held.helpers / _MB:.0f}"
    print(f"| {tally.requests:,} | {memory} | {held.open_files} | {held.threads} | {held.files} |", flush=True)


def _print_verdict(found: list[tuple[Tally, Held]], visitors: int, seconds: float) -> None:
    warm_up = min(-(-_SESSIONS // visitors), len(found) - 1)
    (warm, at_first), (last, at_last), (tally, _) = found[warm_up - 1], found[-2], found[-1]
    grown = [(b - a) / _MB for a, b in ((at_first.page, at_last.page), (at_first.helpers, at_last.helpers))]
    thousands = max(last.requests - warm.requests, 1) / 1000
    rows = {
        "requests": f"{tally.requests:,} in {seconds / 60:.0f} min",
        "wrong": tally.wrong,
        "crossed": tally.crossed,
        "HTTP 5xx or broken off": tally.errors,
        "told to come later": tally.put_off,
        "median of a request": f"{median(tally.seconds):.2f} s",
        "growth of the page's memory": f"{grown[0]:.1f} MB, {grown[0] / thousands:.1f} MB per 1,000 requests",
        "growth of its helpers' memory": f"{grown[1]:.1f} MB, {grown[1] / thousands:.1f} MB per 1,000 requests",
    }
    print("\n| | |\n|---|---|")
    for name, value in rows.items():
        print(f"| {name} | {value} |")
    for reason in tally.reasons[:5]:
        print(reason)


if __name__ == "__main__":
    main()

"""Many people at one page at the same time: each must get the answers to his own questions, and the server must not grow."""

from __future__ import annotations

import base64
import json
import re
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import count

import httpx
import nibabel as nib
import numpy as np
import psutil

from tests.served import Server
from tests.visitors import Visitor

MODEL = "phantom"
_SIDE = 24  # voxels
_EACH_STUDY = 10  # requests: one opens it, the others ask about it
_PAUSE = 0.5  # seconds after being told to come later
_SETTLED = 2.0  # seconds after which the server has seen everybody go
_NUMBERS = count()  # of studies and notes alike, so that none is used twice
_KEY = re.compile(r"key(\d+)")
_DOCUMENT = re.compile(r'data:application/json;base64,([^"]+)')


@dataclass
class Tally:
    """What came of all requests.

    Attributes:
        requests: Studies opened and questions asked.
        wrong: Not answered, or not with what was sent.
        crossed: Answered with what somebody else sent.
        errors: HTTP answers of 500 and above, and connections that broke.
        put_off: Told to come later, which was done.
        seconds: How long each took.
        reasons: What the page said where it gave no answer.
    """

    requests: int = 0
    wrong: int = 0
    crossed: int = 0
    errors: int = 0
    put_off: int = 0
    seconds: list[float] = field(default_factory=list)
    reasons: list[str] = field(default_factory=list)

    def __add__(self, other: Tally) -> Tally:
        """Both together."""
        return Tally(*(a + b for a, b in zip(vars(self).values(), vars(other).values(), strict=True)))


@dataclass(frozen=True)
class Held:
    """What a server holds while nobody asks.

    Attributes:
        page: Resident memory of the process that talks to visitors, bytes.
        helpers: Of those that it started.
        open_files: Of all of them, connections included.
        threads: Of all of them.
        files: On disk.
    """

    page: int
    helpers: int
    open_files: int
    threads: int
    files: int

    @classmethod
    def by(cls, server: Server) -> Held:
        """Look at a server."""
        page = psutil.Process(server.process.pid)
        helpers = page.children(recursive=True)
        everybody = [page, *helpers]
        return cls(
            page.memory_info().rss,
            sum(p.memory_info().rss for p in helpers),
            sum(p.num_fds() for p in everybody),
            sum(p.num_threads() for p in everybody),
            len(server.files()),
        )


class Person:
    """Somebody who opens studies that nobody else has and asks about them with notes that nobody else writes.

    Args:
        url: Of the page.
        number: From 0; each comes from an address of his own on this machine, of which Linux has many.
    """

    def __init__(self, url: str, number: int) -> None:
        self._url, self._address = url, f"127.0.{1 + number // 250}.{1 + number % 250}"
        self.tally = Tally()
        self._visitor: Visitor | None = None

    def come(self) -> None:
        """Load the page anew."""
        self.leave()
        self._visitor = Visitor(self._url, address=self._address)
        self._visitor.http.event_hooks["response"].append(self._note_status)
        self._visitor.stay()

    def leave(self) -> None:
        """Close the page."""
        if self._visitor is not None:
            self._visitor.close()
            self._visitor = None

    def make_requests(self, number: int) -> None:
        """One after the other."""
        for index in range(number):
            began = time.perf_counter()
            self._insist(self._open_study if index % _EACH_STUDY == 0 else self._ask)
            self.tally.requests += 1
            self.tally.seconds.append(time.perf_counter() - began)

    def _insist(self, request: Callable[[Visitor], None]) -> None:
        """Make a request until it is not put off."""
        assert self._visitor is not None
        while True:
            try:
                return request(self._visitor)
            except httpx.HTTPStatusError as error:
                if error.response.status_code not in (429, 503):
                    return self._fail(f"HTTP {error.response.status_code}")
                self.tally.put_off += 1
                time.sleep(_PAUSE)
            except httpx.TransportError as error:
                self.tally.errors += 1
                return self._fail(type(error).__name__)
            except AssertionError as error:
                return self._fail(str(error))

    def _fail(self, reason: str) -> None:
        self.tally.wrong += 1
        self.tally.reasons.append(reason)

    def _note_status(self, response: httpx.Response) -> None:
        self.tally.errors += response.status_code >= 500

    def _open_study(self, visitor: Visitor) -> None:
        self._study, self._alone = next(_NUMBERS), None
        content, voxels = study(self._study)
        spec, said, *_ = visitor.open("a.nii", content)
        assert spec is not None, said
        if _number_of(spec["spacing"]) != self._study:
            self.tally.crossed += 1
        else:
            assert visitor.http.get(f"/{spec['url']}/0/0").content == voxels, "other voxels"

    def _ask(self, visitor: Visitor) -> None:
        key = next(_NUMBERS)
        html = visitor.ask("answer", None, f"Nodule of 2 cm under key{key} in the lung.", MODEL, None, None)[0]
        found = _DOCUMENT.search(html)
        assert found is not None, html
        document = json.loads(base64.b64decode(found[1]))
        keys = {int(k) for k in _KEY.findall(html + document["note"]["text_used"])}
        assert document["geometry"] is not None, "answered without the scan"
        if keys - {key} or _number_of(document["geometry"]["spacing_mm"]) != self._study:
            self.tally.crossed += 1
            return
        assert keys == {key}, "without the note"
        self._alone = self._alone or document["by_modality"]["image"]
        assert document["by_modality"]["image"] == self._alone, "another answer to the same scan"


def study(number: int) -> tuple[bytes, bytes]:
    """A NIfTI volume that no other number has, its spacing among it, and its voxels as the viewer must get them."""
    voxels = np.random.default_rng(number).integers(-900, 300, (_SIDE,) * 3).astype("<i2")
    image = nib.Nifti1Image(voxels, np.diag([8 + number % 100 / 100, 8 + number // 100 % 100 / 100, 8 + number // 10_000 / 100, 1]))
    image.header.set_xyzt_units("mm")
    return image.to_bytes(), voxels[::-1, ::-1, :].transpose(2, 1, 0).tobytes()


def _number_of(spacing: list[float]) -> int:
    """The study that has this spacing (mm)."""
    ones, hundreds, rest = (round((mm - 8) * 100) for mm in spacing)
    return ones + 100 * hundreds + 10_000 * rest


def soak(server: Server, visitors: int, rounds: int, each: int) -> Iterator[tuple[Tally, Held]]:
    """Have many people use a page at the same time; what came of it and what is held then, after each round and when all left.

    Args:
        server: Running.
        visitors: How many; each loads the page anew in every round.
        rounds: Of which the first warms up.
        each: Requests of one visitor in a round.
    """
    people = [Person(server.url, number) for number in range(visitors)]

    def take_part(person: Person) -> None:
        person.come()
        person.make_requests(each)

    with ThreadPoolExecutor(visitors) as at_once:
        for _ in range(rounds):
            list(at_once.map(take_part, people))
            time.sleep(_SETTLED)
            yield sum((p.tally for p in people), Tally()), Held.by(server)
    for person in people:
        person.leave()
    time.sleep(_SETTLED)
    yield sum((p.tally for p in people), Tally()), Held.by(server)

"""Compressed or otherwise unusual pixels of many slices to stored values: here, or in as many processes as pay."""

from __future__ import annotations

import os
import queue
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, closing, suppress
from itertools import groupby
from typing import NamedTuple

from medmm.sources.dicom.codec import decode_file
from medmm.sources.dicom.decoder import Decoder
from medmm.sources.dicom.header import Image, Slice
from medmm.types import AnyArray

_NANOSECONDS_A_PIXEL = {"1.2.840.10008.1.2.5": 7, "1.2.840.10008.1.2.4.80": 25, "1.2.840.10008.1.2.4.81": 25}
_OTHER_NANOSECONDS = 105  # JPEG 2000 and JPEG
_WORTH_SECONDS = 1.5  # each process takes a processor for 0.3 seconds before it decodes
_PROCESSES = 8


class _Job(NamedTuple):
    """Frames of one file."""

    image: Image
    frames: list[int]


def decode(slices: Sequence[Slice]) -> Iterator[AnyArray]:
    """Stored values (rows, columns) of slices, one after another, writable.

    Raises:
        InputError: A leaf that says what is wrong with the pixels.
    """
    jobs = [_Job(image, [one.frame for one in group]) for image, group in groupby(slices, key=lambda one: one.image)]
    processes = min(_available_processors(), _PROCESSES)
    if processes > 1 and sum(map(_seconds, jobs)) > _WORTH_SECONDS:
        with ExitStack() as stack:
            decoders = _started(processes, stack)
            if decoders:
                yield from _decode_apart(jobs, decoders)
                return
    for image, frames in jobs:
        with image.entry.open() as file:
            yield from decode_file(file, frames, (image.rows, image.columns))


def _seconds(job: _Job) -> float:
    """About how long one process needs."""
    if job.image.header.pixels:
        return 0.0
    pixels = len(job.frames) * job.image.rows * job.image.columns
    return pixels * _NANOSECONDS_A_PIXEL.get(job.image.header.syntax, _OTHER_NANOSECONDS) * 1e-9


def _started(count: int, stack: ExitStack) -> list[Decoder]:
    """Decoding processes that end with the stack; as many as the system lets start."""
    decoders: list[Decoder] = []
    with suppress(OSError):
        for _ in range(count):
            decoders.append(stack.enter_context(closing(Decoder())))
    return decoders


def _decode_apart(jobs: Sequence[_Job], decoders: Sequence[Decoder]) -> Iterator[AnyArray]:
    free: queue.SimpleQueue[Decoder] = queue.SimpleQueue()
    for decoder in decoders:
        free.put(decoder)
    ahead: deque[Future[list[AnyArray]]] = deque()
    with ThreadPoolExecutor(len(decoders)) as pool:
        try:
            for part in (part for job in jobs for part in _parts(job, len(decoders))):
                ahead.append(pool.submit(_decode_in, free, part))
                if len(ahead) > 2 * len(decoders):
                    yield from ahead.popleft().result()
            for future in ahead:
                yield from future.result()
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


def _parts(job: _Job, count: int) -> Iterator[_Job]:
    """A file of many frames in as many runs of frames."""
    run = -(-len(job.frames) // count)
    for start in range(0, len(job.frames), run):
        yield _Job(job.image, job.frames[start : start + run])


def _decode_in(free: queue.SimpleQueue[Decoder], job: _Job) -> list[AnyArray]:
    decoder = free.get()
    try:
        return decoder.decode(job.image.entry.read(), job.frames, (job.image.rows, job.image.columns))
    finally:
        free.put(decoder)


def _available_processors() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 1

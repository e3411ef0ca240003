"""Inside the jail: each request is done by a child of its own, with little it may use up and no network.

Foreign bytes can make a parser hang, fill the memory or crash. They are only ever decoded in a forked
child with limits on address space, CPU time, file size and open files, off the network where the
system allows; it is killed when it takes too long. The process that forks stays warm (its imports are
done once) and decodes nothing itself.

`python -m medmm.sources.cell` is the process behind `medmm.sources.jail`. It never imports torch.
"""

from __future__ import annotations

import ctypes
import json
import os
import resource
import select
import signal
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any, NoReturn

from medmm.errors import BudgetError, CorruptError, MedmmError, WorkerError, error_of
from medmm.settings import LIMITS
from medmm.worker import Task, answer, serve

_REPLY_BYTES = 1 << 20
_RESERVE_BYTES = 8 << 20
_OPEN_FILES = 256
_RESAMPLING = "scipy.signal"  # takes long to import and short to do, and not every recording needs it
_THREADS = 4  # a reader's: each spends CPU time while one second passes by the clock
_CRASHES = (signal.SIGSEGV, signal.SIGBUS, signal.SIGABRT, signal.SIGILL, signal.SIGFPE)
_NEW_USER, _NEW_NETWORK = 0x10000000, 0x40000000  # flags of Linux unshare(2)
_NO_NEW_PRIVILEGES, _DIE_WITH_PARENT = 38, 1  # options of Linux prctl(2)


@dataclass(frozen=True, slots=True)
class Allowance:
    """What one child may use: seconds by the clock, address space and the size of one file it writes, in bytes, the network."""

    seconds: float = LIMITS.seconds
    memory_bytes: int = LIMITS.memory_bytes
    written_bytes: int = LIMITS.total_bytes
    network: bool = False


def confined(task: Task, allowance: Allowance | None = None) -> Task:
    """The same task, done each time in a child of its own. Needs a process without threads: `worker.SINGLE_THREADED`.

    Args:
        task: Called in the child.
        allowance: What each child may use.

    Returns:
        A task that raises what `task` raised; BudgetError when the child used more than it may, and
        CorruptError when a decoder crashed in it.
    """
    return partial(_run_in_child, task, allowance or Allowance())


def preload() -> None:
    """Import and make what readers need, so that no child has to: a small study is read in less time than that takes."""
    from medmm.sources.spool import schema

    schema()
    for name in ("medmm.sources.opener", "nibabel", "numpy.ma", "PIL.Image", "PIL.ImageOps", "pydicom.pixels.decoders"):
        import_module(name)
    import_module("PIL.Image").preinit()  # the formats, PNG and JPEG among them


def _run_in_child(task: Task, allowance: Allowance, **arguments: Any) -> dict[str, Any]:
    receiving, sending = os.pipe()
    child = os.fork()
    if child == 0:
        _be_child(task, arguments, allowance, sending)
    os.close(sending)
    try:
        reply = _receive(receiving, time.monotonic() + allowance.seconds)
    finally:
        _kill_group(child)  # before the pipe is closed, which would end it in another way
        _, status = os.waitpid(child, 0)
        os.close(receiving)
    if reply is None:
        raise _explanation(status, allowance)
    if "error" in reply:
        raise error_of(reply["error"]["code"], reply["error"]["message"])
    result: dict[str, Any] = reply["result"]
    return result


def _receive(pipe: int, deadline: float) -> dict[str, Any] | None:
    """The child's whole reply; None when it died before, or is still at work at the deadline."""
    received = bytearray()
    while select.select([pipe], [], [], max(0.0, deadline - time.monotonic()))[0]:
        chunk = os.read(pipe, 1 << 16)
        received += chunk
        if not chunk or len(received) > _REPLY_BYTES:
            break
    try:
        reply = json.loads(received)
    except ValueError:
        return None
    return reply if isinstance(reply, dict) else None


def _kill_group(child: int) -> None:
    for kill in (os.killpg, os.kill):  # the child leads its group, unless it did not get that far
        try:
            kill(child, signal.SIGKILL)
        except (ProcessLookupError, PermissionError):
            continue


def _explanation(status: int, allowance: Allowance) -> MedmmError:
    """Why a child gave no answer."""
    if os.WIFSIGNALED(status) and os.WTERMSIG(status) in _CRASHES:
        msg = "Expected an image that can be decoded; the decoder crashed on this one. Export or copy the files again."
        return CorruptError(msg)
    if not os.WIFSIGNALED(status):
        msg = "Expected an answer from the reading process; it ended without one. Try again."
        return WorkerError(msg)
    msg = (
        f"Expected to read the study within {allowance.seconds:.0f} seconds and {allowance.memory_bytes >> 20:,} MB; "
        "it needs more. Point to a smaller study."
    )
    return BudgetError(msg)


def _be_child(task: Task, arguments: Mapping[str, Any], allowance: Allowance, sending: int) -> NoReturn:
    """Work under limits, send the reply, and end without running anything the parent had planned for its own end."""
    status = 1
    try:
        reserve = [bytearray(_RESERVE_BYTES)]  # taken before the limits, which may already be exceeded
        _confine(allowance, keep=sending)
        reply = json.dumps(answer(partial(_within_memory, task, reserve), arguments))  # whole before a byte is sent
        with os.fdopen(sending, "w", encoding="utf-8") as pipe:
            pipe.write(reply)
        status = 0
    finally:
        os._exit(status)


def _within_memory(task: Task, reserve: list[bytearray], /, **arguments: Any) -> dict[str, Any]:
    msg = "Expected to read the study within the memory allowed; it needs more. Point to a smaller study."
    too_much = BudgetError(msg)
    try:
        return task(**arguments)
    except MemoryError:
        reserve.clear()  # to tell of it takes some memory too
        raise too_much from None


def _confine(allowance: Allowance, keep: int) -> None:
    os.setsid()
    os.dup2(os.open(os.devnull, os.O_RDWR), 0)
    os.closerange(3, keep)
    os.closerange(keep + 1, _OPEN_FILES)
    _limit(resource.RLIMIT_AS, allowance.memory_bytes)
    _limit(resource.RLIMIT_CPU, int(_THREADS * allowance.seconds) + 1)
    _limit(resource.RLIMIT_FSIZE, allowance.written_bytes)
    _limit(resource.RLIMIT_NOFILE, _OPEN_FILES)
    _limit(resource.RLIMIT_CORE, 0)
    if sys.platform == "linux":
        libc = ctypes.CDLL(None)
        libc.prctl(_DIE_WITH_PARENT, signal.SIGKILL)
        libc.prctl(_NO_NEW_PRIVILEGES, 1, 0, 0, 0)
    if not allowance.network:
        leave_network()


def _limit(what: int, value: int) -> None:
    hardest = resource.getrlimit(what)[1]
    value = value if hardest == resource.RLIM_INFINITY else min(value, hardest)
    resource.setrlimit(what, (value, value))


def leave_network() -> bool:
    """Put the calling process into a network of its own, with nothing in it; whether the system allowed that."""
    if sys.platform != "linux":
        return False
    libc = ctypes.CDLL(None)
    return any(libc.unshare(flags) == 0 for flags in (_NEW_NETWORK, _NEW_USER | _NEW_NETWORK))


def tell_what_is_missing() -> None:
    """Say on stderr when children will keep the network, found out by a child that tries."""
    child = os.fork()
    if child == 0:
        os._exit(0 if leave_network() else 1)
    if os.waitpid(child, 0)[1]:
        sys.stderr.write("medmm: this system lets no process leave the network; studies are decoded with all other limits.\n")


def open_to_folder(
    path: str | None, folder: str, series: str | None = None, repair: Sequence[str] = (), audio: str | None = None
) -> dict[str, Any]:
    """Read a study and leave it, checked, in a folder for `spool.read_study`; says whether its recording was resampled."""
    from medmm.sources.opener import open_study
    from medmm.sources.spool import write_study

    write_study(open_study(path, series=series, repair=repair, audio=audio), Path(folder))
    return {"resampled": _RESAMPLING in sys.modules}


def _open(allowance: Mapping[str, Any], **arguments: Any) -> dict[str, Any]:
    if arguments.get("audio"):
        with suppress(ImportError):  # the child says that it is missing
            import_module("soundfile")
    told = confined(open_to_folder, Allowance(**allowance))(**arguments)
    if told.get("resampled"):
        import_module(_RESAMPLING)  # for the children to come
    return {}


def _tasks() -> dict[str, Task]:
    tell_what_is_missing()
    preload()
    return {"open": _open}


if __name__ == "__main__":
    serve(_tasks)

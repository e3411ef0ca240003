"""Archives asked by a process of its own, because what they answer is foreign bytes.

`find` and `pull` are those of an archive and of `medmm.sources.pacs.pull`, done in a child with limits on time,
memory and file size that can be killed. It keeps the network, which it is there for, and nothing else is done in it.

`python -m medmm.sources.pacs.apart` is the process that forks such children.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from medmm.disk import appearing
from medmm.settings import LIMITS
from medmm.sources.cell import Allowance, confined
from medmm.sources.pacs.pull import SECONDS, Archive, FoundStudy, Pulled, Query, fetch
from medmm.worker import SINGLE_THREADED, Task, Worker, serve

_GRACE = 15.0  # seconds to start, to connect and to say what went wrong


@dataclass(frozen=True, slots=True)
class Service:
    """How to reach an archive.

    Attributes:
        kind: Protocol.
        settings: Arguments of `dicomweb.DicomWeb` or `dimse.Dimse`, JSON-ready. Credentials are no part of them.
    """

    kind: Literal["dicomweb", "dimse"]
    settings: Mapping[str, Any]

    def connect(self) -> Archive:
        """The archive itself, for the process that may parse what it says."""
        if self.kind == "dicomweb":
            from medmm.sources.pacs.dicomweb import DicomWeb

            return DicomWeb(**self.settings)
        from medmm.sources.pacs.dimse import Dimse

        return Dimse(**self.settings)


def find(service: Service, query: Query, limit: int, *, seconds: float = SECONDS) -> list[FoundStudy]:
    """Studies of an archive that match, at most `limit`.

    Raises:
        RemoteError: If the archive fails.
        BudgetError: If its answer takes more time or memory than it may.
        InputError, DependencyError: If the service cannot be what is meant.
    """
    found = _ask("find", service, seconds, query=asdict(query), limit=limit)["studies"]
    return [FoundStudy(**{**study, "modalities": tuple(study["modalities"])}) for study in found]


def pull(service: Service, study: str, out: Path, *, seconds: float = SECONDS) -> Pulled:
    """Fetch one study into a folder that appears when all of it is there; arguments and errors are those of `pull.pull`.

    Raises:
        BudgetError: If what comes takes more time or memory than it may.
    """
    with appearing(out) as folder:
        return Pulled(**_ask("pull", service, seconds, study=study, folder=str(folder.absolute()), seconds=seconds))


def _ask(task: str, service: Service, within: float, /, **arguments: Any) -> dict[str, Any]:
    with closing(Worker(__name__, environment=SINGLE_THREADED)) as worker:
        return worker.call(task, within + 2 * _GRACE, within=within, service=asdict(service), **arguments)


def _find(service: Mapping[str, Any], query: Mapping[str, str], limit: int) -> dict[str, Any]:
    return {"studies": [study.to_dict() for study in Service(**service).connect().find(Query(**query), limit)]}


def _pull(service: Mapping[str, Any], study: str, folder: str, seconds: float) -> dict[str, Any]:
    return fetch(Service(**service).connect(), study, Path(folder), seconds=seconds).to_dict()


def _confined(task: Task) -> Task:
    def run(within: float, **arguments: Any) -> dict[str, Any]:
        return confined(task, Allowance(within + _GRACE, LIMITS.memory_bytes, LIMITS.total_bytes, network=True))(**arguments)

    return run


def _tasks() -> dict[str, Task]:
    return {"find": _confined(_find), "pull": _confined(_pull)}


if __name__ == "__main__":
    serve(_tasks)

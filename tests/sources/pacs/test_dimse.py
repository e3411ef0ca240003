from __future__ import annotations

import gc
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pydicom
import pytest
from pydicom.dataset import Dataset
from pynetdicom import AE, evt
from pynetdicom.sop_class import (
    StudyRootQueryRetrieveInformationModelFind,
    StudyRootQueryRetrieveInformationModelGet,
    StudyRootQueryRetrieveInformationModelMove,
)

from medmm.errors import InputError, RemoteError
from medmm.sources.pacs.dimse import Dimse
from medmm.sources.pacs.pull import Query, pull

MODELS = (
    StudyRootQueryRetrieveInformationModelFind,
    StudyRootQueryRetrieveInformationModelGet,
    StudyRootQueryRetrieveInformationModelMove,
)


# pynetdicom leaves a socket to the garbage collector where the peer closed it first.
pytestmark = pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")


@pytest.fixture(autouse=True)
def _collected() -> Iterator[None]:
    """Threads and sockets of a test go with it, and not in the middle of another."""
    before = set(threading.enumerate())
    yield
    for thread in set(threading.enumerate()) - before:
        thread.join(2)
    gc.collect()


@pytest.fixture
def node() -> Iterator[Callable[..., Dimse]]:
    """Start a DICOM node with these handlers; returns our side of it."""
    servers = []

    def start(handlers: dict[Any, Any], *, knows: str = "MEDMM", **ours: Any) -> Dimse:
        entity = AE("NODE")
        entity.require_calling_aet = [knows]
        for model in MODELS:
            entity.add_supported_context(model)
        servers.append(entity.start_server(("127.0.0.1", 0), block=False, evt_handlers=list(handlers.items())))
        return Dimse("127.0.0.1", servers[-1].server_address[1], called="NODE", **ours)

    yield start
    for server in servers:
        server.shutdown()


def _answers(*found: dict[str, str]) -> Callable[[Any], Iterator[tuple[int, Dataset | None]]]:
    def find(event: Any) -> Iterator[tuple[int, Dataset | None]]:
        for attributes in found:
            answer = Dataset()
            answer.QueryRetrieveLevel = event.identifier.QueryRetrieveLevel
            for keyword, value in attributes.items():
                setattr(answer, keyword, value)
            yield 0xFF00, answer

    return find


LISTED = _answers({"SeriesInstanceUID": "1.2.5", "SOPInstanceUID": "1.2.6", "SOPClassUID": "1.2.840.10008.5.1.4.1.1.2"})


def test_answers_are_cut_at_the_limit(node: Callable[..., Dimse]) -> None:
    archive = node({evt.EVT_C_FIND: _answers(*({"StudyInstanceUID": f"1.2.{i}"} for i in range(1, 9)))})
    assert [f.uid for f in archive.find(Query(), 3)] == ["1.2.1", "1.2.2", "1.2.3"]
    assert len(archive.find(Query(), 100)) == 8


def test_a_failure_is_told_by_its_status(node: Callable[..., Dimse]) -> None:
    def fail(_: Any) -> Iterator[tuple[int, None]]:
        yield 0xA700, None

    with pytest.raises(RemoteError, match="status 0xA700"):
        node({evt.EVT_C_FIND: fail}).find(Query(), 1)


def test_a_node_that_breaks_off(node: Callable[..., Dimse]) -> None:
    def hang_up(event: Any) -> Iterator[tuple[int, None]]:
        event.assoc.abort()
        yield 0xFF00, None

    with pytest.raises(RemoteError, match="broke off"):
        node({evt.EVT_C_FIND: hang_up}).find(Query(), 1)


def test_a_node_that_does_not_know_us(node: Callable[..., Dimse]) -> None:
    with pytest.raises(RemoteError, match="rejects it"):
        node({}, knows="OTHER").find(Query(), 1)


def test_nobody_there() -> None:
    with pytest.raises(RemoteError, match="cannot be reached"):
        Dimse("127.0.0.1", 9, called="NODE").find(Query(), 1)


def test_what_is_no_dicom_node(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:

        def chatter() -> None:
            connection, _ = server.accept()
            with connection:
                connection.sendall(b"HTTP/1.1 400 SECRET\r\n\r\n" * 100)

        threading.Thread(target=chatter, daemon=True).start()
        with pytest.raises(RemoteError) as caught:
            Dimse("127.0.0.1", server.getsockname()[1], called="NODE").find(Query(), 1)
    assert "SECRET" not in caught.value.message


@pytest.mark.parametrize("way", ["get", "move"])
def test_a_node_that_lists_and_does_not_send(node: Callable[..., Dimse], tmp_path: Path, way: str) -> None:
    def refuse(_: Any) -> Iterator[Any]:
        yield from ((None, None),) if way == "move" else (0,)

    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    archive = node(
        {evt.EVT_C_FIND: LISTED, evt.EVT_C_GET: refuse, evt.EVT_C_MOVE: refuse}, move_port=port if way == "move" else None
    )
    with pytest.raises(RemoteError, match=r"did not come|status 0xA801"):
        pull(archive, "1.2.4", tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


def test_a_port_that_is_taken(node: Callable[..., Dimse], tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        archive = node({evt.EVT_C_FIND: LISTED}, move_port=taken.getsockname()[1])
        with pytest.raises(RemoteError, match="Give another port"):
            pull(archive, "1.2.4", tmp_path / "out")


@pytest.mark.parametrize("title", ["", " ", "A" * 17, "A\\B", "\u00c4"])
def test_titles_that_are_none(title: str) -> None:
    with pytest.raises(InputError, match="application entity titles"):
        Dimse("127.0.0.1", 104, called=title)


def test_no_more_contexts_are_asked_for_than_there_is_room() -> None:
    classes = [f"1.2.840.10008.5.1.4.1.1.{i}" for i in range(1, 60)]
    contexts = Dimse("127.0.0.1", 104, called="NODE")._storage(classes)
    assert len(contexts) == 127
    assert {c.abstract_syntax for c in contexts} == set(map(pydicom.uid.UID, classes))

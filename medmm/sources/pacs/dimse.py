"""A PACS over DIMSE (PS3.7): C-FIND to find; C-GET, or C-MOVE to a port of ours, to fetch."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from medmm.errors import InputError, MedmmError, RemoteError
from medmm.hush import hushed
from medmm.optional import require
from medmm.sources.pacs.pull import FoundStudy, Query, found_study, is_uid

_PDU_BYTES = 1 << 17
_SILENCE_SECONDS = 30.0
_PENDING, _SUCCESS = (0xFF00, 0xFF01), 0x0000
_STORED, _REFUSED = 0x0000, 0xA700
_MOST_CONTEXTS = 128
_SYNTAXES = (  # all that the reader decodes; one context each, so that the archive need not convert
    "1.2.840.10008.1.2.1", "1.2.840.10008.1.2", "1.2.840.10008.1.2.4.90", "1.2.840.10008.1.2.4.91", "1.2.840.10008.1.2.4.70",
    "1.2.840.10008.1.2.4.57", "1.2.840.10008.1.2.4.80", "1.2.840.10008.1.2.4.81", "1.2.840.10008.1.2.4.50",
    "1.2.840.10008.1.2.4.51", "1.2.840.10008.1.2.5", "1.2.840.10008.1.2.4.201",
)  # fmt: skip


class Dimse:
    """A DICOM node.

    Args:
        host, port: Where it listens.
        called: Its application entity title.
        calling: Ours; the node must know it.
        move_port: Fetch by C-MOVE to this port of ours, which the node must know under our title; None to fetch by C-GET.
        move_host: Address of ours that the port is opened on.

    Raises:
        InputError: If a title is none.
        DependencyError: If pynetdicom is not installed.
    """

    def __init__(
        self,
        host: str,
        port: int,
        *,
        called: str,
        calling: str = "MEDMM",
        move_port: int | None = None,
        move_host: str = "127.0.0.1",
    ) -> None:
        if not all(0 < len(title.strip()) <= 16 and title.isascii() and "\\" not in title for title in (called, calling)):
            msg = "Expected application entity titles of 1 to 16 ASCII characters; got something else. Ask the administrator."
            raise InputError(msg)
        self._net = require("pynetdicom", "DIMSE", "pacs")
        self._models = require("pynetdicom.sop_class", "DIMSE", "pacs")
        self._address, self._called, self._calling = (host, port), called, calling
        self._move_port, self._move_host = move_port, move_host

    def find(self, query: Query, limit: int) -> list[FoundStudy]:
        """See `pull.Archive`."""
        wanted = {"StudyInstanceUID": "", "StudyDate": "", "StudyDescription": "", "NumberOfStudyRelatedInstances": ""}
        answers = self._find("STUDY", {**wanted, "ModalitiesInStudy": "", **query.attributes()}, limit)
        return [found_study(answer) for answer in answers]

    def list_instances(self, study: str) -> Mapping[str, str]:
        """See `pull.Archive`."""
        listed = {}
        for series in self._find("SERIES", {"StudyInstanceUID": study, "SeriesInstanceUID": ""}):
            above = {"StudyInstanceUID": study, "SeriesInstanceUID": str(series.SeriesInstanceUID)}
            for instance in self._find("IMAGE", {**above, "SOPInstanceUID": "", "SOPClassUID": ""}):
                listed[str(instance.SOPInstanceUID)] = str(instance.get("SOPClassUID", ""))
        return listed

    def receive(self, study: str, listed: Mapping[str, str], take: Callable[[bytes], bool]) -> None:
        """See `pull.Archive`."""
        classes = sorted({name for name in listed.values() if is_uid(name)})
        handlers = [(self._net.evt.EVT_C_STORE, _store, [take])]
        if self._move_port is None:
            self._get(study, classes, handlers)
        else:
            self._move(study, classes, handlers, self._move_port)

    def _find(self, level: str, attributes: dict[str, str], limit: int | None = None) -> list[Any]:
        model = self._models.StudyRootQueryRetrieveInformationModelFind
        answers: list[Any] = []
        with self._associated([self._net.build_context(model)]) as association:
            for status, answer in association.send_c_find(_identifier(level, attributes), model):
                if status.get("Status") not in _PENDING:
                    _refuse_failure(status)
                elif answer is not None:
                    answers.append(answer)
                if limit is not None and len(answers) == limit:
                    association.abort()
                    break
        return answers

    def _get(self, study: str, classes: list[str], handlers: list[Any]) -> None:
        model = self._models.StudyRootQueryRetrieveInformationModelGet
        contexts = [self._net.build_context(model), *self._storage(classes)]
        roles = [self._net.build_role(name, scp_role=True) for name in classes]
        with self._associated(contexts, roles, handlers) as association:
            for status, _ in association.send_c_get(_identifier("STUDY", {"StudyInstanceUID": study}), model):
                _refuse_failure(status)

    def _move(self, study: str, classes: list[str], handlers: list[Any], port: int) -> None:
        model = self._models.StudyRootQueryRetrieveInformationModelMove
        ours = self._entity()
        ours.supported_contexts = self._storage(classes)
        ours.require_called_aet, ours.require_calling_aet = True, [self._called]
        with _typed():
            server = ours.start_server((self._move_host, port), block=False, evt_handlers=handlers)
        try:
            with self._associated([self._net.build_context(model)]) as association:
                identifier = _identifier("STUDY", {"StudyInstanceUID": study})
                for status, _ in association.send_c_move(identifier, self._calling, model):
                    _refuse_failure(status)
        finally:
            server.shutdown()

    def _storage(self, classes: list[str]) -> list[Any]:
        """Contexts to receive these classes in, one for each encoding as long as there is room (PS3.8 allows 128)."""
        pairs = [(name, syntax) for syntax in _SYNTAXES for name in classes]
        return [self._net.build_context(name, syntax) for name, syntax in pairs[: _MOST_CONTEXTS - 1]]

    def _entity(self) -> Any:
        entity = self._net.AE(ae_title=self._calling)
        entity.maximum_pdu_size = _PDU_BYTES
        entity.acse_timeout = entity.dimse_timeout = entity.network_timeout = entity.connection_timeout = _SILENCE_SECONDS
        return entity

    @contextmanager
    def _associated(self, contexts: list[Any], roles: list[Any] | None = None, handlers: list[Any] | None = None) -> Iterator[Any]:
        """An association that is released when the block ends well and aborted when it does not."""
        with _typed():
            association = self._entity().associate(
                *self._address, contexts=contexts, ae_title=self._called, ext_neg=roles, evt_handlers=handlers, max_pdu=_PDU_BYTES
            )
            if not association.is_established:
                raise RemoteError(_REJECTED if association.is_rejected else _UNREACHABLE)
            try:
                yield association
                if association.is_established:
                    association.release()
            finally:
                if association.is_established:
                    association.abort()


_UNREACHABLE = "Expected a DICOM node; it cannot be reached. Check host, port and network."
_REJECTED = "Expected an association; the node rejects it. Have our title entered there, and check the called one."


def _store(event: Any, take: Callable[[bytes], bool]) -> int:
    return _STORED if take(event.encoded_dataset()) else _REFUSED


def _identifier(level: str, attributes: dict[str, str]) -> Any:
    import pydicom

    identifier = pydicom.Dataset()
    identifier.QueryRetrieveLevel = level
    for keyword, value in attributes.items():
        setattr(identifier, keyword, value)
    return identifier


def _refuse_failure(status: Any) -> None:
    """Raise unless a response means success, or that there is more to come."""
    code = status.get("Status")
    if code is None:
        msg = "Expected an answer; the node broke off or fell silent. Try again."
        raise RemoteError(msg)
    if code != _SUCCESS and code not in _PENDING:
        msg = f"Expected success; the node answers with status 0x{code:04X} (PS3.7 annex C). Ask its administrator."
        raise RemoteError(msg)


@contextmanager
def _typed() -> Iterator[None]:
    """Turn whatever goes wrong, whose words may hold addresses and identifiers, into one typed error without them."""
    try:
        with hushed():
            yield
    except MedmmError:
        raise
    except OSError:
        msg = "Expected to open a connection, or the port given with --move; the system refuses. Give another port."
        raise RemoteError(msg) from None
    except Exception:  # foreign bytes: whatever the parsers throw means the same thing
        msg = "Expected DIMSE messages (PS3.7); got something else. Check that the port is that of a DICOM node."
        raise RemoteError(msg) from None

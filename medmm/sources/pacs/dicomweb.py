"""A PACS over DICOMweb (PS3.18): QIDO-RS to find, WADO-RS to fetch."""

from __future__ import annotations

import io
import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

from medmm.errors import BudgetError, InputError, MedmmError, NoImageError, RemoteError, TooLargeError
from medmm.hush import hushed
from medmm.optional import require
from medmm.settings import LIMITS
from medmm.sources.pacs.pull import SECONDS, FoundStudy, Query, found_study

USER, PASSWORD, TOKEN = "MEDMM_PACS_USER", "MEDMM_PACS_PASSWORD", "MEDMM_PACS_TOKEN"  # names of variables
_TIMEOUT = (10.0, 60.0)  # seconds to connect, of silence
_CHUNK = 1 << 20
_AS_STORED = (("application/dicom", "*"),)
_THIS_MACHINE = ("localhost", "127.0.0.1", "::1")
_FIELDS = ["ModalitiesInStudy", "NumberOfStudyRelatedInstances", "StudyDescription"]


class DicomWeb:
    """A DICOMweb service. Credentials come from the environment and from nowhere else.

    Args:
        url: Root of the service, without credentials, e.g. `https://pacs.example.org/dicom-web`.
        seconds: Time for everything that is asked of it.

    Raises:
        InputError: If the URL is none, holds credentials, or would carry them in the clear.
        DependencyError: If dicomweb-client is not installed.
    """

    def __init__(self, url: str, seconds: float = SECONDS) -> None:
        _refuse_unsafe(url)
        self._budget = _Budget(time.monotonic() + seconds)
        client = require("dicomweb_client.api", "DICOMweb", "pacs")
        self._client = client.DICOMwebClient(url, session=_session(self._budget), chunk_size=_CHUNK, timeout=_TIMEOUT)
        self._client.set_http_retry_params(retry=False)

    def find(self, query: Query, limit: int) -> list[FoundStudy]:
        """See `pull.Archive`."""
        with self._asking():
            answers = self._client.search_for_studies(search_filters=query.attributes(), fields=_FIELDS, limit=limit)
            return [found_study(answer) for answer in _datasets(answers)]

    def list_instances(self, study: str) -> Mapping[str, str]:
        """See `pull.Archive`."""
        with self._asking():
            listed: dict[str, str] = {}
            while len(listed) <= LIMITS.files:  # page by page; some services ignore the offset and begin anew
                answers = _datasets(self._client.search_for_instances(study, offset=len(listed)))
                page = {str(a.SOPInstanceUID): str(a.get("SOPClassUID", "")) for a in answers}
                if page.keys() <= listed.keys():
                    break
                listed.update(page)
            return listed

    def receive(self, study: str, listed: Mapping[str, str], take: Callable[[bytes], bool]) -> None:
        """See `pull.Archive`."""
        import pydicom

        with self._asking():
            for dataset in self._client.iter_study(study, media_types=_AS_STORED):
                content = io.BytesIO()
                pydicom.dcmwrite(content, dataset, enforce_file_format=False)
                if not take(content.getvalue()):
                    break

    @contextmanager
    def _asking(self) -> Iterator[None]:
        """Turn whatever goes wrong, whose words hold addresses and identifiers, into one typed error without them."""
        requests = require("requests", "DICOMweb", "pacs")
        try:
            with hushed():
                yield
        except MedmmError:
            raise
        except requests.HTTPError as error:
            raise _refused(error.response.status_code) from None
        except requests.TooManyRedirects:  # none is followed: it would carry the patient's number to whoever is named
            msg = "Expected the service itself; this address sends us elsewhere. Give the final URL."
            raise RemoteError(msg) from None
        except (requests.ConnectionError, requests.Timeout):
            msg = "Expected a DICOMweb service; it cannot be reached or fell silent. Check the address and the network."
            raise RemoteError(msg) from None
        except MemoryError:
            msg = "Expected answers that fit into the memory there is; they need more. Fetch one study at a time."
            raise BudgetError(msg) from None
        except Exception:  # foreign bytes: whatever the parsers throw means the same thing
            msg = "Expected DICOMweb answers (PS3.18); got something else. Check that the URL is the root of the service."
            raise RemoteError(msg) from None


class _Budget:
    """Bytes and time that all answers together may take."""

    def __init__(self, deadline: float) -> None:
        self._deadline, self._bytes = deadline, 0

    def limit(self, response: Any, *_: Any, **__: Any) -> None:
        """A hook of requests: count what is read of a response, also while it comes."""
        read = response.iter_content

        def counted(*args: Any, **kwargs: Any) -> Iterator[bytes]:
            for chunk in read(*args, **kwargs):
                self._spend(len(chunk))
                yield chunk

        response.iter_content = counted

    def _spend(self, count: int) -> None:
        self._bytes += count
        if self._bytes > LIMITS.total_bytes + _CHUNK:
            msg = f"Expected at most {LIMITS.total_bytes >> 20:,} MB of an archive; got more. Fetch one study at a time."
            raise TooLargeError(msg)
        if time.monotonic() > self._deadline:
            msg = "Expected the study within the time limit; it took longer. Give more with --seconds."
            raise RemoteError(msg)


def _session(budget: _Budget) -> Any:
    session = require("requests", "DICOMweb", "pacs").Session()
    session.trust_env = False  # no .netrc; a proxy would see the patients
    session.verify = os.environ.get("REQUESTS_CA_BUNDLE") or os.environ.get("SSL_CERT_FILE") or True
    session.max_redirects = 0
    session.hooks["response"] = [budget.limit]
    if os.environ.get(TOKEN):
        session.headers["Authorization"] = f"Bearer {os.environ[TOKEN]}"
    elif os.environ.get(USER):
        session.auth = (os.environ[USER], os.environ.get(PASSWORD, ""))
    return session


def _refuse_unsafe(url: str) -> None:
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        msg = "Expected the URL of a DICOMweb service, http(s)://host/path; got something else."
        raise InputError(msg)
    if parts.username or parts.password:
        msg = f"Expected a URL without credentials, which logs would keep; got some. Set {USER} and {PASSWORD}, or {TOKEN}."
        raise InputError(msg)
    if parts.scheme == "http" and parts.hostname not in _THIS_MACHINE and (os.environ.get(USER) or os.environ.get(TOKEN)):
        msg = "Expected https where credentials are sent; got http, which sends them in the clear. Use https."
        raise InputError(msg)


def _refused(status: int) -> MedmmError:
    if status == 404:
        return NoImageError(
            "Expected a study that the archive holds; it knows none (HTTP 404). Check the URL, list with medmm find."
        )
    if status in (401, 403):
        return RemoteError(f"Expected to be let in; the archive refuses (HTTP {status}). Set {USER} and {PASSWORD}, or {TOKEN}.")
    return RemoteError(f"Expected an answer; the archive refuses (HTTP {status}). Try again, or ask its administrator.")


def _datasets(answers: Any) -> list[Any]:
    import pydicom

    return [pydicom.Dataset.from_json(answer) for answer in answers]

"""A real Orthanc in a network of its own, where nothing but this machine's loopback exists.

Debian's Orthanc listens on every address whatever it is told, so it and its clients run in a network
namespace: `unshare -n`, entered with `nsenter`.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tests.web import Answer, start

_PLUGIN = Path("/usr/share/orthanc/plugins/libOrthancDicomWeb.so")
_HTTP, _DIMSE, _MOVE = 18042, 14242, 11112
_STOW = """
import sys, io, zipfile, pydicom, requests
from dicomweb_client.api import DICOMwebClient
client = DICOMwebClient(sys.argv[1], session=requests.Session())
with zipfile.ZipFile(sys.argv[2]) as archive:
    files = [pydicom.dcmread(io.BytesIO(archive.read(n))) for n in archive.namelist() if not n.endswith("/")]
stored = client.store_instances(files)
assert not stored.get("FailedSOPSequence"), stored
print(files[0].StudyInstanceUID)
"""


class Orthanc(NamedTuple):
    """A running Orthanc that holds one study.

    Attributes:
        url: Of its DICOMweb service.
        node: HOST:PORT of its DICOM node.
        move_port: Where it sends to for the title MEDMM.
        study: StudyInstanceUID of the study it holds.
        run: Run a command where it can be reached, with more environment variables; stdout, stderr and exit status come back.
    """

    url: str
    node: str
    move_port: int
    study: str
    run: Callable[..., subprocess.CompletedProcess[str]]

    def medmm(self, *arguments: object, **variables: str) -> subprocess.CompletedProcess[str]:
        """Run the command line where Orthanc can be reached."""
        return self.run([sys.executable, "-m", "medmm", *map(str, arguments)], **variables)


@pytest.fixture(scope="session")
def orthanc(tmp_path_factory: pytest.TempPathFactory, patient_zip: Path) -> Iterator[Orthanc]:
    """Orthanc with the study of `patient_zip`."""
    reason = _missing()
    if reason:
        assert not os.environ.get("MEDMM_REQUIRE_ORTHANC"), reason
        pytest.skip(reason)
    root = os.geteuid() == 0
    config = _configure(tmp_path_factory.mktemp("orthanc"))
    server = subprocess.Popen(
        ["unshare", "-n" if root else "-rn", "sh", "-c", f"ip link set lo up && exec Orthanc {config}"],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    enter = ["nsenter", "-t", str(server.pid), "-n", *([] if root else ["-U", "--preserve-credentials"])]

    def run(command: list[str], **variables: str) -> subprocess.CompletedProcess[str]:
        environment = {**os.environ, **variables}
        return subprocess.run([*enter, *command], capture_output=True, text=True, timeout=120, check=False, env=environment)

    try:
        url = f"http://127.0.0.1:{_HTTP}/dicom-web"
        yield Orthanc(url, f"127.0.0.1:{_DIMSE}", _MOVE, _fill(run, url, patient_zip), run)
    finally:
        server.terminate()
        server.wait(timeout=30)


def _missing() -> str:
    for tool in ("Orthanc", "unshare", "nsenter", "ip"):
        if not shutil.which(tool):
            return f"no {tool} here"
    return "" if _PLUGIN.exists() else "no DICOMweb plug-in of Orthanc here"


def _configure(folder: Path) -> Path:
    config: dict[str, Any] = {
        "Name": "test", "StorageDirectory": str(folder), "IndexDirectory": str(folder), "HttpPort": _HTTP,
        "RemoteAccessAllowed": False,
        "AuthenticationEnabled": True, "RegisteredUsers": {"reader": "secret-word"}, "DicomPort": _DIMSE, "DicomAet": "ORTHANC",
        "DicomAlwaysAllowStore": False, "DicomModalities": {"medmm": ["MEDMM", "127.0.0.1", _MOVE]},
        "Plugins": [str(_PLUGIN)], "DicomWeb": {"Enable": True, "Root": "/dicom-web/"},
    }  # fmt: skip
    file = folder / "orthanc.json"
    file.write_text(json.dumps(config))
    return file


def _fill(run: Callable[..., subprocess.CompletedProcess[str]], url: str, patient_zip: Path) -> str:
    """Store a study, as soon as Orthanc answers; its StudyInstanceUID."""
    with_credentials = url.replace("http://", "http://reader:secret-word@")
    said = ""
    for _ in range(40):
        done = run([sys.executable, "-c", _STOW, with_credentials, str(patient_zip)])
        if done.returncode == 0:
            return done.stdout.strip()
        said = done.stderr
        time.sleep(0.5)
    pytest.fail(f"Orthanc does not take a study: {said[-500:]}")


@pytest.fixture
def serve() -> Iterator[Callable[[Answer], str]]:
    """Start a web server that answers every GET so; returns the URL of a service on it."""
    servers = []

    def begin(answer: Answer) -> str:
        servers.append(start(answer))
        return f"http://127.0.0.1:{servers[-1].server_address[1]}/dicom-web"

    yield begin
    for server in servers:
        server.shutdown()
        server.server_close()


@pytest.fixture
def members() -> Callable[[Path], list[bytes]]:
    """Contents of the files of a zip."""

    def read(path: Path) -> list[bytes]:
        with zipfile.ZipFile(path) as archive:
            return [archive.read(name) for name in archive.namelist() if not name.endswith("/")]

    return read

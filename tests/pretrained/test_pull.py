"""Weights come from the Hub at one commit, once their licence is accepted, and a broken connection is taken up again."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest
from typer.testing import CliRunner

from medmm.cli import app
from medmm.encoders.opened import CONTRACTS
from medmm.errors import InputError, LicenceError, TaskError
from medmm.pretrained.pull import plan_pull
from tests.web import serving

COMMIT, TOKEN = "c0ffee" + "0" * 34, "hf_" + "s3cret" * 5
PINNED = CONTRACTS["colipri"].text.revision
WEIGHTS = bytes(range(256)) * 90_000  # more than the library writes at once
TEXT = {"config.json": b"{}", "vocab.txt": b"[PAD]", "pytorch_model.bin": b"never taken"}


@dataclass
class Hub:
    """What a server of the Hub's protocol holds and was asked.

    Attributes:
        url: Address.
        breaks: How often it still stops in the middle of a large file.
        garbles: Whether a large file comes with other bytes than it announces.
        asked: Method, path and range of every request.
    """

    url: str = ""
    breaks: int = 0
    garbles: bool = False
    asked: list[str] = field(default_factory=list)


class Handler(BaseHTTPRequestHandler):
    hub: Hub
    protocol_version = "HTTP/1.1"

    def do_HEAD(self) -> None:
        self._answer(send=False)

    def do_GET(self) -> None:
        self._answer(send=True)

    def _answer(self, *, send: bool) -> None:
        span = self.headers.get("range", "")
        self.hub.asked.append(f"{self.command} {self.path} {span}".strip())
        if self.path.startswith(f"/api/models/microsoft/BiomedVLP-CXR-BERT-specialized/tree/{PINNED}"):
            self._send(
                json.dumps([{"type": "file", "path": n, "size": len(c), "oid": "0"} for n, c in TEXT.items()]).encode(), send
            )
        elif f"/resolve/{PINNED}/" in self.path:
            self._send(TEXT[self.path.rpartition("/")[2]], send, commit=PINNED)
        elif self.path != f"/microsoft/colipri/resolve/{COMMIT}/model.safetensors":
            self._send(b"", send, 404)
        elif self.headers.get("authorization") != f"Bearer {TOKEN}":
            self._send(b"", send, 401)
        else:
            self._send(WEIGHTS, send, commit=COMMIT, start=int(span.removeprefix("bytes=").rstrip("-") or 0))

    def _send(self, content: bytes, send: bool, status: int = 200, *, commit: str | None = "", start: int = 0) -> None:
        self.send_response(206 if start else status)
        self.send_header("content-length", str(len(content) - start))
        if commit:
            self.send_header("x-repo-commit", commit)
            self.send_header("etag", f'"{hashlib.sha256(content).hexdigest()}"')
        if start:
            self.send_header("content-range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        self.end_headers()
        if send and self.hub.breaks and content is WEIGHTS:
            self.hub.breaks -= 1
            self.wfile.write(content[start : start + len(content) * 2 // 3])
            self.close_connection = True
        elif send:
            self.wfile.write(content[start:] if not self.hub.garbles else bytes(len(content) - start))

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def hub() -> Iterator[Hub]:
    found = Hub()
    with serving(type("Serving", (Handler,), {"hub": found})) as found.url:
        yield found


def run(
    url: str, *arguments: object, token: str = TOKEN, home: Path, offline: str = "0", cwd: Path | None = None
) -> subprocess.CompletedProcess[str]:
    """`medmm models pull` in a process of its own: the library reads its address when it is imported."""
    environment = os.environ | {
        "HF_ENDPOINT": url, "HF_TOKEN": token, "HF_HUB_DISABLE_XET": "1", "HF_HUB_OFFLINE": offline, "HF_HOME": str(home)
    }  # fmt: skip
    command = [sys.executable, "-m", "medmm", "models", "pull", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, env=environment, stdin=subprocess.DEVNULL, cwd=cwd)


def test_weights_come_at_their_commit_with_a_record_and_without_the_token(hub: Hub, tmp_path: Path) -> None:
    out = tmp_path / "here" / "weights"
    arguments = ("--revision", COMMIT, "--accept-licence")
    done = run(hub.url, "colipri", Path("here", "weights"), *arguments, home=tmp_path / "home", cwd=tmp_path)  # as documented
    assert done.returncode == 0, done.stderr
    for word in ("MIT", "huggingface.co/microsoft/colipri", COMMIT, PINNED, "models open colipri here/weights/model.safetensors"):
        assert word in done.stdout
    assert all("/microsoft/" in asked for asked in hub.asked), hub.asked  # the library reports nothing of this machine
    assert (out / "model.safetensors").read_bytes() == WEIGHTS
    assert {f.name: f.read_bytes() for f in (out / "text").iterdir() if f.is_file()} == {
        name: content for name, content in TEXT.items() if not name.endswith(".bin")
    }
    record = json.loads((out / "pulled.json").read_text())
    assert record["files"]["model.safetensors"] == {
        "repo": "microsoft/colipri", "revision": COMMIT, "licence": "MIT, weights included",
        "sha256": hashlib.sha256(WEIGHTS).hexdigest(),
    }  # fmt: skip
    assert TOKEN not in done.stdout + done.stderr + (out / "pulled.json").read_text()


def test_without_acceptance_the_licence_is_shown_and_nothing_comes(tmp_path: Path) -> None:
    done = CliRunner().invoke(app, ["models", "pull", "colipri", str(tmp_path / "out"), "--revision", COMMIT])
    assert isinstance(done.exception, LicenceError)
    assert "--accept-licence" in done.exception.message
    assert "MIT, weights included; terms: https://huggingface.co/microsoft/colipri" in done.stdout
    assert not (tmp_path / "out").exists()


def test_a_broken_connection_is_taken_up_and_a_second_run_keeps_what_is_there(hub: Hub, tmp_path: Path) -> None:
    out, arguments = tmp_path / "out", ("--revision", COMMIT, "--accept-licence")
    hub.breaks = 1
    done = run(hub.url, "colipri", out, *arguments, home=tmp_path / "home")
    assert done.returncode == 0, done.stderr
    assert (out / "model.safetensors").read_bytes() == WEIGHTS
    assert any("model.safetensors bytes=" in asked for asked in hub.asked), hub.asked
    hub.asked.clear()
    assert run(hub.url, "colipri", out, *arguments, home=tmp_path / "home").returncode == 0
    assert not any(asked.startswith("GET") and "resolve" in asked for asked in hub.asked), hub.asked


def test_a_file_of_another_digest_than_announced_is_not_kept(hub: Hub, tmp_path: Path) -> None:
    out, arguments = tmp_path / "out", ("--revision", COMMIT, "--accept-licence")
    hub.garbles = True
    done = run(hub.url, "colipri", out, *arguments, home=tmp_path / "home")
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1].startswith("E_REMOTE: Expected a file with the SHA-256 that the Hub announces")
    assert not (out / "model.safetensors").exists()
    hub.garbles = False
    assert run(hub.url, "colipri", out, *arguments, home=tmp_path / "home").returncode == 0
    assert (out / "model.safetensors").read_bytes() == WEIGHTS


@pytest.mark.parametrize(("token", "offline", "told"), [("hf_wrong", "0", "401"), (TOKEN, "1", "Run it again")])
def test_a_refusal_and_no_network_are_one_line(hub: Hub, tmp_path: Path, token: str, offline: str, told: str) -> None:
    arguments = ("colipri", tmp_path / "out", "--revision", COMMIT, "--accept-licence")
    done = run(hub.url, *arguments, token=token, offline=offline, home=tmp_path / "home")
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1].startswith("E_REMOTE: ")
    assert told in done.stderr
    assert token not in done.stdout + done.stderr


def test_a_commit_is_stated_or_known_and_never_contradicted() -> None:
    with pytest.raises(TaskError, match="merlin, ct_clip, colipri"):
        plan_pull("other", COMMIT, None)
    for stated in (None, "main", COMMIT[:12], COMMIT.upper()):
        with pytest.raises(InputError, match="--revision with a commit of microsoft/colipri, 40 hex digits"):
            plan_pull("colipri", stated, None)
    with pytest.raises(InputError, match=f"--text-revision .*{PINNED}"):
        plan_pull("colipri", COMMIT, COMMIT)
    with pytest.raises(InputError, match="--text-revision"):
        plan_pull("merlin", COMMIT, None)
    weights, text = plan_pull("ct_clip", COMMIT, PINNED)
    assert (weights.published.kind, weights.revision, text.revision) == ("dataset", COMMIT, PINNED)
    assert weights.published.page == "https://huggingface.co/datasets/ibrahimhamamci/CT-RATE"

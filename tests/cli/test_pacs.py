from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from medmm.cli import app

run = CliRunner().invoke


@pytest.mark.parametrize("node", ["host", "host:", ":104", "host:port", "host:0", "host:70000"])
def test_a_node_is_host_and_port(node: str) -> None:
    done = run(app, ["find", "dimse", node, "--aet", "A", "--json"])
    assert done.exit_code == 2
    assert json.loads(done.stdout)["error"] == {
        "code": "E_INPUT", "message": "Expected HOST:PORT, as in pacs.example.org:11112; got something else.",
    }  # fmt: skip


def test_a_service_that_is_not_there(tmp_path: Path) -> None:
    url = "http://127.0.0.1:9/dicom-web"
    for command in (["find", "dicomweb", url], ["pull", "dicomweb", url, "--study", "1.2", "--out", str(tmp_path / "out")]):
        done = run(app, [*command, "--json"])
        assert (done.exit_code, json.loads(done.stdout)["error"]["code"]) == (2, "E_REMOTE")
    assert list(tmp_path.iterdir()) == []

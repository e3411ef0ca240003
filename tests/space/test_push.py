from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from medmm.errors import InputError, StoreError
from medmm.space.checks import files_of
from medmm.space.push import plan, push


def run(url: str, token: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    """`medmm space push` in a process of its own: the library reads its address when it is imported."""
    environment = os.environ | {"HF_ENDPOINT": url, "HF_TOKEN": token, "HF_HUB_DISABLE_XET": "1", "HF_HUB_OFFLINE": "0"}
    command = [sys.executable, "-m", "medmm", "space", "push", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, env=environment)


def content(folder: Path) -> dict[str, bytes]:
    return {f.relative_to(folder).as_posix(): f.read_bytes() for f in files_of(folder)}


def test_without_yes_it_says_what_it_would_do_and_asks_nobody(bundle: Path, hub: Any) -> None:
    done = run(hub.url, hub.token, "jane/ct", "--bundle", bundle)
    assert done.returncode == 0, done.stderr
    assert all(name in done.stdout for name in content(bundle))
    assert "private" in done.stdout
    assert "Nothing was sent" in done.stdout
    assert hub.asked == []


def test_a_push_makes_a_private_space_that_holds_exactly_the_bundle(bundle: Path, hub: Any) -> None:
    hub.files["left_over.py"] = b"of an earlier push"
    done = run(hub.url, hub.token, "jane/ct", "--bundle", bundle, "--yes", "--json")
    assert done.returncode == 0, done.stderr
    assert hub.spaces["jane/ct"]["visibility"] == "private"
    assert hub.spaces["jane/ct"]["type"] == "space"
    assert hub.spaces["jane/ct"]["sdk"] == "gradio"
    assert hub.files == content(bundle)
    assert json.loads(done.stdout)["url"] == f"{hub.url}/spaces/jane/ct"
    assert hub.token not in done.stdout + done.stderr
    again = run(hub.url, hub.token, "jane/ct", "--bundle", bundle, "--yes")
    assert again.returncode == 0, again.stderr
    assert hub.files == content(bundle)


def test_a_refused_token_is_one_line_without_the_token(bundle: Path, hub: Any) -> None:
    done = run(hub.url, "hf_wrong_secret", "jane/ct", "--bundle", bundle, "--yes")
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1].startswith("E_REMOTE: ")
    assert "401" in done.stderr
    assert "hf_wrong_secret" not in done.stdout + done.stderr
    assert hub.files == {}


def test_nobody_there_is_told(bundle: Path) -> None:
    done = run("http://127.0.0.1:9", "hf_any", "jane/ct", "--bundle", bundle, "--yes")
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1].startswith("E_REMOTE: ")


def test_no_token_no_push(bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HF_TOKEN", raising=False)
    with pytest.raises(InputError, match="HF_TOKEN"):
        push(bundle, plan(bundle, "jane/ct"))


def test_a_bundle_that_was_tried_is_still_the_one_that_was_checked(bundle: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(bundle, copy)
    code = "import medmm.shelf; medmm.shelf.examples()"
    environment = os.environ | {"PYTHONPATH": str(copy), "PYTHONDONTWRITEBYTECODE": ""}
    subprocess.run([sys.executable, "-c", code], env=environment, cwd=copy, check=True, timeout=60)
    assert list(copy.rglob("__pycache__"))
    assert plan(copy, "jane/ct") == plan(bundle, "jane/ct")


@pytest.mark.parametrize("change", ["added", "altered", "removed"])
def test_only_what_was_checked_is_pushed(bundle: Path, tmp_path: Path, change: str) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(bundle, copy)
    if change == "added":
        (copy / "patient.dcm").write_bytes(b"x")
    elif change == "altered":
        (copy / "app.py").write_text("print()", encoding="utf-8")
    else:
        (copy / "README.md").unlink()
    with pytest.raises(StoreError, match="since"):
        plan(copy, "jane/ct")


def test_a_folder_that_is_no_bundle_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="space build"):
        plan(tmp_path, "jane/ct")


@pytest.mark.parametrize("name", ["ct", "a/b/c", "../x", "jane/", "jane/c t", ""])
def test_a_space_has_a_user_and_a_name(bundle: Path, name: str) -> None:
    with pytest.raises(InputError, match="USER/NAME"):
        plan(bundle, name)


def test_a_plan_adds_up(bundle: Path) -> None:
    planned: dict[str, Any] = plan(bundle, "jane/ct").to_dict()
    assert planned["bytes"] == sum(map(len, content(bundle).values()))
    assert planned["files"].keys() == content(bundle).keys()

"""What a confined child may do, tried with children that do too much."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
from PIL import Image

from medmm.worker import SINGLE_THREADED

HARNESS = """
import json, sys
from medmm.sources.cell import Allowance, confined
from medmm.worker import answer
import os, resource, signal, socket, threading, time
import numpy as np
from pathlib import Path
from medmm.errors import MissingSlicesError

{body}

print(json.dumps(answer(confined(work, Allowance(**json.loads(sys.argv[1]))), {{}})))
"""


@pytest.fixture
def confine(tmp_path: Path) -> Callable[..., dict[str, Any]]:
    """The reply to a task `work`, given as code, done in a confined child of a process of its own."""

    def run(body: str, **allowance: float) -> dict[str, Any]:
        command = [sys.executable, "-c", HARNESS.format(body=body), json.dumps(allowance)]
        environment = os.environ | SINGLE_THREADED
        found = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True, cwd=tmp_path, env=environment)
        reply: dict[str, Any] = json.loads(found.stdout.splitlines()[-1])
        return reply

    return run


def code_of(reply: dict[str, Any]) -> str:
    assert "error" in reply, reply
    code: str = reply["error"]["code"]
    return code


def test_a_result_comes_back_from_another_process(confine: Any) -> None:
    reply = confine("def work(): return {'pid': os.getpid(), 'parent': os.getppid(), 'leads': os.getpgrp() == os.getpid()}")
    assert reply["result"]["pid"] != reply["result"]["parent"]
    assert reply["result"]["leads"]


def test_a_typed_error_comes_back_with_its_code(confine: Any) -> None:
    reply = confine("def work(): raise MissingSlicesError('Expected this.')")
    assert reply["error"] == {"code": "E_MISSING_SLICES", "message": "Expected this."}


def test_an_untyped_error_comes_back_as_its_kind_only(confine: Any) -> None:
    reply = confine("def work(): raise KeyError('SECRET')")
    assert reply["error"] == {"code": "E_INTERNAL", "message": "Unexpected KeyError."}


@pytest.mark.parametrize(
    "body",
    [
        "def work(): time.sleep(60)",
        "def work():\n    while True: pass",
        "def work():\n    signal.pthread_sigmask(signal.SIG_BLOCK, range(1, 60))\n    time.sleep(60)",
        "def work():\n    if os.fork(): os._exit(0)\n    time.sleep(60)",
    ],
    ids=["sleeps", "computes", "ignores signals", "leaves a grandchild with the pipe"],
)
def test_what_takes_too_long_is_ended(confine: Any, body: str) -> None:
    assert code_of(confine(body, seconds=0.5)) in ("E_BUDGET", "E_WORKER")


@pytest.mark.parametrize(
    "body",
    ["def work(): np.ones(1 << 28)", "def work():\n    kept = []\n    while True: kept.append(bytes(1 << 20))"],
    ids=["at once", "bit by bit"],
)
def test_what_takes_too_much_memory_is_ended(confine: Any, body: str) -> None:
    assert code_of(confine(body, memory_bytes=1 << 30)) == "E_BUDGET"


def test_being_killed_for_memory_by_the_system_is_a_budget_error_too(confine: Any) -> None:
    assert code_of(confine("def work(): os.kill(os.getpid(), signal.SIGKILL)")) == "E_BUDGET"


@pytest.mark.parametrize("crash", ["SIGSEGV", "SIGBUS", "SIGABRT", "SIGILL", "SIGFPE"])
def test_a_crash_is_a_damaged_input(confine: Any, crash: str) -> None:
    assert code_of(confine(f"def work(): os.kill(os.getpid(), signal.{crash})")) == "E_CORRUPT"


@pytest.mark.parametrize("body", ["def work(): os._exit(0)", "def work(): os._exit(3)", "def work(): return {'x': object()}"])
def test_no_or_no_usable_reply_is_a_failed_worker(confine: Any, body: str) -> None:
    assert code_of(confine(body)) == "E_WORKER"


def test_a_reply_that_never_ends_is_cut_off(confine: Any) -> None:
    assert code_of(confine("def work(): return {'x': 'y' * (2 << 20)}")) == "E_BUDGET"


def test_a_file_that_grows_too_large_is_refused(confine: Any, tmp_path: Path) -> None:
    confine("def work(): Path('out').write_bytes(bytes(5 << 20))", written_bytes=1 << 20)
    assert (tmp_path / "out").stat().st_size == 1 << 20


def test_the_child_has_no_file_of_its_parent_but_the_pipe(confine: Any) -> None:
    body = "kept = open('/dev/null')\ndef work(): return {'open': sorted(map(int, os.listdir('/dev/fd')))}"
    inherited = confine(body)["result"]["open"]
    assert len(inherited) <= 5  # three standard ones, the pipe, and the listing itself


def test_the_child_may_gain_no_privilege_and_dumps_no_core(confine: Any) -> None:
    body = "def work(): return {'status': Path('/proc/self/status').read_text(), 'core': resource.getrlimit(resource.RLIMIT_CORE)}"
    told = confine(body)
    assert "NoNewPrivs:\t1" in told["result"]["status"]
    assert told["result"]["core"] == [0, 0]


CALL_A_NEIGHBOUR = """
neighbour = socket.create_server(("127.0.0.1", 0))
address = neighbour.getsockname()
def work():
    try:
        socket.create_connection(address, timeout=2)
    except OSError:
        return {"reached": False}
    return {"reached": True}
"""


def network_can_be_left() -> bool:
    code = "import sys; from medmm.sources.cell import leave_network; sys.exit(not leave_network())"
    return subprocess.run([sys.executable, "-c", code], check=False, timeout=60).returncode == 0


def test_the_child_reaches_no_network_where_the_system_allows_to_leave_it(confine: Any) -> None:
    if not network_can_be_left():
        pytest.skip("this system lets no process leave the network")
    assert confine(CALL_A_NEIGHBOUR)["result"] == {"reached": False}


@pytest.mark.parametrize("allowed", [True, False])
def test_a_system_that_keeps_its_processes_on_the_network_is_told_of(allowed: bool) -> None:
    if allowed and not network_can_be_left():
        pytest.skip("this system lets no process leave the network")
    refused = "" if allowed else "cell._NEW_NETWORK = cell._NEW_USER = 1; "  # no flag of unshare: the kernel refuses
    code = f"from medmm.sources import cell; {refused}cell.tell_what_is_missing()"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert ("no process leave the network" in found.stderr) != allowed


def test_a_parent_that_is_killed_takes_its_child_along(tmp_path: Path, alive: Callable[[int], bool]) -> None:
    body = "def work():\n    print(os.getpid(), flush=True)\n    time.sleep(60)"
    command = [sys.executable, "-c", HARNESS.format(body=body), "{}"]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, text=True, cwd=tmp_path, env=os.environ | SINGLE_THREADED
    ) as parent:  # fmt: skip
        assert parent.stdout is not None
        child = int(parent.stdout.readline())
        assert alive(child)
        parent.kill()
        assert parent.stdout.read() == ""  # at its end when every holder of the pipe is gone


def test_the_warm_process_imports_no_torch() -> None:
    code = "import sys; from medmm.sources.cell import preload; preload(); print('pydicom' in sys.modules, 'torch' in sys.modules)"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert found.stdout.split() == ["True", "False"]


READING = """
import sys
from pathlib import Path
from medmm.sources.cell import open_to_folder, preload
preload()
for number, path in enumerate(sys.argv[2:]):
    before, folder = set(sys.modules), Path(sys.argv[1]) / str(number)
    folder.mkdir()
    open_to_folder(path, str(folder))
    print(*(name for name in set(sys.modules) - before if not name.startswith("encodings.")))
"""


def test_no_child_imports_again_what_the_warm_process_could_have(tmp_path: Path, patient_zip: Path) -> None:
    values = np.random.default_rng(0).integers(0, 255, (32, 32, 32)).astype(np.uint8)
    nibabel.save(nibabel.Nifti1Image(values, np.eye(4)), volume := tmp_path / "volume.nii.gz")  # type: ignore[no-untyped-call]
    for name in ("picture.png", "picture.jpg"):
        Image.fromarray(values[0]).save(tmp_path / name)
    paths = [tmp_path / "picture.png", tmp_path / "picture.jpg", volume, patient_zip]
    code = [sys.executable, "-W", "ignore", "-c", READING, str(tmp_path), *map(str, paths)]
    found = subprocess.run(code, capture_output=True, text=True, check=True, timeout=120)
    assert found.stdout == "\n" * len(paths)

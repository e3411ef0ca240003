"""The handlers of the page with its real helper processes: one page, both shipped models, no browser."""

from __future__ import annotations

import os
import re
import shutil
import signal
import time
import warnings
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile  # type: ignore[import-untyped]  # it ships no types

from medmm import open_study
from medmm.errors import AudioError, CancelledError, ModelError, NoImageError
from medmm.inference import load_model
from medmm.leakage import LeakageWarning
from medmm.shelf import DEFAULT_MODEL, examples, find_model, model_names
from medmm.training import TrainConfig, train
from medmm.ui.page import PACK_ROUTE, Page
from tests.handlers import asked, opened

NOTE = "59-year-old male with a soft-tissue sarcoma of the left thigh. Grade: high."
NAME = "SECRET^Patient 1970"
Outlined = Callable[[str], Any]


@pytest.fixture(scope="module")
def page() -> Iterator[Page]:
    made = Page(None)
    made.warm()
    yield made
    made.close()


@pytest.fixture
def store(page: Page, send: Callable[..., str]) -> Callable[..., str]:
    def put(content: bytes, name: str = NAME) -> str:
        return send(page.sessions, content, name)

    return put


def left_on_disk(page: Page) -> list[Path]:
    return [p for p in page.sessions.root.rglob("*") if p != page.sessions.uploads]


def code_in(html: str) -> str:
    """The error code of a failure; empty when it is none."""
    found = re.search(r"\bE_[A-Z_]+\b", html)
    return found.group() if found else ""


@pytest.mark.parametrize("index", range(len(examples())), ids=lambda i: examples()[i].path.stem)
def test_every_example_opens_and_is_answered(page: Page, outline: Outlined, index: int) -> None:
    example = examples()[index]
    (spec, facts, token), note, model = page.open_example(index, "anna")
    assert spec is not None
    assert spec["url"] == PACK_ROUTE + token
    assert (spec["unit"], note, model) == ("HU", example.note, example.model)
    assert page.sessions.find(token, "anna").joinpath("pack", "0-0").is_file()
    told = outline(facts).text
    assert example.attribution in told
    assert example.truth in told
    result = asked(page, token, note, model, "anna")
    assert code_in(result) == ""
    labels = page.about(model)["labels"]
    shown = [float(p) for p in re.findall(r"width:([\d.]+)%", result)]
    assert len(shown) == len(labels)
    assert sum(shown) == pytest.approx(100, abs=0.2)
    assert all(label.replace("_", " ") in outline(result).text for label in labels)
    assert "W_NO_" not in result


def test_an_upload_is_answered_and_gone_from_where_the_server_put_it(page: Page, store: Any, patient_zip: Path) -> None:
    upload = store(patient_zip.read_bytes(), f"{NAME}.zip")
    spec, facts, token = opened(page, [upload], "anna")
    assert spec is not None
    assert "SECRET" not in facts + str(spec)
    assert list(page.sessions.uploads.iterdir()) == []
    assert {f.name for f in page.sessions.find(token, "anna").iterdir()} == {"pack", "study.json", "volume0.npy"}
    (example, _, _), *_ = page.open_example([e.path for e in examples()].index(patient_zip), "ben")
    assert {**spec, "url": ""} == {**(example or {}), "url": ""}
    page.sessions.wipe("anna")
    page.sessions.wipe("ben")
    assert left_on_disk(page) == []


def test_files_of_a_series_uploaded_together_are_one_study(page: Page, store: Any, patient_zip: Path) -> None:
    with zipfile.ZipFile(patient_zip) as archive:
        uploads = [store(archive.read(name), Path(name).name) for name in archive.namelist()]
    spec, facts, _ = opened(page, uploads, "anna")
    assert code_in(facts) == ""
    assert spec is not None
    assert spec["shape"][2] == len(uploads)
    assert list(page.sessions.uploads.iterdir()) == []
    page.sessions.wipe("anna")


@pytest.mark.parametrize(
    ("content", "code"),
    [
        (b"PK\x03\x04 and then nothing of a zip", "E_ARCHIVE"),
        (b"SECRET 59-year-old male\n", "E_NO_IMAGE"),
        (b"", "E_NO_IMAGE"),
        (b"\x89PNG\r\n\x1a\n broken", "E_CORRUPT"),
        (b"\x00" * 128 + b"DICM" + b"\xff" * 64, None),
    ],
    ids=["zip", "text", "empty", "png", "dicom"],
)
def test_an_unreadable_upload_is_refused_by_code_and_leaves_nothing(
    page: Page, store: Any, outline: Outlined, content: bytes, code: str | None
) -> None:
    spec, html, token = opened(page, [store(content)], "anna")
    assert (spec, token) == (None, "")
    assert code_in(html) == code if code else code_in(html) not in ("", "E_INTERNAL")
    assert "SECRET" not in html
    assert str(page.sessions.root) not in html
    assert [tag for tag in outline(html).tags if tag[0] == "div" and "role" in tag]
    assert left_on_disk(page) == []


def test_a_refused_upload_replaces_the_study_before_it(page: Page, store: Any) -> None:
    (_, _, token), *_ = page.open_example(0, "anna")
    opened(page, [store(b"text")], "anna")
    assert code_in(asked(page, token, NOTE, DEFAULT_MODEL, "anna")) == "E_NO_IMAGE"
    assert left_on_disk(page) == []


def test_an_upload_that_is_gone_is_refused_by_code(page: Page, store: Any, patient_zip: Path) -> None:
    upload = store(patient_zip.read_bytes())
    shutil.rmtree(Path(upload).parent)
    spec, html, token = opened(page, [upload], "anna")
    assert (spec, code_in(html), token) == (None, "E_NO_IMAGE", "")
    assert "SECRET" not in html
    assert left_on_disk(page) == []


def test_a_study_is_only_for_the_visitor_who_opened_it(page: Page) -> None:
    (_, _, token), note, model = page.open_example(0, "anna")
    assert code_in(asked(page, token, note, model, "ben")) == "E_NO_IMAGE"
    assert code_in(asked(page, token, note, model, "anna")) == ""
    page.sessions.wipe("anna")
    assert code_in(asked(page, token, note, model, "anna")) == "E_NO_IMAGE"


def test_a_question_about_a_study_that_has_just_gone_is_stopped(page: Page, tmp_path: Path) -> None:
    with pytest.raises((CancelledError, NoImageError)):  # whichever is first: the look after the place, or the task in it
        page.ask_about(tmp_path / "gone", NOTE, DEFAULT_MODEL, "anna").result()


def test_who_leaves_leaves_nothing(page: Page, store: Any, patient_zip: Path) -> None:
    page.take([store(patient_zip.read_bytes())], "anna")
    page.leave("anna")
    page.leave("nobody")
    assert left_on_disk(page) == []


def test_a_note_alone_and_a_scan_alone_are_answered_and_say_what_is_missing(page: Page) -> None:
    assert "W_NO_IMAGE" in asked(page, "", NOTE, DEFAULT_MODEL, "anna")
    (_, _, token), *_ = page.open_example(0, "anna")
    for nothing in ("", "  \n", None):
        assert "W_NO_TEXT" in asked(page, token, nothing, DEFAULT_MODEL, "anna")
    page.sessions.wipe("anna")


@pytest.mark.parametrize(
    ("note", "model", "code"),
    [
        ("", DEFAULT_MODEL, "E_MISSING_MODALITY"),
        (" \n", DEFAULT_MODEL, "E_MISSING_MODALITY"),
        ("SECRET " * 200_000, DEFAULT_MODEL, "E_TEXT"),
        (NOTE, "SECRET", "E_MODEL_INTEGRITY"),
        (NOTE, str(find_model()), "E_MODEL_INTEGRITY"),  # a path is no name
        (NOTE, "../sts51", "E_MODEL_INTEGRITY"),
        (NOTE, None, "E_MODEL_INTEGRITY"),
    ],
)
def test_what_cannot_be_answered_is_refused_by_code(page: Page, note: str, model: Any, code: str) -> None:
    html = asked(page, "", note, model, "anna")
    assert code_in(html) == code
    assert "SECRET" not in html


def test_a_note_is_never_written_to_disk(page: Page) -> None:
    (_, _, token), *_ = page.open_example(0, "anna")
    asked(page, token, "SECRETNOTE sarcoma of the thigh", DEFAULT_MODEL, "anna")
    assert not [f for f in page.sessions.root.rglob("*") if f.is_file() and b"SECRETNOTE" in f.read_bytes()]
    page.sessions.wipe("anna")


def test_a_hostile_note_does_not_become_markup(page: Page, outline: Outlined) -> None:
    note = '<img src=x onerror="alert(1)"> </div><script>alert(2)</script> sarcoma ' * 100
    html = asked(page, "", note, DEFAULT_MODEL, "anna")
    assert "W_NOTE_CUT" in html
    assert not {"img", "script"} & {tag[0] for tag in outline(html).tags}


def test_each_model_is_described_and_others_are_not(page: Page, outline: Outlined) -> None:
    assert sorted(page.models()) == model_names()
    assert page.models()[0] == DEFAULT_MODEL
    for name in page.models():
        assert name in outline(page.describe(name)).text
    assert code_in(page.describe("SECRET")) == "E_MODEL_INTEGRITY"
    with pytest.raises(ModelError):
        page.about("SECRET")


def test_only_a_scan_wide_as_a_trunk_is_shown_as_lung(page: Page) -> None:
    for index, example in enumerate(examples()):
        (spec, _, _), *_ = page.open_example(index, "anna")
        assert spec is not None
        assert spec["lung"] == (spec["shape"][0] * spec["spacing"][0] > 300), example.title
    page.sessions.wipe("anna")


@pytest.fixture(scope="module")
def listener(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model that reads notes and recordings."""
    folder = tmp_path_factory.mktemp("listener")
    rows = ["study_id,patient_id,note,audio,label,split"]
    for i, tone in enumerate(np.sin(np.arange(8000) / (20 - 10 * (i % 2))) for i in range(24)):
        soundfile.write(folder / f"{i}.wav", tone, 16_000)
        rows.append(f"S{i},P{i},Lesion of {i % 7 + 1} cm.,{i}.wav,{('no', 'yes')[i % 2]},{('train', 'val', 'test')[i // 2 % 3]}")
    (folder / "cohort.csv").write_text("\n".join(rows))
    options: dict[str, Any] = {"text": {"width": 16}, "audio": {"widths": [8, 8]}}
    config = TrainConfig(modalities=("text", "audio"), epochs=1, width=16, fusion="concat", encoder_options=options)
    with warnings.catch_warnings(action="ignore", category=LeakageWarning):  # the tone is the label
        return train(folder / "cohort.csv", folder / "listener", config, device="cpu").folder


def test_a_recording_is_read_by_a_model_that_reads_audio_until_it_is_removed(listener: Path, send: Any) -> None:
    page = Page(str(listener))
    tone = (listener.parent / "0.wav").read_bytes()
    heard = page.hear(send(page.sessions, tone, NAME), "anna")
    assert set(heard) == {"seconds", "recording"}
    page.sessions.new("anna")  # another study is opened
    answer = page.ask("", NOTE, "listener", "anna", recording=heard["recording"]).result()
    expected = load_model(str(listener), "cpu").predict(open_study(None, NOTE, audio=listener.parent / "0.wav"))
    assert answer["modalities"] == ["text", "audio"]
    assert answer["probabilities"] == pytest.approx(expected.to_dict()["probabilities"])
    with pytest.raises(AudioError, match="Record it again"):
        page.ask("", NOTE, "listener", "ben", recording=heard["recording"])
    again = page.hear(send(page.sessions, tone, NAME), "anna", heard["recording"])
    with pytest.raises(AudioError, match="Record it again"):
        page.ask("", NOTE, "listener", "anna", recording=heard["recording"])
    assert page.ask("", None, "listener", "anna", recording=again["recording"]).result()["modalities"] == ["audio"]
    page.sessions.wipe("anna")
    assert left_on_disk(page) == []
    page.close()


def test_a_recording_that_no_model_reads_is_not_kept(page: Page, store: Any, listener: Path) -> None:
    assert "recording" not in page.hear(store((listener.parent / "0.wav").read_bytes()), "anna")
    assert left_on_disk(page) == []


def test_the_page_lives_on_when_a_helper_dies(page: Page) -> None:
    page.open_example(0, "anna")
    process = page.reader._process
    assert process is not None
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    (spec, _, _), *_ = page.open_example(0, "anna")
    assert spec is not None
    page.sessions.wipe("anna")


def test_close_leaves_no_folder_and_no_process(alive: Callable[[int], bool]) -> None:
    page = Page("phantom")
    page.open_example(0, "anna")
    page.warm()
    while page.predictor._process is None:
        time.sleep(0.01)
    pids = [worker._process.pid for worker in (page.reader, page.predictor) if worker._process]
    assert [alive(pid) for pid in pids] == [True, True]
    page.close()
    assert not page.sessions.root.exists()
    assert [alive(pid) for pid in pids] == [False, False]
    assert code_in(asked(page, "", NOTE, "phantom", "anna")) == "E_WORKER"


def test_a_model_folder_is_called_by_its_name(tmp_path: Path) -> None:
    shutil.copytree(find_model("phantom"), tmp_path / "mine")
    page = Page(str(tmp_path / "mine"))
    assert page.models() == ["mine"]
    page.close()


def test_an_unknown_model_leaves_nothing_behind() -> None:
    with pytest.raises(ModelError):
        Page("no_such_model")


def test_an_example_made_for_a_model_that_is_not_there_gets_the_one_that_is() -> None:
    page = Page("phantom")
    other = next(i for i, e in enumerate(examples()) if e.model != "phantom")
    (_, _, token), _, model = page.open_example(other, "anna")
    page.close()
    assert token
    assert model == "phantom"

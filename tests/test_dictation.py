"""Recordings written down: the words of transformers' own pipeline, and a confidence that can be computed by hand."""

from __future__ import annotations

import csv
import math
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch
from transformers import AutoModelForCTC, AutoModelForSpeechSeq2Seq, AutoProcessor, pipeline

from medmm.dictation import Recogniser, Transcript, transcribe_cohort, windows
from medmm.errors import AudioError, CohortError, ModelError
from medmm.sources.cohort import read_cohort
from medmm.study import Recording
from tests.recognisers import wav2vec2, whisper

RATE = 16_000


def sound(seconds: float, seed: int = 0) -> Any:
    return (np.random.default_rng(seed).standard_normal(int(seconds * RATE)) * 0.1).astype(np.float32)


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("recognisers")
    return {"writes": whisper(root / "whisper"), "spells": wav2vec2(root / "wav2vec2")}


@pytest.mark.parametrize("kind", ["writes", "spells"])
def test_the_words_are_those_of_the_pipeline(folders: dict[str, Path], kind: str) -> None:
    heard = Recogniser(folders[kind]).transcribe(Recording(sound(3), RATE))
    peer = pipeline("automatic-speech-recognition", model=str(folders[kind]), device="cpu")
    expected = peer(sound(3), **({"generate_kwargs": {"num_beams": 1}} if kind == "writes" else {}))["text"]
    assert heard.text == expected.strip()
    assert heard.seconds == 3
    assert 0 < heard.confidence < 1


def test_the_confidence_of_a_writer_is_that_of_what_it_wrote(folders: dict[str, Path]) -> None:
    processor = AutoProcessor.from_pretrained(folders["writes"])
    model = AutoModelForSpeechSeq2Seq.from_pretrained(folders["writes"]).eval()
    inputs = processor.feature_extractor(sound(3), sampling_rate=RATE, return_tensors="pt").input_features
    written = model.generate(inputs, do_sample=False)[0].tolist()
    fed = processor.tokenizer.convert_tokens_to_ids(["<|startoftranscript|>", "<|notimestamps|>"])
    special, logs = set(processor.tokenizer.all_special_ids), []
    with torch.no_grad():
        for token in written:  # one word piece at a time
            p = float(model(inputs, decoder_input_ids=torch.tensor([fed])).logits[0, -1].softmax(-1)[token])
            logs += [] if token in special else [math.log(p)]
            fed.append(token)
    heard = Recogniser(folders["writes"]).transcribe(Recording(sound(3), RATE))
    assert len(logs) > 3
    assert heard.confidence == pytest.approx(math.exp(np.mean(logs)), rel=1e-4)


def test_the_confidence_of_a_speller_is_that_of_each_letter_where_it_begins(folders: dict[str, Path]) -> None:
    processor, model = AutoProcessor.from_pretrained(folders["spells"]), AutoModelForCTC.from_pretrained(folders["spells"]).eval()
    with torch.no_grad():
        p = model(**processor(sound(3), sampling_rate=RATE, return_tensors="pt")).logits[0].softmax(-1).numpy()
    firsts = [next(frames) for _, frames in groupby(enumerate(p.argmax(1)), key=lambda frame: frame[1])]
    logs = [math.log(p[i, letter]) for i, letter in firsts if letter != 0]
    assert len(logs) > 3
    heard = Recogniser(folders["spells"]).transcribe(Recording(sound(3), RATE))
    assert heard.confidence == pytest.approx(math.exp(np.mean(logs)), rel=1e-4)


def test_a_long_recording_is_cut_where_it_is_quiet_and_nothing_is_lost() -> None:
    long = sound(70)
    long[27 * RATE : 27 * RATE + RATE // 2] *= 0.001
    pieces = windows(long, RATE)
    assert np.array_equal(np.concatenate(pieces), long)
    assert all(len(piece) <= 30 * RATE for piece in pieces)
    assert 27 * RATE <= len(pieces[0]) <= 27.5 * RATE


def test_silence_is_not_listened_to() -> None:
    assert windows(np.zeros(3 * RATE, np.float32), RATE) == []
    quiet = np.concatenate([np.zeros(40 * RATE, np.float32), sound(5)])
    assert sum(map(len, windows(quiet, RATE))) <= 30 * RATE


def test_silence_is_no_note(folders: dict[str, Path]) -> None:
    with pytest.raises(AudioError, match="none were understood"):
        Recogniser(folders["writes"]).transcribe(Recording(np.zeros(RATE, np.float32), RATE))


@pytest.mark.parametrize("kind", ["writes", "spells"])
@pytest.mark.parametrize("samples", [1, 8, 400])
def test_a_click_is_no_note(folders: dict[str, Path], kind: str, samples: int) -> None:
    with pytest.raises(AudioError, match="none were understood"):
        Recogniser(folders[kind]).transcribe(Recording(sound(1)[:samples], RATE))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("kind", ["writes", "spells"])
def test_weights_in_half_precision_write_the_same(folders: dict[str, Path], tmp_path: Path, kind: str, dtype: torch.dtype) -> None:
    family = AutoModelForSpeechSeq2Seq if kind == "writes" else AutoModelForCTC
    family.from_pretrained(folders[kind]).to(dtype).save_pretrained(tmp_path)
    AutoProcessor.from_pretrained(folders[kind]).save_pretrained(tmp_path)
    heard, whole = (Recogniser(folder).transcribe(Recording(sound(3), RATE)) for folder in (tmp_path, folders[kind]))
    assert heard.confidence == pytest.approx(whole.confidence, rel=0.05)


@pytest.mark.parametrize("spoil", ["nothing", "pickle", "half", "nan"])
def test_what_is_no_recogniser_is_refused_without_its_path(folders: dict[str, Path], tmp_path: Path, spoil: str) -> None:
    folder = tmp_path / "SECRET"
    whisper(folder)
    weights = folder / "model.safetensors"
    if spoil == "nothing":
        weights.unlink()
    elif spoil == "pickle":
        from safetensors.torch import load_file

        torch.save(load_file(weights), folder / "pytorch_model.bin")
        weights.unlink()
    elif spoil == "nan":
        from safetensors.torch import load_file, save_file

        tensors = load_file(weights)
        next(tensor for name, tensor in tensors.items() if name.endswith("decoder.layers.1.fc1.bias"))[0] = torch.nan
        save_file(tensors, weights, {"format": "pt"})
    else:
        from safetensors.torch import load_file, save_file

        kept = {name: t for name, t in load_file(weights).items() if ".layers.1." not in name}
        save_file(kept, weights, {"format": "pt"})
    with pytest.raises(ModelError) as caught:
        Recogniser(folder)
    assert "SECRET" not in caught.value.message


def test_a_note_is_trusted_as_far_as_it_was_understood() -> None:
    assert Transcript("a mass", 0.25, 2.0).note.confidence == 0.25


def test_a_cohort_gets_its_notes_from_its_recordings(folders: dict[str, Path], tmp_path: Path) -> None:
    for name in ("a", "b"):
        soundfile.write(tmp_path / f"{name}.wav", sound(2, ord(name)), RATE)
    soundfile.write(tmp_path / "silent.wav", np.zeros(RATE, np.float32), RATE)
    (tmp_path / "broken.wav").write_bytes(b"RIFF no sound")
    rows = [("1", "a.wav", ""), ("2", "b.wav", "typed"), ("3", "silent.wav", ""), ("4", "broken.wav", ""), ("5", "", "")]
    with (tmp_path / "cohort.csv").open("w", newline="") as file:
        csv.writer(file).writerows([("study_id", "audio", "note", "patient_id"), *((i, a, n, f"p{i}") for i, a, n in rows)])
    recogniser, told = Recogniser(folders["writes"]), []
    done = transcribe_cohort(tmp_path / "cohort.csv", tmp_path / "written.csv", recogniser, lambda *step: told.append(step))
    assert done == (1, 2)
    assert [step[1:] for step in told] == [(1, 3), (2, 3), (3, 3)]
    cases = read_cohort(tmp_path / "written.csv").cases
    heard = recogniser.transcribe(Recording(sound(2, ord("a")), RATE))
    assert cases[0].read_note().confidence == pytest.approx(heard.confidence, rel=1e-3)  # type: ignore[union-attr]
    assert cases[1].read_note().text == "typed"  # type: ignore[union-attr]
    assert [case.confidence for case in cases[1:]] == [1, 1, 1, 1]
    assert [case.read_note() is None for case in cases] == [False, False, True, True, True]
    with pytest.raises(CohortError, match="beside it"):
        transcribe_cohort(tmp_path / "cohort.csv", tmp_path / "elsewhere" / "written.csv", recogniser)

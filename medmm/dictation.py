"""A dictated recording to the text of a note, and how sure the recogniser was of it."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from medmm.errors import AudioError, CohortError, ModelError
from medmm.sources.jail import read_ahead
from medmm.sources.opener import Opener
from medmm.study import Note, Recording, Study
from medmm.table import read_rows, write_rows
from medmm.types import AnyArray, OnProgress

if TYPE_CHECKING:
    import torch

_WINDOW = 30.0  # seconds that Whisper hears at once (Radford et al. 2022)
_BREATH = 5.0  # seconds before the end of a window among which the quietest place is looked for
_STEP = 0.1  # seconds over which loudness is averaged
_SILENCE = 1e-4  # loudness below which a window holds no word; recognisers make words up for silence
_SYLLABLE = 0.1  # seconds, below which no word was said; a recogniser's own filters may be longer than what is left


@dataclass(frozen=True, slots=True)
class Transcript:
    """What was understood of a recording.

    Attributes:
        text: The words.
        confidence: Geometric mean of the probabilities the recogniser gave to what it wrote, 0 to 1.
        seconds: Duration of the recording.
    """

    text: str
    confidence: float
    seconds: float

    @property
    def note(self) -> Note:
        """The words as a note that is trusted as far as the recogniser was sure."""
        return Note(self.text, confidence=self.confidence)


class Recogniser:
    """A Hugging Face speech recogniser: one that writes (Whisper and its kin) or one that spells (CTC, as wav2vec 2.0).

    Args:
        source: Local folder in hub layout, or hub name. Safetensors only, no remote code.
        device: `cpu`, `cuda` or `mps`.

    Raises:
        ModelError: If it cannot be read, is no recogniser, or has weights that are not finite.
    """

    def __init__(self, source: str | Path, device: str = "cpu") -> None:
        from transformers import AutoConfig, AutoModelForCTC, AutoModelForSpeechSeq2Seq, AutoProcessor

        from medmm.weights import refuse_not_finite

        safe: dict[str, Any] = {"trust_remote_code": False}
        try:
            config = AutoConfig.from_pretrained(source, **safe)
            self._spells = not getattr(config, "is_encoder_decoder", False)
            family = AutoModelForCTC if self._spells else AutoModelForSpeechSeq2Seq
            self._net, found = family.from_pretrained(source, use_safetensors=True, output_loading_info=True, **safe)
            self._processor = AutoProcessor.from_pretrained(source, **safe)
            self._net.to(device).float().eval()  # large ones are published in half precision, features are single
        except Exception:  # foreign files: parsers throw anything
            msg = "Expected a Hugging Face speech recogniser: config, processor and safetensors; it could not be read."
            raise ModelError(msg) from None
        if found["missing_keys"]:
            msg = f"Expected weights for the whole recogniser; missing {sorted(found['missing_keys'])[:3]}. They would be random."
            raise ModelError(msg)
        refuse_not_finite(self._net.state_dict(), self._net.state_dict(), ModelError)

    def transcribe(self, recording: Recording) -> Transcript:
        """Write down a recording of any length.

        Args:
            recording: 16,000 samples a second, as `read_recording` gives.

        Raises:
            AudioError: If no word is understood.
        """
        texts, logs = [], []
        for window in windows(recording.samples, recording.rate):
            text, found = self._heard(window, recording.rate)
            texts.append(text)
            logs += found
        if not logs or not "".join(texts).strip():
            msg = "Expected spoken words; none were understood. Check the recording, or type the note."
            raise AudioError(msg)
        return Transcript(" ".join(t.strip() for t in texts if t.strip()), math.exp(sum(logs) / len(logs)), recording.seconds)

    def _heard(self, window: AnyArray, rate: int) -> tuple[str, list[float]]:
        """Text of one window, and the logarithm of the probability of each token in it."""
        import torch

        with torch.inference_mode(), _quiet():
            inputs = self._processor.feature_extractor(window, sampling_rate=rate, return_tensors="pt")[self._net.main_input_name]
            inputs = inputs.to(self._net.device)
            tokens, logs = (self._spelt if self._spells else self._written)(inputs)
        tokenizer = self._processor.tokenizer
        text: str = tokenizer.decode(tokens) if self._spells else tokenizer.decode(tokens, skip_special_tokens=True)
        return text, logs

    def _spelt(self, inputs: torch.Tensor) -> tuple[list[int], list[float]]:
        """Most likely letter of each frame; a letter counts where it begins."""
        log_p = self._net(inputs).logits[0].log_softmax(-1)
        best, tokens = log_p.max(-1)
        begins = (tokens != tokens.roll(1)) & (tokens != self._net.config.pad_token_id)
        begins[:1] = tokens[:1] != self._net.config.pad_token_id
        return tokens.tolist(), best[begins].tolist()

    def _written(self, inputs: torch.Tensor) -> tuple[list[int], list[float]]:
        """What the decoder writes, most likely piece by most likely piece."""
        import torch

        out = self._net.generate(inputs, do_sample=False, num_beams=1, return_dict_in_generate=True, output_logits=True)
        tokens = out.sequences[0, -len(out.logits) :]  # without what the decoder was told to begin with
        log_p = torch.stack(out.logits)[:, 0].log_softmax(-1).gather(1, tokens[:, None])[:, 0]
        special = set(self._processor.tokenizer.all_special_ids)
        return tokens.tolist(), [p for token, p in zip(tokens.tolist(), log_p.tolist(), strict=True) if token not in special]


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep to itself what `generate` says of settings that the recogniser's makers stored."""
    from transformers.utils import logging

    before = logging.get_verbosity()
    logging.set_verbosity_error()
    try:
        yield
    finally:
        logging.set_verbosity(before)


@dataclass(frozen=True, slots=True)
class _Spoken:
    """A row of a cohort whose note is to be written down."""

    index: int
    audio: Path

    def open(self, opener: Opener) -> Study:
        return opener(None, audio=self.audio)


def transcribe_cohort(
    table: str | Path, out: str | Path, recogniser: Recogniser, on_progress: OnProgress = lambda *_: None
) -> tuple[int, int]:
    """Fill the notes of a cohort from its recordings; a row that has a note keeps it.

    Args:
        table: With a column `audio`, as `read_cohort` takes.
        out: Table to write, in the same folder so that its paths hold: the columns of `table`, with `note` and
            `note_confidence`.
        recogniser: Writes down.
        on_progress: Told after each recording.

    Returns:
        How many notes were written, and how many recordings could not be read or understood; their notes stay empty.

    Raises:
        CohortError: If the table has no such column, or `out` lies elsewhere.
    """
    rows, root = read_rows(table, CohortError), Path(table).resolve().parent
    if "audio" not in rows[0] or Path(out).resolve().parent != root:
        msg = "Expected a cohort table with a column audio, and a table to write beside it; got another. Correct them."
        raise CohortError(msg)
    spoken = [_Spoken(i, root / row["audio"]) for i, row in enumerate(rows) if row["audio"] and not row.get("note")]
    written = 0
    with closing(read_ahead(spoken)) as opened:
        for done, (job, study) in enumerate(opened, 1):
            with suppress(AudioError):  # counted by what is missing
                if isinstance(study, Study) and study.recording is not None:
                    heard = recogniser.transcribe(study.recording)
                    rows[job.index] |= {"note": heard.text, "note_confidence": f"{heard.confidence:.4g}"}
                    written += 1
            on_progress("writing down", done, len(spoken))
    columns = list(dict.fromkeys([*rows[0], "note", "note_confidence"]))
    write_rows(out, columns, rows)
    return written, len(spoken) - written


def windows(samples: AnyArray, rate: int) -> list[AnyArray]:
    """Cut samples into windows that a recogniser can hear, where it is quietest; without those that can hold no word.

    Args:
        samples: (N,) float32.
        rate: Samples a second.

    Returns:
        Pieces of at most half a minute, in order.
    """
    longest, step, found = int(_WINDOW * rate), max(1, int(_STEP * rate)), []
    while len(samples):
        end = len(samples)
        if end > longest:
            tail = samples[longest - int(_BREATH * rate) : longest]
            loudness = np.square(tail[: len(tail) // step * step].reshape(-1, step)).mean(1)
            end = longest - int(_BREATH * rate) + int(loudness.argmin()) * step + step // 2
        found.append(samples[:end])
        samples = samples[end:]
    long = [w for w in found if len(w) >= _SYLLABLE * rate]
    return [w for w in long if float(np.sqrt(np.square(w).mean())) > _SILENCE]

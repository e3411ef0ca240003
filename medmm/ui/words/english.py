"""The page in English."""

from __future__ import annotations

ENGLISH = {
    # around everything
    "promise": "A CT and a clinical note in, one calibrated probability out, with the proof of how good it is.",
    "research_only": "Research use only. Not a medical device; not for diagnosis or treatment.",
    "banner": (
        "Research use only. Not a medical device; not for diagnosis or treatment. Do not upload data that identifies a person."
    ),
    "tab_study": "Study",
    # study: what is put in
    "examples": "Examples",
    "upload": "Or upload DICOM (zip or files), NIfTI, PNG, JPEG",
    "note": "Clinical note",
    "model": "Model",
    "run": "Run",
    # study: what was read
    "pixels": "{shape} pixels",
    "voxels": "{shape} voxels of {spacing} mm",
    "oblique": "oblique, shown along the nearest axes",
    "measured_in": "{plane}, {modality} in {unit}",
    # model
    "model_unmeasured": "not measured on unseen patients.",
    "model_measured": "On {n} studies of {patients} patients it had not seen: AUROC {auroc}, macro-F1 {f1}.",
    "not_better": "That is not proven better than chance: treat every answer as a demonstration.",
    # answer
    "calibrated": "Calibrated probability",
    "uncalibrated": "Uncalibrated score, not a probability",
    "from": "from {inputs}",
    "and": " and ",
    "image": "image",
    "text": "text",
    "audio": "audio",
    "tabular": "values",
    "called": "called",
    "record": (
        "Of {count} unseen patients given about {predicted} for {label}, {hits} ({observed}, 95 % interval {low} to {high}) had it."
    ),
    "who_says": "what says what",
    "image_alone": "scan alone",
    "text_alone": "note alone",
    "audio_alone": "recording alone",
    "tabular_alone": "values alone",
    "together": "together",
    "text_read": "The text that was read",
    "made_by": "{seconds} s. Model {model}, {digest}.",
    "undefined": "undefined",
    # about
    "tab_about": "About",
    "about_sources": "Where the example studies come from",
    "about_software": "Software of others",
    "about_ours": "medmm itself: Apache-2.0. The packages it needs, as installed here:",
    "about_package": "package",
    "about_version": "version",
    "about_licence": "licence",
}

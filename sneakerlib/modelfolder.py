"""The model folder: a trained network with all that is needed to use it, and the record of what it was trained on.

Beside its parts it may hold `exported-….tflite`, the network in a faster form, which is made again where it is missing,
and `examples.npz`, small training pictures to show (see `examples`).
"""

import hashlib
import json
import platform
from dataclasses import dataclass
from functools import cached_property
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from sneakerlib import InputError, engines
from sneakerlib import catalog as catalogs
from sneakerlib.runs import replacing, write_json

PARTS = ("model.keras", "labels.json", "history.csv", "catalog.csv", "card.md")
LIBRARIES = ("sneakerlib", "keras", "numpy", "pillow")


@dataclass(frozen=True)
class Saved:
    """A loaded model folder.

    Attributes:
        model: RGB pictures of 0 to 255, (batch, size, size, 3), to logits (batch, classes).
        labels: The classes, in the order of the logits.
        size: Height and width in pixels that the model wants.
        temperature: Divides the logits before the softmax; 1 leaves them as they are.
        info: Everything else in `labels.json`: backbone, recipe, seed, versions, the data's fingerprint.
        history: One row per epoch.
        catalog: The pictures it was trained with, and in which split each was.
        folder: Where it was loaded from.
    """

    model: Any
    labels: list[str]
    size: int
    temperature: float
    info: dict
    history: pd.DataFrame
    catalog: pd.DataFrame
    folder: Path

    @cached_property
    def engine(self) -> engines.LiteRT | engines.Keras:
        """The fastest exact way to ask the model; what it is exported to is kept in the model folder."""
        return engines.engine(self.model, self.folder)

    def sure(self, answer: dict[str, float]) -> bool:
        """Whether an answer of `evaluation.classify` may be given, or "not sure" would be better."""
        return max(answer.values()) >= self.info.get("abstain_below", 0)

    def probabilities(self, logits: np.ndarray) -> np.ndarray:
        """Softmax of the logits at this model's temperature, in float64 so that each row sums to 1 within 1e-12."""
        scaled = logits.astype(np.float64) / self.temperature
        powers = np.exp(scaled - scaled.max(1, keepdims=True))
        return powers / powers.sum(1, keepdims=True)


def check_target(folder: str | Path) -> None:
    """Raise an InputError if saving there would replace something that is no model folder."""
    folder = Path(folder)
    if folder.is_file() or (folder.is_dir() and any(folder.iterdir()) and not (folder / "labels.json").is_file()):
        raise InputError(f"{folder} exists and is no model folder: name a new one for the model")


def save(
    model,
    folder: str | Path,
    catalog: pd.DataFrame,
    labels: list[str],
    history: pd.DataFrame,
    recipe: str,
    seed: int = 0,
    settings: dict | None = None,
) -> Path:
    """Write the model folder in one step; an earlier one of that name is replaced.

    Args:
        model: From `models`, trained.
        folder: Where to.
        catalog: The split catalog that it was trained on.
        labels: The classes, in the order of the logits.
        history: From `training`, `heads` or `tuning`: `kept` marks the row that the model was left with.
        recipe: How it was trained, such as `frozen`, `fine-tune` or `scratch`.
        seed: The seed it was trained with. Defaults to 0.
        settings: What else was chosen, and what was tried, for the record. Defaults to nothing.

    Raises:
        InputError: If something else is there.
    """
    check_target(folder)
    used, best = catalogs.usable(catalog), reached(history)
    rows = used[["path", "label", "sha256", "split"]].sort_values("path").to_csv(index=False, lineterminator="\n")
    info = {
        "labels": list(labels),
        "size": model.input_shape[1],
        "temperature": 1.0,
        "abstain_below": 0.0,
        "label_noise": 0.0,
        "backbone": model.name,
        "recipe": recipe,
        "settings": settings or {},
        "val_accuracy": None if np.isnan(best) else best,  # without validation pictures there is none
        "parameters": model.count_params(),
        "seed": seed,
        "pictures": {split: int(count) for split, count in used.split.value_counts().sort_index().items()},
        "data": hashlib.sha256(rows.encode()).hexdigest(),
        "versions": {"python": platform.python_version(), **{name: version(name) for name in LIBRARIES}},
    }
    with replacing(folder) as beside:
        beside.mkdir()
        model.save(beside / "model.keras")
        write_json(beside / "labels.json", info)
        history.to_csv(beside / "history.csv", lineterminator="\n")
        catalogs.save(catalog, beside / "catalog.csv", home=folder)
        (beside / "card.md").write_text(_card(info), encoding="utf-8")
    return Path(folder)


def calibrate(folder: str | Path, temperature: float, abstain_below: float, label_noise: float = 0.0) -> None:
    """Write into a model folder how sure the model may be; its answers keep their order.

    Args:
        folder: The model folder.
        temperature: Divides the logits before the softmax; see `calibration.scaling`.
        abstain_below: Confidence below which the answer is "not sure"; see `calibration.sure_above`.
        label_noise: Share of the labels that were taken to be drawn by lot, for the record. Defaults to 0.
    """
    file = Path(folder) / "labels.json"
    info = json.loads(file.read_text(encoding="utf-8"))
    write_json(file, info | {"temperature": temperature, "abstain_below": abstain_below, "label_noise": label_noise})


def reached(history: pd.DataFrame) -> float:
    """The validation accuracy of the epoch, or the penalty, that a model was left with; else the highest one."""
    kept = history.val_accuracy[history.kept.astype(bool)] if "kept" in history else history.val_accuracy
    return float(kept.max())


def _card(info: dict) -> str:
    counts = ", ".join(f"{count} {split}" for split, count in info["pictures"].items())
    score = "not known: there were no validation pictures."
    if info["val_accuracy"] is not None:
        score = f"{info['val_accuracy']:.3f}; it chose the epoch or the penalty, so it flatters."
    return (
        f"# {info['backbone']}, {info['recipe']}\n\n"
        f"Tells {len(info['labels'])} classes apart: {', '.join(info['labels'])}.\n\n"
        f"- Input: RGB pictures of {info['size']} x {info['size']} pixels, 0 to 255.\n"
        "- Output: logits; their softmax gives probabilities.\n"
        f"- Pictures: {counts}. Which one was in which split: `catalog.csv`.\n"
        f"- Validation accuracy: {score}\n"
        f"- Parameters: {info['parameters']:,}. Seed: {info['seed']}.\n\n"
        "It answers with one of its classes whatever it is shown, also for a picture that is none of them.\n"
    )


def check(folder: str | Path) -> None:
    """Raise an InputError if the model folder is missing, or a part of it is."""
    folder = Path(folder)
    if not folder.is_dir():
        raise InputError(f"there is no model folder {folder}: train one with `sneakerlib train IMAGES --out {folder}`")
    if missing := [part for part in PARTS if not (folder / part).is_file()]:
        raise InputError(
            f"the model folder {folder} lacks {', '.join(missing)}: train it again or copy the whole folder"
        )


def load(folder: str | Path | Saved) -> Saved:
    """Load a model folder; what has been loaded is handed back.

    Raises:
        InputError: If it is missing, or a part of it is missing or damaged.
    """
    if isinstance(folder, Saved):
        return folder
    folder = Path(folder)
    check(folder)
    try:
        info = json.loads((folder / "labels.json").read_text(encoding="utf-8"))
        labels, size, temperature = info.pop("labels"), info.pop("size"), info.pop("temperature")
    except (ValueError, KeyError) as error:
        raise InputError(
            f"{folder / 'labels.json'} is damaged ({error}): train the model again or copy it anew"
        ) from error
    from sneakerlib.models import keras  # late: a missing part is named without waiting for TensorFlow

    try:
        model = keras.saving.load_model(folder / "model.keras", compile=False, safe_mode=True)
    except Exception as error:  # a broken zip, a strange layer, another Keras: each raises something else
        raise InputError(f"{folder / 'model.keras'} cannot be loaded: train the model again or copy it anew") from error
    history = pd.read_csv(folder / "history.csv", index_col="epoch")
    return Saved(model, labels, size, temperature, info, history, catalogs.load(folder / "catalog.csv"), folder)

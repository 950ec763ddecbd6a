"""The embedded sample: a folder of drawn sneakers with every kind of dirt that a real one has, and the truth of it."""

import hashlib
import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image

from sneakerlib import InputError
from sneakerlib.pictures import EXIF_ORIENTATION, encoded
from sneakerlib.runs import replacing, watch
from sneakerlib.sample.drawing import MODELS
from sneakerlib.sample.studio import off_topic, photograph

# What is planted, per 100 pictures; at least one of each. Wrong labels: the 5 % that the review notebook has to find.
ENCODINGS = ("grey", "grey-alpha", "palette", "rgba", "cmyk", "16-bit", "exif-rotated", "no-extension", "upper-case")
EXTRAS = {
    "truncated": 0.5,
    "html": 0.5,
    "empty": 0.5,
    "exact-duplicate": 1,
    "contradictory-duplicate": 1,
    "near-duplicate": 2,
    "off-topic": 1,
}
ENCODED, WRONG = 0.5, 5


def make(
    out: str | Path, classes: int = 5, per_class: int = 80, seed: int = 0, defects: bool = True, progress: bool = True
) -> pd.DataFrame:
    """Draw the sample into a folder: `out/<model>/<model>_001.jpg …` and `out/truth.csv`.

    Args:
        out: The folder to make; an existing one is left alone if it holds the same sample.
        classes: How many shoe models, 2 to 23. Defaults to 5.
        per_class: Pictures per model before the extra defective files, at least 12. Defaults to 80.
        seed: Same seed, same bytes (with the same versions of Pillow and NumPy). Defaults to 0.
        defects: Plant broken files, duplicates, wrong labels and odd formats. Defaults to True.
        progress: Show a bar. Defaults to True.

    Returns:
        The truth: path, label, true_label, defect (empty for a good picture), of (the twin's path), sha256.

    Raises:
        InputError: If a number is out of range, or `out` holds something else.
    """
    if not 2 <= classes <= len(MODELS) or per_class < 12:
        raise InputError(
            f"a sample has 2 to {len(MODELS)} classes of at least 12 pictures, not {classes} of {per_class}"
        )
    out, recipe = Path(out), {"classes": classes, "per_class": per_class, "seed": seed, "defects": defects}
    if out.exists() and any(out.iterdir()):
        if not (out / "sample.json").is_file() or json.loads((out / "sample.json").read_text()) != recipe:
            raise InputError(f"{out} holds something else already: name a new folder for the sample")
        return truth(out)
    with replacing(out) as beside:
        beside.mkdir()
        rows = _plan(classes, per_class, seed) if defects else _good(classes, per_class)
        with ThreadPoolExecutor() as pool:
            drawn = watch(pool.map(lambda row: _draw(row, seed), rows), len(rows), "drawing", progress)
            for row, content in zip(rows, drawn, strict=True):
                file = beside / row["path"]
                file.parent.mkdir(exist_ok=True)
                row["sha256"] = hashlib.sha256(content).hexdigest()
                file.write_bytes(content)
        table = pd.DataFrame(rows)[["path", "label", "true_label", "defect", "of", "sha256"]]
        table.to_csv(beside / "truth.csv", index=False, lineterminator="\n")
        (beside / "sample.json").write_text(json.dumps(recipe))
    return truth(out)


def truth(folder: str | Path) -> pd.DataFrame:
    """What is planted in a sample: one row per file."""
    return pd.read_csv(Path(folder) / "truth.csv", dtype=str, keep_default_na=False)


def planted(file: str | Path, catalog: pd.DataFrame) -> pd.DataFrame:
    """What is wrong with each picture of a catalog, known by its content, wherever it was downloaded to.

    Args:
        file: The truth table.
        catalog: Pictures of the sample.

    Returns:
        true_label (empty if it shows no shoe) and defect, by path.
    """
    known = pd.read_csv(file, dtype=str, keep_default_na=False).drop_duplicates("sha256").set_index("sha256")
    return known.reindex(catalog.sha256)[["true_label", "defect"]].set_axis(pd.Index(catalog.path, name="path"))


def truly(predictions: pd.DataFrame, planted: pd.DataFrame) -> pd.DataFrame:
    """The same answers, judged by the true labels; pictures of something else are left out.

    Args:
        predictions: From `evaluation.predictions`.
        planted: From `planted`.
    """
    label = predictions.path.map(planted.true_label)
    return predictions.assign(label=label, correct=predictions.predicted.eq(label))[label.ne("")]


def _good(classes: int, per_class: int) -> list[dict]:
    return [
        _row(model.name, model.name, number, kind=kind)
        for kind, model in enumerate(MODELS[:classes])
        for number in range(1, per_class + 1)
    ]


def _row(label: str, true_label: str, number: int, kind: int, defect: str = "", of: str = "") -> dict:
    extension = {"no-extension": "", "upper-case": ".JPG"}.get(defect, ".jpg")
    if defect in ("grey-alpha", "palette", "rgba", "16-bit"):
        extension = ".png"
    path = f"{label}/{label}_{number:03d}{extension}"
    return {
        "path": path,
        "label": label,
        "true_label": true_label,
        "defect": defect,
        "of": of,
        "kind": kind,
        "number": number,
    }


def _plan(classes: int, per_class: int, seed: int) -> list[dict]:
    """Decide which picture suffers what. No file has two defects, so that every finding has one cause."""
    rng = np.random.default_rng([seed, classes, per_class])
    names = [model.name for model in MODELS[:classes]]
    rows = _good(classes, per_class)
    share = len(rows) / 100
    untouched = list(rng.permutation(len(rows)))

    def other(label: str) -> str:
        return str(rng.choice([name for name in names if name != label]))

    for _ in range(max(1, round(WRONG * share))):
        at = untouched.pop()
        row = rows[at]
        rows[at] = _row(other(row["label"]), row["label"], row["number"] + 500, row["kind"], "wrong-label")
        rows[at]["number"] = row["number"]  # the picture itself is drawn as before
    for defect in ENCODINGS:
        for _ in range(max(1, round(ENCODED * share))):
            at = untouched.pop()
            row = rows[at]
            rows[at] = _row(row["label"], row["label"], row["number"], row["kind"], defect)
    number = {name: per_class for name in names}
    for defect, percent in EXTRAS.items():
        for _ in range(max(1, round(percent * share))):
            twin = rows[untouched.pop()]
            label = other(twin["label"]) if defect == "contradictory-duplicate" else twin["label"]
            number[label] += 1
            copied = "duplicate" in defect
            row = _row(label, twin["label"], number[label], twin["kind"], defect, twin["path"] if copied else "")
            if defect == "contradictory-duplicate":
                twin |= {"defect": defect, "of": row["path"]}
            if defect == "off-topic":
                row["true_label"] = ""
            rows.append(row | {"number": twin["number"] if copied else number[label]})
    return sorted(rows, key=lambda row: row["path"])


def _draw(row: dict, seed: int) -> bytes:
    """The bytes of one file of the plan."""
    rng = np.random.default_rng([seed, row["kind"], row["number"]])
    defect = row["defect"]
    if defect == "empty":
        return b""
    if defect == "html":
        return b"<!doctype html><title>429 Too Many Requests</title><p>Please slow down.</p>\n" * 20
    picture = off_topic(rng) if defect == "off-topic" else photograph(MODELS[row["kind"]], rng)
    quality = int(rng.integers(60, 95))
    if defect == "near-duplicate":  # as another shop would show it: cropped by a hair, smaller, compressed again
        width, height = picture.size
        picture = picture.crop((round(0.01 * width), round(0.01 * height), round(0.99 * width), round(0.99 * height)))
        picture, quality = picture.resize((int(width * 0.8), int(height * 0.8)), Image.LANCZOS), 55
    content = _encode(picture, defect, quality)
    return content[: len(content) // 2] if defect == "truncated" else content


def _encode(picture: Image.Image, defect: str, quality: int) -> bytes:
    options = {"format": "JPEG", "quality": quality}
    if defect == "grey":
        picture = picture.convert("L")
    elif defect == "cmyk":
        picture = picture.convert("CMYK")
    elif defect == "exif-rotated":
        picture = picture.transpose(Image.ROTATE_90)
        exif = Image.Exif()
        exif[EXIF_ORIENTATION] = 6  # "turn me right by 90 degrees"
        options["exif"] = exif
    elif defect in ("grey-alpha", "rgba", "palette"):
        ground = Image.new("L", picture.size, 255)
        ground.paste(0, (0, 0, picture.width, picture.height // 12))  # a transparent strip along the upper edge
        picture.putalpha(ground)
        picture = picture.convert("LA") if defect == "grey-alpha" else picture
        picture = picture.quantize(128) if defect == "palette" else picture
        options = {"format": "PNG"}
    elif defect == "16-bit":
        picture = Image.fromarray(np.asarray(picture.convert("L"), np.uint16) * 257)
        options = {"format": "PNG"}
    return encoded(picture, **options)

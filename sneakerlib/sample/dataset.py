"""The embedded sample: a folder of drawn sneakers with every kind of dirt that a real one has, and the truth of it."""

import hashlib
import json
from pathlib import Path

import numpy as np
import pandas as pd
from joblib import Parallel, delayed
from PIL import Image

from sneakerlib import InputError, check_number
from sneakerlib.pictures import EXIF_ORIENTATION, encoded
from sneakerlib.runs import replacing, watch
from sneakerlib.sample.drawing import MODELS
from sneakerlib.sample.studio import darkened, off_topic, out_of_focus, photograph

CLASSES, PER_CLASS = 5, 160  # of the default sample: see benchmarks/story.py for what these numbers have to show
# What is planted, per 100 pictures and at least once: first in pictures of the plan, then in further files.
INSTEAD = {"wrong-label": 12, "dark": 1, "blurry": 1}
INSTEAD |= dict.fromkeys(("grey", "grey-alpha", "palette", "rgba", "cmyk", "16-bit", "exif-rotated"), 0.5)
INSTEAD |= dict.fromkeys(("no-extension", "upper-case"), 0.5)
PNG = ("grey-alpha", "palette", "rgba", "16-bit")  # what a JPEG cannot be
EXTRAS = {"truncated": 0.5, "html": 0.5, "empty": 0.5, "off-topic": 1}
TWINS = {"exact-duplicate": 1, "contradictory-duplicate": 1, "near-duplicate": 2, "contradictory-near-duplicate": 0.5}
MANY = 300  # pictures: from here on processes of their own are worth the two seconds that they take to start


def make(
    out: str | Path,
    classes: int = CLASSES,
    per_class: int = PER_CLASS,
    seed: int = 0,
    defects: bool = True,
    progress: bool = True,
) -> pd.DataFrame:
    """Draw the sample into a folder: `out/<model>/<model>_001.jpg …` and `out/truth.csv`.

    Args:
        out: The folder to make; an existing one is left alone if it holds the same sample.
        classes: How many shoe models, 2 to 23. Defaults to 5.
        per_class: Pictures per model before the extra defective files, at least 12. Defaults to 160.
        seed: Same seed, same bytes (with the same versions of Pillow and NumPy). Defaults to 0.
        defects: Plant broken files, duplicates, wrong labels, odd formats, bad photographs. Defaults to True.
        progress: Show a bar. Defaults to True.

    Returns:
        The truth: path, label, true_label, defect (empty for a good picture), of (the twin's path), sha256.

    Raises:
        InputError: If a number is out of range, or `out` holds something else.
    """
    check_number("seed", seed)
    if not 2 <= classes <= len(MODELS) or per_class < 12:
        raise InputError(
            f"a sample has 2 to {len(MODELS)} classes of at least 12 pictures, not {classes} of {per_class}"
        )
    out, recipe = Path(out), {"classes": classes, "per_class": per_class, "seed": seed, "defects": defects}
    if out.exists() and any(out.iterdir()):
        if not (out / "sample.json").is_file() or json.loads((out / "sample.json").read_text()) != recipe:
            raise InputError(f"{out} holds something else already: name a new folder for the sample")
        return truth(out)
    plan = _plan(classes, per_class, seed) if defects else _good(classes, per_class)
    pool = Parallel(-1, backend="loky" if len(plan) >= MANY else "threading", batch_size=16, return_as="generator")
    drawn = pool(delayed(_draw)(row, seed) for row in plan)
    with replacing(out) as beside:
        beside.mkdir()
        for row, content in zip(plan, watch(drawn, len(plan), "drawing", progress), strict=True):
            file = beside / row["path"]
            file.parent.mkdir(exist_ok=True)
            row["sha256"] = hashlib.sha256(content).hexdigest()
            file.write_bytes(content)
        table = pd.DataFrame(plan)[["path", "label", "true_label", "defect", "of", "sha256"]]
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
        predictions: As `model_folder.predictions` makes them.
        planted: From `planted`.
    """
    label = predictions.path.map(planted.true_label)
    return predictions.assign(label=label, correct=predictions.predicted.eq(label))[label.ne("")]


def _row(model: int, number: int, defect: str = "", label: str = "", shot: int = 0, of: str = "") -> dict:
    """A file of the plan: picture `number` under its label, drawn as the model's picture `shot`."""
    name = MODELS[model].name
    extension = {"no-extension": "", "upper-case": ".JPG"}.get(defect, ".png" if defect in PNG else ".jpg")
    row = {"path": f"{label or name}/{label or name}_{number:03d}{extension}", "label": label or name}
    row |= {"true_label": "" if defect == "off-topic" else name, "defect": defect, "of": of}
    return row | {"model": model, "shot": shot or number}


def _good(classes: int, per_class: int) -> list[dict]:
    return [_row(model, number) for model in range(classes) for number in range(1, per_class + 1)]


def _plan(classes: int, per_class: int, seed: int) -> list[dict]:
    """Decide which picture suffers what. No file has two defects, so that every finding has one cause."""
    rng = np.random.default_rng([seed, classes, per_class])
    rows, count = _good(classes, per_class), dict.fromkeys((model.name for model in MODELS[:classes]), per_class)
    untouched = rng.permutation(len(rows)).tolist()

    def add(twin: dict, defect: str, wrong: bool, **how) -> dict:
        """A further number under the twin's label, or under another one."""
        others = [name for name in count if name != twin["label"]]
        label = str(rng.choice(others)) if wrong else twin["label"]
        count[label] += 1
        return _row(twin["model"], count[label], defect, label, **how)

    def victims(percent: float):
        return [untouched.pop() for _ in range(max(1, round(percent * classes * per_class / 100)))]

    for defect, percent in INSTEAD.items():
        for at in victims(percent):
            model, shot = rows[at]["model"], rows[at]["shot"]
            wrong = defect == "wrong-label"
            rows[at] = add(rows[at], defect, True, shot=shot) if wrong else _row(model, shot, defect)
    for defect, percent in EXTRAS.items():
        rows += [add(rows[at], defect, False) for at in victims(percent)]
    for defect, percent in TWINS.items():
        for at in victims(percent):
            contradicts = defect.startswith("contradictory")
            rows.append(add(rows[at], defect, contradicts, shot=rows[at]["shot"], of=rows[at]["path"]))
            if defect == "contradictory-duplicate":  # of two files of one content, both are to be found
                rows[at] |= {"defect": defect, "of": rows[-1]["path"]}
    return sorted(rows, key=lambda row: row["path"])


def _draw(row: dict, seed: int) -> bytes:
    """The bytes of one file of the plan."""
    rng, defect = np.random.default_rng([seed, row["model"], row["shot"]]), row["defect"]
    if defect in ("empty", "html"):
        return (
            b"<!doctype html><title>429 Too Many Requests</title><p>Please slow down.</p>\n" * 20 * (defect == "html")
        )
    picture = off_topic(rng) if defect == "off-topic" else photograph(MODELS[row["model"]], rng)
    options = {"format": "PNG"} if defect in PNG else {"format": "JPEG", "quality": int(rng.integers(60, 95))}
    width, height = picture.size
    if defect == "dark":
        picture = darkened(picture, rng)
    elif defect == "blurry":
        picture = out_of_focus(picture, rng)
    elif defect.endswith("near-duplicate"):  # as another shop shows it: cropped by a hair, smaller, compressed again
        hair = (round(0.01 * width), round(0.01 * height), round(0.99 * width), round(0.99 * height))
        picture = picture.resize((int(width * 0.8), int(height * 0.8)), Image.LANCZOS, hair)
        options["quality"] = 55
    elif defect in ("grey", "cmyk"):
        picture = picture.convert({"grey": "L", "cmyk": "CMYK"}[defect])
    elif defect == "exif-rotated":
        picture, options["exif"] = picture.transpose(Image.ROTATE_90), Image.Exif()
        options["exif"][EXIF_ORIENTATION] = 6  # "turn me right by 90 degrees"
    elif defect == "16-bit":
        picture = Image.fromarray(np.asarray(picture.convert("L"), np.uint16) * 257)
    elif defect in PNG:
        ground = Image.new("L", picture.size, 255)
        ground.paste(0, (0, 0, width, height // 12))  # a transparent strip along the upper edge
        picture.putalpha(ground)
        picture = picture.quantize(128) if defect == "palette" else picture
        picture = picture.convert("LA") if defect == "grey-alpha" else picture
    content = encoded(picture, **options)
    return content[: len(content) // 2] if defect == "truncated" else content

"""Look at every picture once: is it whole, how bright, how sharp, what does it resemble. Remembered by content."""

import io
import json
import sqlite3
import warnings
from collections.abc import Iterable
from contextlib import closing
from itertools import islice
from pathlib import Path
from typing import NamedTuple

import imagehash
import pandas as pd
from joblib import Parallel, delayed
from PIL import Image, ImageCms

from sneakerlib import InputError
from sneakerlib.catalog import folder_of
from sneakerlib.pictures import EXIF_ORIENTATION, open_rgb, quietly
from sneakerlib.runs import cache_folder, watch

with warnings.catch_warnings():  # its progress bars, not used here, ask for widgets
    warnings.filterwarnings("ignore", message="IProgress not found")
    from cleanvision.issue_managers.image_property import (
        AspectRatioProperty,
        BlurrinessProperty,
        BrightnessProperty,
        EntropyProperty,
    )
    from cleanvision.issue_managers.image_property_issue_manager import ImagePropertyIssueManager

VERSION = 1  # of what is measured; raise it when `look` changes
THUMBNAIL = 8  # pixels: enough to compare the colours of two pictures with nearly the same hash
LONGEST = 128  # pixels: enough for every measurement here, and a large photograph is not looked at for seconds
PORTION = 512  # pictures measured before they are written down: a kill loses no more
MANY = 1000  # pictures: from here on processes of their own are worth the two seconds that they take to start
JUDGES = {  # our name of an issue: cleanvision's name, and what scores it
    "dark": ("dark", BrightnessProperty("dark")),
    "bright": ("light", BrightnessProperty("light")),
    "blurry": ("blurry", BlurrinessProperty()),
    "low-information": ("low_information", EntropyProperty()),
    "odd-aspect": ("odd_aspect_ratio", AspectRatioProperty()),
}
CLOSED = "cannot be opened: check its permissions and its name, and where it links to"
MEASURES = (BrightnessProperty("dark"), BlurrinessProperty(), EntropyProperty())


def look(file: Path) -> dict:
    """Decode a file in full and measure it.

    Args:
        file: The picture file.

    Returns:
        error: why it cannot be read, empty if it can, and then also turned (the camera was held otherwise, bool),
        animated (bool), profile (of its colours: empty, `srgb`, `other` or `broken`), hash and
        fine (perceptual, 64 and 256 bits), thumbnail (8 x 8 pixels RGB), these three as hex digits, and cleanvision's
        measurements of brightness, blurriness and entropy.
    """
    try:
        picture = open_rgb(file, longest=LONGEST)
        with quietly(), Image.open(file) as image:
            seen = {
                "turned": image.getexif().get(EXIF_ORIENTATION, 1) != 1,
                "animated": bool(getattr(image, "is_animated", False)),
                "profile": _profile(image.info.get("icc_profile")),
            }
    except InputError as error:
        return {"error": str(error).partition(" (")[2].rpartition(")")[0] or CLOSED}
    picture.thumbnail((LONGEST, LONGEST))
    measured = {name: float(value) for measure in MEASURES for name, value in measure.calculate(picture).items()}
    looks_like = {
        "hash": str(imagehash.phash(picture)),
        "fine": str(imagehash.phash(picture, hash_size=16)),
        "thumbnail": picture.resize((THUMBNAIL, THUMBNAIL), Image.BOX).tobytes().hex(),
    }
    return {"error": "", **seen, **looks_like, **measured}


def looks(catalog: pd.DataFrame, cache: str | Path | None = None, progress: bool = True) -> pd.DataFrame:
    """Look at every picture of a catalog, at those already known only in memory.

    Args:
        catalog: From `catalog.read`.
        cache: Folder of what is known. Defaults to the user's cache folder.
        progress: Show a bar. Defaults to True.

    Returns:
        One row per row of the catalog, with its index: the columns of `look`; those of unreadable files are missing.
    """
    memory = Remembered(Path(cache or cache_folder()) / "looks.sqlite", VERSION)
    keys = catalog.sha256.where(catalog.sha256.ne(""), catalog.path)  # what cannot be opened has no content
    contents = set(catalog.sha256) - {""}
    known = memory.get(contents)
    new = catalog.path[~keys.isin(known) & ~keys.duplicated()]
    pool = Parallel(-1, backend="loky" if len(new) >= MANY else "threading", batch_size=16, return_as="generator")
    folder = folder_of(catalog)
    with quietly():
        found = watch(pool(delayed(look)(folder / path) for path in new), len(new), "looking", progress)
        while portion := list(islice(found, PORTION)):
            fresh = dict(zip(keys[new.index[:PORTION]], portion, strict=False))
            new = new.iloc[PORTION:]
            memory.put({key: row for key, row in fresh.items() if key in contents})
            known |= fresh
    return pd.DataFrame([known[key] for key in keys], index=catalog.index, columns=COLUMNS)


def scores(catalog: pd.DataFrame, seen: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """Judge by cleanvision's rules and thresholds.

    Args:
        catalog: Rows of pictures that can be read.
        seen: What `looks` says of them.

    Returns:
        Per issue a table with the index of `catalog`: score (0 bad to 1 good) and wrong (bool).
    """
    if catalog.empty:
        return {}
    aspect = [AspectRatioProperty().calculate(_Size((row.width, row.height))) for row in catalog.itertuples()]
    measured = seen.assign(**pd.DataFrame(aspect, index=catalog.index)).infer_objects()
    defaults, judged = ImagePropertyIssueManager().params, {}
    for issue, (theirs, measure) in JUDGES.items():
        options = dict(defaults[theirs])
        threshold = options.pop("threshold")
        score = measure.get_scores(
            raw_scores=measured.astype({name: float for name in measure.score_columns}), issue_type=theirs, **options
        )
        wrong = measure.mark_issue(score, theirs, threshold)
        judged[issue] = pd.DataFrame({"score": score.iloc[:, 0], "wrong": wrong.iloc[:, 0]})
    return judged


class _Size(NamedTuple):
    """All that cleanvision wants of a picture to judge its shape."""

    size: tuple[int, int]


def _profile(content: bytes | None) -> str:
    if not content:
        return ""
    try:
        name = ImageCms.getProfileDescription(ImageCms.ImageCmsProfile(io.BytesIO(content)))
        return "srgb" if "srgb" in name.lower() else "other"
    except (ImageCms.PyCMSError, OSError, TypeError, ValueError):
        return "broken"


_EXAMPLE = {name: 0.0 for measure in MEASURES for name in measure.calculate(Image.new("RGB", (8, 8)))}
COLUMNS = ["error", "turned", "animated", "profile", "hash", "fine", "thumbnail", *_EXAMPLE]


class Remembered:
    """Dictionaries by key, in one file that several programs may use at a time.

    Args:
        file: Where; made when something is first put into it.
        version: Of what made the dictionaries; those of another version are not found.
    """

    def __init__(self, file: str | Path, version: int):
        self.file, self.version = Path(file), version

    def get(self, keys: Iterable[str]) -> dict[str, dict]:
        """What is known, by key."""
        wanted = set(keys)
        if not self.file.exists():
            return {}
        with closing(self._open()) as opened:
            rows = opened.execute("SELECT key, content FROM remembered WHERE version = ?", (self.version,))
            return {key: json.loads(content) for key, content in rows if key in wanted}

    def put(self, found: dict[str, dict]) -> None:
        """Remember these, all or none."""
        with closing(self._open()) as opened, opened:
            rows = [(key, self.version, json.dumps(content)) for key, content in found.items()]
            opened.executemany("INSERT OR REPLACE INTO remembered VALUES (?, ?, ?)", rows)

    def _open(self) -> sqlite3.Connection:
        self.file.parent.mkdir(parents=True, exist_ok=True)
        opened = sqlite3.connect(self.file, timeout=60)
        opened.execute("CREATE TABLE IF NOT EXISTS remembered (key TEXT PRIMARY KEY, version INT, content TEXT)")
        return opened

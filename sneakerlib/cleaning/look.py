"""Look at every picture once: is it whole, how bright, how sharp, what does it resemble. Remembered by content."""

import io
import json
import sqlite3
import warnings
from collections.abc import Iterator
from contextlib import closing, suppress
from itertools import islice
from pathlib import Path

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
    from cleanvision.issue_managers.image_property_issue_manager import ImagePropertyIssueManager

VERSION = 2  # of what `look` says; raise it when that changes
LONGEST = 128  # pixels: enough for every measurement here, and a large photograph is not looked at for seconds
THUMBNAIL = 8  # pixels: enough to compare the colours of two pictures with nearly the same hash
PORTION = 512  # pictures looked at before they are written down: a kill loses no more
MANY = 1000  # pictures: from here on processes of their own are worth the two seconds that they take to start
CLOSED = "cannot be opened: check its permissions and its name, and where it links to"
CLEANVISION = ImagePropertyIssueManager()  # measures, rules and thresholds
MEASURES = CLEANVISION.image_properties
ODD = {"dark": "dark", "blurry": "blurry", "bright": "light"}  # our names of issues, and theirs
ODD |= {"low-information": "low_information", "odd-aspect": "odd_aspect_ratio"}
MEASURED = [column for theirs in ODD.values() for column in MEASURES[theirs].score_columns]
COLUMNS = ["error", "turned", "animated", "profile", "hash", "fine", "thumbnail", *MEASURED]


def look(file: Path) -> dict:
    """Decode a file in full and measure it: error (empty if it can be read), and then the other `COLUMNS`.

    turned: the camera was held otherwise; profile: that of its colours is broken; hash and fine: perceptual, of 64 and
    256 bits; thumbnail: 8 x 8 pixels RGB; these three in hex digits.
    """
    try:
        picture = open_rgb(file, longest=LONGEST)
        with quietly(), Image.open(file) as image:
            turned = image.getexif().get(EXIF_ORIENTATION) in range(2, 9)  # some cameras write 0, which turns nothing
            animated = getattr(image, "is_animated", False)
            seen = {"error": "", "turned": turned, "animated": animated, "profile": "icc_profile" in image.info}
            with suppress(KeyError, ImageCms.PyCMSError, OSError, TypeError, ValueError):
                seen["profile"] = not ImageCms.ImageCmsProfile(io.BytesIO(image.info["icc_profile"]))  # or it raises
            seen |= MEASURES["odd_aspect_ratio"].calculate(image)
    except InputError as error:
        return {"error": str(error).partition(" (")[2].rpartition(")")[0] or CLOSED}
    picture.thumbnail((LONGEST, LONGEST))
    for theirs in ("dark", "blurry", "low_information"):  # what is measured for "dark" serves "light" as well
        seen |= {name: float(value) for name, value in MEASURES[theirs].calculate(picture).items()}
    seen |= {"hash": str(imagehash.phash(picture)), "fine": str(imagehash.phash(picture, hash_size=16))}
    return seen | {"thumbnail": picture.resize((THUMBNAIL, THUMBNAIL), Image.BOX).tobytes().hex()}


def looks(catalog: pd.DataFrame, cache: str | Path | None = None, progress: bool = True) -> pd.DataFrame:
    """What `look` says of every picture of a catalog, with its index; those seen before are remembered in `cache`."""
    keys = catalog.sha256.where(catalog.sha256.ne(""), catalog.path)  # what cannot be opened has no hash
    hashes = set(catalog.sha256)
    file, table = Path(cache or cache_folder()) / "looks.sqlite", f"looks_{VERSION}"
    file.parent.mkdir(parents=True, exist_ok=True)
    with quietly(), closing(sqlite3.connect(file, timeout=60)) as memory:
        memory.execute(f"CREATE TABLE IF NOT EXISTS {table} (key TEXT PRIMARY KEY, seen TEXT)")
        known = {key: seen for key, seen in memory.execute(f"SELECT key, seen FROM {table}") if key in hashes}
        new = catalog.path[~keys.isin(known) & ~keys.duplicated()]
        pool = Parallel(-1, backend="loky" if len(new) >= MANY else "threading", batch_size=16, return_as="generator")
        found = watch(pool(delayed(look)(folder_of(catalog) / path) for path in new), len(new), "looking", progress)
        found = zip(keys[new.index], map(json.dumps, found), strict=True)
        while portion := dict(islice(found, PORTION)):
            known |= portion
            with memory:  # all of them or none
                rows = (row for row in portion.items() if row[0] in hashes)
                memory.executemany(f"INSERT OR REPLACE INTO {table} VALUES (?, ?)", rows)
    return pd.DataFrame([json.loads(known[key]) for key in keys], index=catalog.index, columns=COLUMNS)


def odd(seen: pd.DataFrame) -> Iterator[tuple[str, pd.Series]]:
    """By cleanvision's rules and thresholds: each issue, and the scores (0 bad to 1 good) of what `looks` saw of it."""
    measured = seen[MEASURED].astype(float)
    for issue, theirs in ODD.items():
        options = dict(CLEANVISION.params[theirs])
        threshold = options.pop("threshold")
        score = MEASURES[theirs].get_scores(measured, theirs, **options).iloc[:, 0]
        yield issue, score[score < threshold]

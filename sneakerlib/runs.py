"""The run folder: where the notebooks of one run leave what they made, under names that anybody can predict."""

import json
import os
import shutil
import sys
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import platformdirs
from filelock import FileLock, Timeout
from tqdm import tqdm

from sneakerlib import InputError

BESIDE = ".writing-"  # what the name of a folder begins with in which something is not yet whole
HELD = ".held"  # locked in it while its program lives; the system lets go of it when the program dies, however it dies


@contextmanager
def half_written(folder: str | Path) -> Iterator[Path]:
    """Yield a new folder inside `folder` for what is not yet whole; it is gone when the block ends."""
    with tempfile.TemporaryDirectory(prefix=BESIDE, dir=folder) as made, FileLock(Path(made) / HELD):
        yield Path(made)


def sweep(folder: str | Path) -> None:
    """Remove what killed programs left half written under `folder`; what a living one writes stays."""
    for held in Path(folder).rglob(f"{BESIDE}*/{HELD}"):
        try:
            with FileLock(held, blocking=False):
                pass
        except Timeout:
            continue
        shutil.rmtree(held.parent, ignore_errors=True)


@contextmanager
def alone(folder: str | Path) -> Iterator[None]:
    """Keep `folder` to one run at a time. Raises InputError if another one is writing there."""
    Path(folder).mkdir(parents=True, exist_ok=True)
    try:
        held = FileLock(Path(folder) / ".running").acquire(blocking=False)
    except Timeout:
        raise InputError(f"another run is writing to {folder}: wait for its end, or name another folder") from None
    with held:
        yield


@contextmanager
def replacing(path: str | Path) -> Iterator[Path]:
    """Yield a path beside `path`, for a new file or folder; put in place when the block ends well, else removed.

    A killed run leaves the old one or the new one, never half of one.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    with half_written(path.parent) as folder:
        beside = folder / path.name
        yield beside
        if beside.is_dir() and path.exists():  # a folder can't replace a folder in one step: move the old one away
            path.replace(folder / "old")
        beside.replace(path)


def write_json(path: str | Path, content: dict) -> None:
    """Write a dictionary as readable JSON, in one step."""
    with replacing(path) as beside:
        beside.write_text(json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False) + "\n", encoding="utf-8")


class Run:
    """One run of the series: a folder and the names in it.

    Args:
        folder: The run folder. Inside a project a relative one is taken from its root, which holds `notebooks/`, so
            that Jupyter, papermill and the command mean the same place.
        images: The user's own pictures, one sub-folder per class. Defaults to what notebook 01 collects into `images/`.
    """

    def __init__(self, folder: str | Path, images: str | Path = ""):
        here = Path.cwd()
        self.root = root = next((place.parent for place in (here, here.parent) if place.name == "notebooks"), here)
        self.folder = (root / folder).resolve()
        self.images = (root / Path(images).expanduser()).resolve() if images else self.folder / "images"
        self.truth = self.folder / "truth.csv"  # only for the embedded sample
        self.figures = self.folder / "figures"
        self.cache = self.folder / "cache"
        self.catalog = self.folder / "catalog.csv"
        self.corrections = self.folder / "corrections.csv"
        if images and not self.images.is_dir():
            raise InputError(f"there is no folder {images}: give the folder that holds one sub-folder per class")
        self.folder.mkdir(parents=True, exist_ok=True)

    def model(self, name: str) -> Path:
        """The model folder of that name."""
        return self.folder / "models" / name

    def models(self) -> list[str]:
        """The names of the models saved so far, sorted."""
        return sorted(path.parent.name for path in self.folder.glob("models/*/labels.json"))

    def needs(self, path: Path, notebook: str) -> Path:
        """Return `path`, or say which notebook makes it."""
        if not path.exists():
            raise InputError(f"{path.name} is missing in {self.folder}: run notebook {notebook} first")
        return path

    def save_result(self, topic: str, headline: str, **numbers) -> None:
        """Write `results/<topic>.json`: one sentence for people, the numbers for programs."""
        write_json(self.folder / "results" / f"{topic}.json", {"headline": headline, **numbers})


def cache_folder() -> Path:
    """Where commands keep decoded pictures and measurements: $SNEAKERLIB_CACHE, or the user's cache folder."""
    return Path(os.environ.get("SNEAKERLIB_CACHE") or platformdirs.user_cache_dir("sneakerlib"))


def watch(items: Iterable | None, total: int, doing: str, show: bool = True) -> tqdm:
    """A bar that shows the time left: in a notebook, or where a person watches the terminal.

    Args:
        items: What is passed on when the bar is looped over, one per picture; None if it is moved by `update`.
        total: Number of pictures.
        doing: What is done to them, such as `decoding`.
        show: False for silence. Defaults to True.
    """
    if _shell():  # a saved notebook keeps every state of the bar: few of them, and none of what is done in no time
        options = {"file": sys.stdout, "disable": not show, "mininterval": 5, "delay": 1}
    else:
        options = {"disable": None if show else True, "mininterval": 0.5}
    return tqdm(items, doing, total, leave=False, unit=" pictures", **options)


def _shell():
    return getattr(sys.modules.get("IPython"), "get_ipython", lambda: None)()

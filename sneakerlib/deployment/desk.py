"""One loaded model that many people ask: on every core, and never more of them at a time than it can serve."""

import base64
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import numpy as np
from PIL import Image

from sneakerlib import InputError, evaluation
from sneakerlib.learning import engines, examples, model_folder
from sneakerlib.pictures import as_seen, encoded, quietly
from sneakerlib.review import evidence

WAITING = 64  # questions that may wait: a second or two of work
WAITING_EXPLANATIONS = 8  # the same for explanations, which take a tenth of a second or two
GLOW = (255, 96, 0)  # colour of a heat map: orange shows on dark and bright pictures


class Busy(Exception):
    """Too many people ask at once."""


class Lanes:
    """Threads that work, and a limited number of jobs that wait for them.

    Args:
        threads: Jobs at a time.
        waiting: Jobs that may wait.
    """

    def __init__(self, threads: int, waiting: int):
        self.pool, self.most = ThreadPoolExecutor(threads), threads + waiting
        self.inside, self.lock = 0, threading.Lock()

    def submit(self, job: Callable, *given) -> Future:
        """Begin a job, or let it wait for its turn; raises `Busy` if too many wait already."""
        with self.lock:
            if self.inside >= self.most:
                raise Busy
            self.inside += 1
        future = self.pool.submit(job, *given)
        future.add_done_callback(self._leave)
        return future

    def _leave(self, _) -> None:
        with self.lock:
            self.inside -= 1


class Desk:
    """Answers questions about pictures, by one model.

    Args:
        model: A model folder, or one that was loaded with `model_folder.load`.
        waiting: Questions that may wait. Defaults to 64.

    Raises:
        InputError: If the model folder is missing or damaged.
    """

    def __init__(self, model: str | Path | model_folder.Saved, waiting: int = WAITING):
        self.saved = model_folder.load(model)
        info = self.saved.info
        self.model = {
            "name": self.saved.folder.resolve().name,
            "recipe": info["recipe"],
            "backbone": info["backbone"],
            "fingerprint": engines.fingerprint(self.saved.model),
        }
        blank = np.zeros((self.saved.size, self.saved.size, 3), np.uint8)
        self.saved.engine(blank)  # export it, load it, and see it work before anybody asks
        has_examples = (self.saved.folder / examples.FILE).is_file()
        self.examples = examples.Examples(self.saved) if has_examples else None
        try:
            self.heat = evidence.HeatMaps(self.saved.model)
        except InputError:  # no feature maps to look at
            self.heat = None
        self.lanes, self.explaining = Lanes(self.saved.engine.lanes, waiting), Lanes(1, WAITING_EXPLANATIONS)
        if self.heat:
            self.explaining.submit(self.heat, blank[None], np.array([0]))  # compiled while nobody waits for it
        self.quiet = ExitStack()
        self.quiet.enter_context(quietly())  # around all threads that open pictures, see there

    def close(self) -> None:
        """Finish what was begun."""
        self.lanes.pool.shutdown()
        self.explaining.pool.shutdown()
        self.quiet.close()

    def answer(self, content: bytes) -> dict:
        """What is on a picture, as `/classify` says it.

        Args:
            content: The bytes of a picture file, from anybody.

        Raises:
            InputError: If it cannot be read as a picture.
        """
        ranked = evaluation.classify(self.saved, content, name="this file", strange=True)
        return {
            "success": True,
            "predictions": [{"label": label, "probability": p} for label, p in ranked.items()],
            "sure": self.saved.sure(ranked),
            "model": self.model,
        }

    def explanation(self, content: bytes, label: str | None = None) -> dict:
        """What speaks for a class, as `/explain` says it: where the model looked, and which pictures this one is like.

        Args:
            content: The bytes of a picture file, from anybody.
            label: The class. Defaults to the likeliest.

        Raises:
            InputError: If it cannot be read as a picture, or there is no such class.
        """
        if label is not None and label not in self.saved.labels:
            raise InputError("there is no such class: see /labels")
        picture = as_seen(content, self.saved.size, name="this file", strange=True)
        label = label or next(iter(evaluation.classify(self.saved, Image.fromarray(picture))))
        explained = {"success": True, "label": label, "similar": []}
        if self.heat:
            heat = self.heat(picture[None], np.array([self.saved.labels.index(label)]))[0]
            explained["heat"] = _address("png", _glow(heat))
        for name, likeness, thumbnail in self.examples.nearest(picture) if self.examples else []:
            found = {"label": name, "similarity": likeness, "picture": _address("jpeg", thumbnail)}
            explained["similar"].append(found)
        return explained


def _glow(heat: np.ndarray) -> bytes:
    """A heat map as a PNG to lay over the picture: transparent where nothing was seen."""
    pixels = np.empty((*heat.shape, 4), np.uint8)
    pixels[..., :3], pixels[..., 3] = GLOW, np.round(heat * 200)
    return encoded(Image.fromarray(pixels), format="PNG")


def _address(kind: str, content: bytes) -> str:
    return f"data:image/{kind};base64,{base64.b64encode(content).decode()}"

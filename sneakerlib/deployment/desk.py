"""One loaded model that answers about pictures: which class, what speaks for it, and how much waits for an answer."""

import base64
import hashlib
from pathlib import Path

import numpy as np
from PIL import Image

from sneakerlib import InputError
from sneakerlib.deployment.gate import Lanes
from sneakerlib.learning import examples, model_folder
from sneakerlib.pictures import encoded
from sneakerlib.review import evidence

WAITING = 64  # questions that may wait: a second or two of work
WAITING_EXPLANATIONS = 8  # the same for explanations, which take a tenth of a second or two
GLOW = (255, 96, 0)  # colour of a heat map: orange shows on dark and bright pictures
STRANGE = {"name": "this file", "strange": True}  # how pictures are opened: from anybody, under no name


class Desk:
    """Answers questions about pictures, by one model; a picture is the bytes of a file, from anybody."""

    def __init__(self, model: str | Path | model_folder.Saved):
        self.saved = saved = model_folder.load(model)
        info, file = saved.info, (saved.folder / "model.keras").read_bytes()
        self.model = {"name": saved.folder.resolve().name, "recipe": info["recipe"], "backbone": info["backbone"]}
        self.model["fingerprint"] = hashlib.sha256(file).hexdigest()[:12]
        saved.classify(Image.new("RGB", (8, 8)))  # export it, load it, and see it work before anybody asks
        self.examples = examples.Examples(saved) if (saved.folder / examples.FILE).is_file() else None
        try:
            self.heat = evidence.heat_maps(saved.model)
        except InputError:  # no feature maps to look at
            self.heat = None
        self.lanes, self.explaining = Lanes(saved.engine.lanes, WAITING), Lanes(1, WAITING_EXPLANATIONS)
        if self.heat:  # compiled while nobody waits for it
            self.explaining.pool.submit(self.heat, np.zeros((1, saved.size, saved.size, 3), np.uint8), np.array([0]))

    def close(self) -> None:
        """Finish what was begun."""
        self.lanes.pool.shutdown()
        self.explaining.pool.shutdown()

    def answer(self, content: bytes) -> dict:
        """What is on a picture, as `/classify` says it; raises InputError if it cannot be read as one."""
        ranked = self.saved.classify(content, **STRANGE)
        predictions = [{"label": label, "probability": p} for label, p in ranked.items()]
        return {"success": True, "predictions": predictions, "sure": self.saved.sure(ranked), "model": self.model}

    def explanation(self, content: bytes, label: str | None = None) -> dict:
        """What speaks for a class, or the likeliest: where the model looked, and which pictures this one is like."""
        if label is not None and label not in self.saved.labels:
            raise InputError("there is no such class: see /labels")
        label = label or next(iter(self.saved.classify(content, **STRANGE)))
        picture = self.saved.look(content, **STRANGE)
        explained = {"success": True, "label": label, "similar": []}
        if self.heat:
            heat = self.heat(picture[None], np.array([self.saved.labels.index(label)]))[0]
            pixels = np.full((*heat.shape, 4), (*GLOW, 0), np.uint8)
            pixels[..., 3] = np.round(heat * 200)  # transparent where nothing was seen
            explained["heat"] = _address("png", encoded(Image.fromarray(pixels), format="PNG"))
        for name, likeness, thumbnail in self.examples.nearest(picture) if self.examples else []:
            found = {"label": name, "similarity": likeness, "picture": _address("jpeg", thumbnail)}
            explained["similar"].append(found)
        return explained


def _address(kind: str, content: bytes) -> str:
    return f"data:image/{kind};base64,{base64.b64encode(content).decode()}"

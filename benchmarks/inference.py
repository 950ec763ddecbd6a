"""Pictures per second of EfficientNet-Lite0 at 224 pixels: Keras, and LiteRT in two ways.

Run with `make bench`.
"""

import time
from collections.abc import Callable

import numpy as np

from sneakerlib import backbones, engines

COUNT, ROUNDS = 256, 3


def rate(run: Callable, pictures: np.ndarray) -> float:
    """Pictures per second."""
    begun = time.monotonic()
    run(pictures)
    return len(pictures) / (time.monotonic() - begun)


def main() -> None:
    """Print a line per round."""
    pictures = np.random.default_rng(0).integers(0, 256, (COUNT, 224, 224, 3), np.uint8)
    model = backbones.backbone()
    content = engines.export(model)
    engine = engines.LiteRT(content)

    def by_keras(batch: np.ndarray) -> None:
        for start in range(0, len(batch), 32):
            model.predict_on_batch(batch[start : start + 32].astype(np.float32))

    def one_by_one(batch: np.ndarray) -> None:
        for picture in batch:
            engine(picture)

    def on_every_core(batch: np.ndarray) -> None:
        for _ in engine.map(lambda picture: picture, batch):
            pass

    ways = (by_keras, one_by_one, on_every_core)
    for way in ways:  # Keras compiles at its first batch
        way(pictures[:32])
    for number in range(1, ROUNDS + 1):
        rates = [rate(way, pictures) for way in ways]
        print(f"round {number}: Keras {rates[0]:.0f}, LiteRT one by one {rates[1]:.0f}, on every core {rates[2]:.0f}/s")


if __name__ == "__main__":
    main()

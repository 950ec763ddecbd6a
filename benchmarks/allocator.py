"""What it brings that `memory.keep` undoes what TensorFlow does to the allocator: time and page faults of a step.

python benchmarks/allocator.py [ROUNDS]; every measurement is a process of its own, with and without in turn, ROUNDS
times (3 unless told otherwise, about five minutes each); the table has their medians. Everything is drawn here.
oneDNN has an allocator of its own, so it is off in them.
"""

import hashlib
import os
import resource
import subprocess
import sys
import time

import numpy as np
import pandas as pd

from sneakerlib.learning import memory, networks, pipeline, training

BATCH, STEPS, EPOCHS = 32, 3, 4
CASES = [("scratch", 64), ("efficientnet-lite0", 96), ("efficientnet-lite0", 160)]


class Watched(pipeline.Batches):
    """Batches that note time and page faults so far at the start of every epoch."""

    def on_epoch_begin(self) -> None:
        """Note them."""
        super().on_epoch_begin()
        self.noted = [
            *getattr(self, "noted", []),
            (time.monotonic(), resource.getrusage(resource.RUSAGE_SELF).ru_minflt),
        ]


def step(name: str, size: int) -> tuple[float, float, str]:
    """Seconds and page faults of a training step, and the digest of the weights that come out."""
    labels = [f"class {number}" for number in range(4)]
    training.seed_everything(0)
    model = (
        networks.scratch(labels, size)
        if name == "scratch"
        else networks.classifier(networks.backbone(name, size), labels)
    )
    model.trainable = True
    noise = np.random.default_rng(0).integers(0, 256, (BATCH * STEPS, size, size, 3), np.uint8)
    paths = [str(number) for number in range(len(noise))]
    rows = pd.DataFrame({"path": paths, "label": [labels[number % 4] for number in range(len(noise))]})
    pixels = pipeline.Pixels(noise, {path: number for number, path in enumerate(paths)}, size)
    batches = Watched(rows, pixels, labels, BATCH)
    training.fit(model, batches, None, EPOCHS, progress=False)
    begun, end = np.array(batches.noted)[[1, -1]]  # the first epoch compiles; the last has nobody to note its end
    weights = hashlib.sha256(b"".join(weight.tobytes() for weight in model.get_weights()))
    return *((end - begun) / STEPS / (EPOCHS - 2)), weights.hexdigest()[:8]


def main(rounds: int) -> None:
    """Print the table."""
    lines, plain = [], os.environ | {"TF_ENABLE_ONEDNN_OPTS": "0"}
    for _ in range(rounds):
        for name, size in CASES:
            for kept in (False, True):
                command = [sys.executable, __file__, "--step", name, str(size), str(kept)]
                answer = subprocess.run(command, env=plain, check=True, capture_output=True, text=True).stdout.split()
                lines.append([name, size, kept, float(answer[-3]), float(answer[-2]), answer[-1]])
                print(*lines[-1], file=sys.stderr, flush=True)
    table = pd.DataFrame(lines, columns=["network", "pixels", "kept", "seconds", "faults", "weights"])
    assert len(table[["network", "pixels", "weights"]].drop_duplicates()) == len(CASES), "the weights differ"
    middle = table.pivot_table(["seconds", "faults"], ["network", "pixels"], "kept", "median")
    middle["times faster", ""] = middle["seconds", False] / middle["seconds", True]
    print(middle.round(2).to_string())


if __name__ == "__main__":
    if sys.argv[1:2] == ["--step"]:
        if sys.argv[4] == "False":
            memory.keep = lambda: None
        print(*step(sys.argv[2], int(sys.argv[3])))
    else:
        main(int((sys.argv[1:] or ["3"])[0]))

"""Where the time of a training goes: pictures per second of every step at four sizes, and how cost grows with pictures.

python benchmarks/throughput.py [PICTURES ...]; the sizes are 96, 128, 160 and 224 pixels, the growth is measured for
the numbers of pictures given (1,000 and 10,000 unless told otherwise; 50,000 takes five minutes). Everything is drawn
here; nothing is needed from outside.
"""

import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image

from sneakerlib import catalog
from sneakerlib.learning import augmentation, engines, heads, networks, pipeline, ridge, training, tuning
from sneakerlib.learning.quiet import keras

COUNT, BATCH, STEPS = 128, 32, 4
FLOPS_LITE0 = 2 * 407e6  # of one picture at 224 pixels: 407 million multiplications and as many additions (Tan 2020)


def folder_of(count: int, where: Path) -> pd.DataFrame:
    """A catalog of small JPEGs of noise in four classes, a tenth for validation."""
    rng = np.random.default_rng(0)
    for number in range(count):
        file = where / f"class_{number % 4}" / f"{number}.jpg"
        file.parent.mkdir(exist_ok=True, parents=True)
        pixels = rng.integers(0, 256, (12, 16, 3), np.uint8)
        Image.fromarray(pixels).resize((240, 180)).save(file)
    rows = catalog.read(where)
    rows["group"] = rows.path
    return catalog.split(rows, 0.1, 0)


def rate(run: Callable, pictures: int) -> float:
    """Pictures per second, the first call not counted."""
    run()
    begun = time.monotonic()
    run()
    return pictures / (time.monotonic() - begun)


def peak() -> float:
    """The machine's matrix-multiply peak in float32, in operations per second."""
    one = np.random.default_rng(0).random((2048, 2048), np.float32)
    return max(2 * 2048**3 * rate(lambda: one @ one, 1) for _ in range(5))


def steps(rows: pd.DataFrame, size: int, most: float, scratch: Path) -> dict:
    """One line of the table: pictures per second of every step at a size."""
    pixels = pipeline.pack(rows, size, scratch / "first", progress=False)  # the files are in memory from here on
    begun = time.monotonic()
    pipeline.pack(rows, size, scratch / "second", progress=False)
    decoding = len(rows) / (time.monotonic() - begun)
    labels = sorted(set(rows.label))
    batches = pipeline.Batches(rows, pixels, labels, BATCH)
    some = [batches[at] for at in range(STEPS)]
    changes = training.augmented(
        keras.Sequential([keras.Input((size, size, 3)), keras.layers.Rescaling(1)]), augmentation.crops()
    )
    model = tuning.frozen_statistics(networks.classifier(networks.backbone(size=size), labels))
    model.compile("adamw", keras.losses.CategoricalCrossentropy(from_logits=True), jit_compile=False)
    run = engines.engine(model, scratch)
    shown = np.concatenate([x for x, _ in some])
    inference = rate(lambda: list(run.map(lambda same: same, shown)), len(shown))
    trained = rate(lambda: [model.train_on_batch(x, y) for x, y in some], STEPS * BATCH)
    flops = FLOPS_LITE0 * (size / 224) ** 2
    return {
        "pixels": size,
        "decoding": decoding,
        "cached": rate(lambda: [batches[at] for at in range(len(batches))], len(rows)),
        "augmentation": rate(lambda: [changes(x, training=True) for x, _ in some], STEPS * BATCH),
        "training": trained,
        "inference": inference,
        "share of peak, training": 3 * flops * trained / most,  # a step is about three forward passes
        "share of peak, inference": flops * inference / most,
    }


def most_memory() -> float:
    """The most memory that this process has had, in GB (Linux); `ru_maxrss` would begin with its parent's."""
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) / 1e6


def grown(count: int) -> None:
    """Describe, solve and pack this many pictures; print seconds and memory of the process."""
    with tempfile.TemporaryDirectory() as scratch:
        rows = folder_of(count, Path(scratch) / "pictures")
        labels = sorted(set(rows.label))
        before = most_memory()
        begun = time.monotonic()
        pipeline.pack(rows, 96, scratch, progress=False)
        packed = time.monotonic() - begun
        many = count > 12_000
        model = networks.second_order(networks.backbone(size=96), labels, channels=96 if many else 192, regions=False)
        begun = time.monotonic()
        described = heads.describe(rows, labels, networks.features(model), cache=scratch, progress=False)
        spent = time.monotonic() - begun
        begun = time.monotonic()
        solver = ridge.solver(*described.train)
        solver.solve(0.1)
        solved = time.monotonic() - begun
        memory = most_memory() - before
        print(
            f"{count:>7} pictures: packing {packed:6.1f} s, describing at 96 px {spent:6.1f} s, "
            f"solving ({type(solver).__name__}, {described.vectors.shape[1]:,} channels) {solved:6.1f} s, "
            f"memory grew by {memory:.2f} GB",
            flush=True,
        )


def main(*counts: str) -> None:
    """Print the table and the growth."""
    most = peak()
    print(f"matrix-multiply peak: {most / 1e9:.0f} GFLOP/s in float32")
    with tempfile.TemporaryDirectory() as scratch:
        rows = folder_of(COUNT, Path(scratch) / "pictures")
        lines = [steps(rows, size, most, Path(scratch)) for size in (96, 128, 160, 224)]
    print(pd.DataFrame(lines).set_index("pixels").map(lambda value: f"{value:.3g}").to_string(), flush=True)
    for count in counts or ("1000", "10000"):  # each in a process of its own, whose memory is its own
        subprocess.run([sys.executable, __file__, "--grown", count], check=True)


if __name__ == "__main__":
    if "--grown" in sys.argv:
        grown(int(sys.argv[2]))
    else:
        main(*sys.argv[1:])

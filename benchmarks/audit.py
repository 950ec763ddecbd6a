"""Audit 1,000 to 100,000 generated pictures, and judge as many generated features: does the cost per picture grow?

Run with `make bench`.
"""

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image

from sneakerlib.cleaning import off_topic

SIZES = (1_000, 10_000, 100_000)
CLASSES = 10


def draw(folder: Path, count: int) -> None:
    """Write small JPEGs, each of random blots, into ten classes."""
    rng = np.random.default_rng(0)
    for number in range(count):
        file = folder / f"class_{number % CLASSES}" / f"{number:06}.jpg"
        file.parent.mkdir(parents=True, exist_ok=True)
        blots = Image.fromarray(rng.integers(0, 256, (9, 12, 3), np.uint8))
        blots.resize((160, 120), Image.BICUBIC).save(file)


def measured(arguments: list[str], cache: Path) -> tuple[float, float]:
    """Seconds that a command takes, and the gigabytes of its largest process."""
    begun = time.monotonic()
    report = [sys.executable, __file__, "run", *arguments]
    done = subprocess.run(report, env=os.environ | {"SNEAKERLIB_CACHE": str(cache)}, capture_output=True, check=True)
    return time.monotonic() - begun, float(done.stderr.split()[-1])


def run(arguments: list[str]) -> None:
    """Run a command of sneakerlib in this process and write its largest size to the error stream."""
    import resource

    from sneakerlib import cli

    cli.main(arguments)
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6, file=sys.stderr)


def main() -> None:
    """Print a line per size."""
    with tempfile.TemporaryDirectory() as place:
        draw(Path(place) / "all", max(SIZES))
        files = sorted((Path(place) / "all").rglob("*.jpg"), key=lambda file: file.name)
        for count in SIZES:
            images = Path(place) / f"{count}"
            for file in files[:count]:
                link = images / file.parent.name / file.name
                link.parent.mkdir(parents=True, exist_ok=True)
                os.link(file, link)
            for what in ("first", "again"):
                command = ["audit", str(images), "--no-features", "--json"]
                seconds, size = measured(command, Path(place) / f"cache-{count}")
                print(
                    f"audit, {what} {count:>7} pictures {seconds:7.1f} s {seconds / count * 1e3:6.2f} ms each "
                    f"{size:5.2f} GB",
                    flush=True,
                )
    for count in SIZES:
        rng = np.random.default_rng(0)
        features = rng.exponential(1, (count, 1280)).astype(np.float32)
        labels = pd.Series(rng.integers(0, CLASSES, count).astype(str))
        begun = time.monotonic()
        off_topic.judge(features, labels, pd.Series([f"{number:06}" for number in range(count)]))
        seconds = time.monotonic() - begun
        print(f"off topic {count:>7} pictures {seconds:7.1f} s {seconds / count * 1e3:6.2f} ms each", flush=True)


if __name__ == "__main__":
    run(sys.argv[2:]) if sys.argv[1:2] == ["run"] else main()

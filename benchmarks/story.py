"""Does the series tell its story on samples that nobody has looked at? Four seeds, judged by the true labels.

    python benchmarks/story.py [--seeds 21,22,23,24] [--out runs/story]

Every seed draws other pictures, plants other faults, splits and trains anew: notebooks 01 to 06 run as they are.
Stopped, the same command goes on. benchmarks/README.md says what came out.
"""

import argparse
import json
import subprocess
import sys
from pathlib import Path

import pandas as pd
from scipy.stats import binomtest

SEEDS = "21,22,23,24"  # named before the first look at any of them; 11 to 14 were the first round
TOPICS = ("03_cnn_from_scratch", "05_confusion_matrices", "06_misclassified_images")


def told(folder: Path) -> dict:
    """What a finished run says: shares of pictures, by the true labels."""
    scratch, compared, reviewed = (json.loads((folder / f"results/{name}.json").read_text()) for name in TOPICS)
    plain, augmented = scratch["judged"]["1 big"], scratch["judged"]["5 augmented"]
    test, gain = compared["true_labels"], reviewed["gain"]["judged by true labels"]
    return {
        "gap, plain": plain["gap at the end"],
        "gap, augmented": augmented["gap at the end"],
        "val, plain": plain["by the true labels"],
        "val, augmented": augmented["by the true labels"],
        **{f"test, {name}": test[name] for name in ("linear", "scratch", "frozen", "fine-tune")},
        "test, labels as they were": reviewed["accuracy"]["judged by true labels"]["labels as they were"],
        "test, reviewed labels": reviewed["accuracy"]["judged by true labels"]["reviewed labels"],
        "gained": gain["gained"],
        "lost": gain["lost"],
    }


def marks(table: pd.DataFrame) -> dict[str, bool]:
    """What has to hold, and whether it does."""
    brought = table["val, augmented"] - table["val, plain"]
    gained, lost = int(table.gained.sum()), int(table.lost.sum())
    low = binomtest(gained, max(1, gained + lost)).proportion_ci(method="exact").low  # above one half: more than luck
    return {
        "the plain network overfits: a gap of 20 points or more on each": (table["gap, plain"] >= 0.20).all(),
        "augmentation narrows the gap on each": (table["gap, augmented"] < table["gap, plain"]).all(),
        "augmentation brings 3 points or more on the mean": brought.mean() >= 0.03,
        "augmentation loses more than a point on none": (brought >= -0.01).all(),
        "transfer is 10 points or more above scratch on each": (
            table["test, frozen"] >= table["test, scratch"] + 0.1
        ).all(),
        "fine-tuning is at least as good as frozen on each": (table["test, fine-tune"] >= table["test, frozen"]).all(),
        "reviewed labels bring something on each": (table.gained > table.lost).all(),
        "and, pooled, more than luck would (exact 95 % interval)": low > 0.5,
    }


def main() -> None:
    """Run, judge, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", default=SEEDS)
    parser.add_argument("--out", type=Path, default=Path("runs/story"))
    options, rows = parser.parse_args(), {}
    for seed in options.seeds.split(","):
        folder = options.out / seed
        command = ["run", "--out", folder, "--only", "01,02,03,04,05,06", "-p", "SEED", seed, "--resume"]
        subprocess.run([sys.executable, "-m", "sneakerlib.cli", *map(str, command)], check=True)
        rows[seed] = told(folder)
    table = pd.DataFrame(rows).T
    table.to_csv(options.out / "story.csv", index_label="seed", lineterminator="\n")
    print(table.T.round(3).to_string())
    for mark, holds in marks(table).items():
        print("✓" if holds else "✗", mark)


if __name__ == "__main__":
    main()

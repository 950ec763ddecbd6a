"""Five-fold cross-validated accuracy of second-order features on a picture folder, twins kept together.

python benchmarks/accuracy.py IMAGES [CLASSES ...] where CLASSES is a number: that many classes, in the order of their
names' numbers. The labels are those of the folders, right or wrong; every readable picture counts.
"""

import re
import sys
import tempfile
import time

import numpy as np
from sklearn.model_selection import StratifiedGroupKFold

from sneakerlib import catalog, clean, engines, evaluation, models, ridge

STRENGTH = 0.2  # of one kernel, fixed beforehand: nothing is chosen by the scores reported here
SIZES = (224, 288)


def main(images: str, *wanted: str) -> None:
    """Print a line per number of classes and picture size, and one for the sum of the kernels of all sizes."""
    whole = catalog.read(images)
    names = sorted(set(whole.label), key=lambda name: [int(part) for part in re.findall(r"\d+", name)])
    for count in map(int, wanted or (len(names),)):
        with tempfile.TemporaryDirectory() as cache:
            score(whole[whole.label.isin(names[:count])], cache)


def score(rows, cache: str) -> None:
    """Print the lines of one set of classes."""
    rows = clean.apply(rows, clean.audit(rows, cache, progress=False, features=False))
    rows = rows[~rows.issue.isin(["unreadable", "not-a-picture"])]
    labels = sorted(set(rows.label))
    targets = rows.label.map({label: at for at, label in enumerate(labels)}).to_numpy()
    total = 0
    for size in SIZES:
        begun = time.monotonic()
        network = models.features(models.second_order(models.backbone(size=size), labels))
        gram = ridge.gram(engines.features(rows, network, cache=cache, progress=False))
        spent = time.monotonic() - begun
        report(f"{size} px", gram, targets, rows.group, len(labels), spent)
        total = total + gram
    report("both", total / len(SIZES), targets, rows.group, len(labels), float("nan"))


def report(name: str, gram: np.ndarray, targets: np.ndarray, groups, classes: int, spent: float) -> None:
    """Cross-validate on inner products and print accuracy, its interval, and the seconds spent."""
    begun, right = time.monotonic(), np.zeros(len(targets), bool)
    for learn, test in StratifiedGroupKFold(5, shuffle=True, random_state=0).split(targets, targets, groups):
        dual = ridge.solve(gram[np.ix_(learn, learn)], targets[learn], STRENGTH)
        right[test] = (gram[np.ix_(test, learn)] @ dual).argmax(1) == targets[test]
    low, high = evaluation.wilson_interval(int(right.sum()), len(right))
    solving = (time.monotonic() - begun) / 5
    print(
        f"{classes:>3} classes {len(right):>6} pictures {name:>7} {right.mean():.4f} ({low:.4f} to {high:.4f}) "
        f"features {spent:5.0f} s, solving {solving:5.1f} s per fold",
        flush=True,
    )


if __name__ == "__main__":
    main(*sys.argv[1:])

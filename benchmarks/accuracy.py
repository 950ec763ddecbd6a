"""Five-fold cross-validated accuracy of the recipe `second-order` on a picture folder, twins kept together.

python benchmarks/accuracy.py IMAGES [CLASSES ...] [--cache FOLDER]

CLASSES is a number: that many classes, in the order of their names' numbers. The labels are those of the folders, right
or wrong; every readable picture counts. Nothing is chosen by these scores while it runs: how strong the penalty is, is
decided in every fold by leaving out each of its training pictures. With `--cache` a run that was stopped goes on where
it was.
"""

import argparse
import contextlib
import tempfile
import time

import numpy as np
from sklearn.model_selection import StratifiedGroupKFold

from sneakerlib import catalog, evaluation
from sneakerlib.cleaning import audit
from sneakerlib.learning import backbones, heads, networks, recipes
from sneakerlib.learning.features import features


def main() -> None:
    """Print a line per number of classes."""
    parser = argparse.ArgumentParser()
    parser.add_argument("images")
    parser.add_argument("classes", nargs="*", type=int)
    parser.add_argument("--cache")
    options = parser.parse_args()
    whole, (size, _) = catalog.read(options.images), recipes.RECIPES["second-order"]
    names = catalog.in_order(whole.label)
    counts = sorted(options.classes) or [len(names)]
    network = networks.before_head(networks.second_order(backbones.backbone(size=size), ["a", "b"]))
    with contextlib.nullcontext(options.cache) if options.cache else tempfile.TemporaryDirectory() as cache:
        for count in counts:
            begun, rows = time.monotonic(), whole[whole.label.isin(names[:count])]
            rows = audit.apply(rows, audit.audit(rows, cache, progress=False, features=False))
            rows = rows[~rows.issue.isin(["unreadable", "not-a-picture"])].reset_index(drop=True)
            vectors = features(rows, network, cache=cache, progress=False)
            targets = catalog.class_numbers(rows.label, names[:count])
            right = int(cross_validated(vectors, targets, rows.group.to_numpy()).sum())
            low, high = evaluation.wilson_interval(right, len(rows))
            print(
                f"{count:>3} classes {len(rows):>6} pictures {right / len(rows):.4f} ({low:.4f} to {high:.4f}), "
                f"{time.monotonic() - begun:.0f} s",
                flush=True,
            )


def cross_validated(vectors: np.ndarray, targets: np.ndarray, groups: np.ndarray) -> np.ndarray:
    """Whether heads are right about pictures that they were not solved with: bool per picture."""
    right = np.zeros(len(targets), bool)
    for learn, test in StratifiedGroupKFold(5, shuffle=True, random_state=0).split(vectors, targets, groups):
        head = heads.Ridge(vectors[learn], targets[learn])
        strength, _ = head.chosen(groups[learn])
        right[test] = heads.answers(vectors[test], head.kernel(strength)).argmax(axis=1) == targets[test]
    return right


if __name__ == "__main__":
    main()

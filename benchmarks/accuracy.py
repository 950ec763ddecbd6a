"""Five-fold cross-validated accuracy of second-order features on a picture folder, twins kept together.

python benchmarks/accuracy.py IMAGES [CLASSES ...] [--cache FOLDER]

CLASSES is a number: that many classes, in the order of their names' numbers. The labels are those of the folders, right
or wrong; every readable picture counts. Nothing is chosen by these scores while it runs: how strong the penalty is, is
decided in every fold by leaving out each of its training pictures. With `--cache` a run that was stopped goes on where
it was. The second score leaves out labels that the first way, cross-validated, doubts (confident learning): it
flatters, for models doubt alike.
"""

import argparse
import contextlib
import tempfile
import time

import numpy as np
import pandas as pd
from cleanlab.filter import find_label_issues
from scipy.special import softmax
from sklearn.model_selection import StratifiedGroupKFold

from sneakerlib import calibration, catalog, evaluation
from sneakerlib.cleaning import audit
from sneakerlib.learning import engines, networks, ridge

WAYS = {  # pixels, and whether regions are described by themselves; the last is the recipe `second-order`
    "224 px": (224, False),
    "288 px": (288, False),
    "288 px, regions": (288, True),
}


def main() -> None:
    """Print a line per way and number of classes."""
    parser = argparse.ArgumentParser()
    parser.add_argument("images")
    parser.add_argument("classes", nargs="*", type=int)
    parser.add_argument("--cache")
    options = parser.parse_args()
    whole = catalog.read(options.images)
    names = catalog.in_order(whole.label)
    counts = sorted(options.classes) or [len(names)]
    rows = whole[whole.label.isin(names[: max(counts)])]
    with contextlib.nullcontext(options.cache) if options.cache else tempfile.TemporaryDirectory() as cache:
        rows = audit.apply(rows, audit.audit(rows, cache, progress=False, features=False))
        rows = rows[~rows.issue.isin(["unreadable", "not-a-picture"])].reset_index(drop=True)
        products = {name: described(rows, cache, name, *way) for name, way in WAYS.items()}
        for count in counts:
            chosen = rows.index[rows.label.isin(names[:count])].to_numpy()
            some = rows.loc[chosen].reset_index(drop=True)
            some.attrs = rows.attrs
            said = {name: cross_validated(gram[np.ix_(chosen, chosen)], some) for name, gram in products.items()}
            trusted = undoubted(next(iter(said.values()))[0], some)
            for name in said:
                report(name, *said[name], some, trusted)


def described(rows: pd.DataFrame, cache: str, name: str, size: int, regions: bool) -> np.ndarray:
    """Inner products of all pictures; what was described before is not again."""
    begun = time.monotonic()
    network = networks.features(networks.second_order(networks.backbone(size=size), ["a", "b"], regions=regions))
    gram = ridge.gram(engines.features(rows, network, cache=cache, progress=False))
    print(f"{name}: {len(rows)} pictures described in {time.monotonic() - begun:.0f} s", flush=True)
    return gram


def folds(rows: pd.DataFrame):
    """The training and test rows of each fold."""
    return StratifiedGroupKFold(5, shuffle=True, random_state=0).split(rows, rows.label, rows.group)


def cross_validated(gram: np.ndarray, rows: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:
    """What heads say of pictures that they were not solved with, nor scaled by.

    Args:
        gram: Inner products of all pictures.
        rows: The pictures.

    Returns:
        Probabilities of shape (pictures, classes), and for each picture the share of labels taken to be drawn by lot.
    """
    targets, groups = numbers(rows), rows.group.to_numpy()
    p, noise = np.zeros((len(rows), targets.max() + 1)), np.zeros(len(rows))
    for learn, test in folds(rows):
        inner, given = gram[np.ix_(learn, learn)], targets[learn]
        penalty, seen = chosen(inner, given, groups[learn])
        temperature, noise[test] = calibration.fit_noisy(seen.astype(float), given)
        head = ridge.solve(inner, given, penalty)
        p[test] = softmax((gram[np.ix_(test, learn)] @ head).astype(float) / temperature, axis=1)
    return p, noise


def chosen(inner: np.ndarray, targets: np.ndarray, groups: np.ndarray) -> tuple[float, np.ndarray]:
    """The penalty that names most left-out pictures as they are labelled, and what is then said of each."""
    scale = float(np.diag(inner).mean())  # mean squared length
    strength, said = ridge.strongest(
        lambda strength: ridge.left_out(inner, targets, strength * scale, 1, groups), targets
    )
    return strength * scale, said


def numbers(rows: pd.DataFrame) -> np.ndarray:
    """The class number of each picture."""
    return catalog.class_numbers(rows.label, sorted(set(rows.label)))


def report(name: str, p: np.ndarray, noise: np.ndarray, rows: pd.DataFrame, trusted: np.ndarray) -> None:
    """Print accuracy with its interval, what it is where another model does not doubt the label, and the ECE."""
    correct = p.argmax(1) == numbers(rows)
    low, high = evaluation.wilson_interval(int(correct.sum()), len(correct))
    by_labels = calibration.allowing(p, noise[:, None])
    answers = (pd.DataFrame({"confidence": each.max(1), "correct": correct}) for each in (p, by_labels))
    error, allowed = (calibration.expected_calibration_error(each) for each in answers)
    print(
        f"{p.shape[1]:>3} classes {len(correct):>6} pictures {correct.mean():.4f} ({low:.4f} to {high:.4f}), "
        f"{correct[trusted].mean():.4f} of {trusted.sum()} with undoubted labels, ECE {error:.3f}, "
        f"{allowed:.3f} allowing for {noise.mean():.3f} of labels by lot: {name}",
        flush=True,
    )


def undoubted(p: np.ndarray, rows: pd.DataFrame) -> np.ndarray:
    """Which labels survive confident learning on what a model says: bool per picture."""
    given = numbers(rows)
    return ~(find_label_issues(given, p, n_jobs=1) & (p.argmax(1) != given))


if __name__ == "__main__":
    main()

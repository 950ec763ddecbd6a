"""Five-fold cross-validated accuracy of second-order features on a picture folder, twins kept together.

python benchmarks/accuracy.py IMAGES [CLASSES ...] [--tuned CLASSES ...] [--cache FOLDER]

CLASSES is a number: that many classes, in the order of their names' numbers. The labels are those of the folders, right
or wrong; every readable picture counts. Nothing is chosen by these scores while it runs: how strong the penalty is, and
whether doubted labels count less, is decided in every fold by leaving out each of its training pictures. `--tuned` adds
a network that is fine-tuned in every fold, which takes an hour where the others take minutes; with `--cache` a run that
was stopped goes on where it was. The second score leaves out labels that the first way, cross-validated, doubts
(confident learning): it flatters, for models doubt alike.
"""

import argparse
import contextlib
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.special import softmax
from sklearn.model_selection import StratifiedGroupKFold

from sneakerlib import auto, calibration, catalog, clean, doubts, evaluation, heads, models, ridge, training, tuning
from sneakerlib.backbones import LITES

ONE, ALL = ("efficientnet-lite0",), tuple(LITES)
BEST = "Lite0 to 2, 288 and 384 px, regions, mirrored, trimmed"
WAYS = {  # networks, pixels, and what the recipe `second-order` is asked for beside
    "Lite0, 224 px": (ONE, (224,), {}),
    "Lite0, 288 px": (ONE, (auto.LARGE,), {}),
    "Lite0, 288 px, regions": (ONE, (auto.LARGE,), {"regions": True}),
    "Lite0 to 2, 288 px, regions": (ALL, (auto.LARGE,), {"regions": True}),  # the second that the recipe `auto` tries
    "Lite0 to 2, 288 and 384 px, regions": (ALL, (auto.LARGE, 384), {"regions": True}),
    "Lite0 to 2, 288 and 384 px, regions, mirrored": (ALL, (auto.LARGE, 384), {"regions": True, "flip": True}),
    BEST: (ALL, (auto.LARGE, 384), {"regions": True, "flip": True, "trim": True}),
}
EPOCHS = 6  # of fine-tuning, as the recipe has it
STRENGTHS = (0.0125, 0.025, 0.05, 0.1, 0.2)  # of the penalty; where doubted labels count little, weak ones do


def main() -> None:
    """Print a line per way and number of classes."""
    parser = argparse.ArgumentParser()
    parser.add_argument("images")
    parser.add_argument("classes", nargs="*", type=int)
    parser.add_argument("--tuned", nargs="*", type=int, default=[])
    parser.add_argument("--cache")
    options = parser.parse_args()
    whole = catalog.read(options.images)
    names = catalog.in_order(whole.label)
    counts = sorted({*options.classes, *options.tuned}) or [len(names)]
    rows = whole[whole.label.isin(names[: max(counts)])]
    with contextlib.nullcontext(options.cache) if options.cache else tempfile.TemporaryDirectory() as cache:
        rows = clean.apply(rows, clean.audit(rows, cache, progress=False, features=False))
        rows = rows[~rows.issue.isin(["unreadable", "not-a-picture"])].reset_index(drop=True)
        products = {name: described(rows, cache, name, *way) for name, way in WAYS.items()}
        for count in counts:
            chosen = rows.index[rows.label.isin(names[:count])].to_numpy()
            some = rows.loc[chosen].reset_index(drop=True)
            some.attrs = rows.attrs
            grams = {name: [gram[np.ix_(chosen, chosen)]] * 5 for name, gram in products.items()}
            if count in options.tuned:
                grams["a tuned Lite0 alone"] = list(tuned(some, cache))
                both = zip(grams[BEST], grams["a tuned Lite0 alone"], strict=True)
                grams[f"{BEST}, and a tuned Lite0"] = [one + other for one, other in both]
            judges = {name: grams[BEST] if "tuned" in name else each for name, each in grams.items()}
            said = {name: cross_validated(each, judges[name], some) for name, each in grams.items()}
            trusted = undoubted(next(iter(said.values()))[0], some)
            for name in said:
                report(name, *said[name], some, trusted)


def described(
    rows: pd.DataFrame, cache: str, name: str, backbones: tuple, sizes: tuple, more: dict[str, bool]
) -> np.ndarray:
    """Inner products of all pictures."""
    begun = time.monotonic()
    networks = [models.backbone(backbone, size) for size in sizes for backbone in backbones]
    gram = products_of(models.second_order(networks, ["a", "b"], **more), rows, cache)
    print(f"{name}: {len(rows)} pictures described in {time.monotonic() - begun:.0f} s", flush=True)
    return gram


def products_of(model, rows: pd.DataFrame, cache: str) -> np.ndarray:
    """Inner products of what a second-order model says before its head; what was described before is not again."""
    return ridge.gram(heads.vectors(rows, models.features(model), cache=cache, progress=False))


def folds(rows: pd.DataFrame):
    """The training and test rows of each fold."""
    return StratifiedGroupKFold(5, shuffle=True, random_state=0).split(rows, rows.label, rows.group)


def tuned(rows: pd.DataFrame, cache: str):
    """For each fold the inner products by a network that was fine-tuned on its training pictures."""
    labels = sorted(set(rows.label))

    def build(size: int):
        return models.classifier(models.backbone(size=size), labels)

    for number, (learn, _) in enumerate(folds(rows)):
        begun = time.monotonic()
        training.seed_everything(number)
        split = rows.assign(issue="", split="test")
        split.loc[learn, "split"] = "train"
        kept = Path(cache) / f"tuned-{len(labels)}-{number}"
        network, _ = tuning.fine_tune(
            build, split, labels, tuning.plan(EPOCHS), cache=cache, checkpoint=kept, progress=False
        )
        body = models.transplanted(network, build(tuning.larger(tuning.SIZES[-1])))
        gram = products_of(models.second_order(body, labels, regions=True), rows, cache)
        print(f"fold {number + 1}: fine-tuned and described in {time.monotonic() - begun:.0f} s", flush=True)
        yield gram


def cross_validated(
    grams: list[np.ndarray], judges: list[np.ndarray], rows: pd.DataFrame
) -> tuple[np.ndarray, np.ndarray]:
    """What heads say of pictures that they were not solved with, nor scaled by.

    Args:
        grams: Inner products of all pictures, for each fold.
        judges: Those by which the strength and the temperature are chosen: of networks that have learned from no
            picture, for one that has learned from a picture cannot judge what is said of it when it is left out.
        rows: The pictures.

    Returns:
        Probabilities of shape (pictures, classes), and for each picture the share of labels taken to be drawn by lot.
    """
    targets = numbers(rows)
    p, noise = np.zeros((len(rows), targets.max() + 1)), np.zeros(len(rows))
    for gram, judge, (learn, test) in zip(grams, judges, folds(rows), strict=True):
        inside = np.ix_(learn, learn)
        strength, counts, seen = chosen(judge[inside], targets[learn], rows.group.to_numpy()[learn])
        temperature, noise[test] = calibration.fit_noisy(seen.astype(float), targets[learn])
        inner = gram[inside]
        head = ridge.solve(inner, targets[learn], strength * float(np.diag(inner).mean()), counts)
        p[test] = softmax((gram[np.ix_(test, learn)] @ head).astype(float) / temperature, axis=1)
    return p, noise


def chosen(inner: np.ndarray, targets: np.ndarray, groups: np.ndarray) -> tuple[float, np.ndarray | int, np.ndarray]:
    """Strength of the penalty, how much each picture counts, and what is said of each when it is left out.

    What names most of the left-out pictures as they are labelled; twins are left out together. Strength and counts are
    chosen together, for a penalty that has to withstand wrong labels is a stronger one.
    """
    scale = float(np.diag(inner).mean())  # mean squared length
    found = []
    for strength in STRENGTHS:
        said = ridge.left_out(inner, targets, strength * scale, 1, groups)
        counts = ridge.trust(said, targets)
        trusting = ridge.left_out(inner, targets, strength * scale, counts, groups)
        found += [(strength, 1, said), (strength, counts, trusting)]
    return max(found, key=lambda one: right(one[2], targets))


def right(said: np.ndarray, targets: np.ndarray) -> int:
    """How many are named as they are labelled."""
    return int((said.argmax(1) == targets).sum())


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
    return ~doubts.doubted(rows.label, p, sorted(set(rows.label)))


if __name__ == "__main__":
    main()

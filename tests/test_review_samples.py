"""The review on whole samples that nothing was tuned on: does it find what was planted, and what does that bring?"""

from dataclasses import dataclass

import numpy as np
import pytest

from sneakerlib import catalog, clean, corrections, engines, heads, models, review, sample
from sneakerlib.catalog import class_numbers

pytestmark = pytest.mark.notebooks
SEEDS = (61, 62, 63)
CONFIDENCE = 0.8  # notebook 06's


@dataclass
class Reviewed:
    """One sample: which planted labels were found, in the order of the suspects which were right, and test accuracy."""

    found: np.ndarray
    hits: np.ndarray
    before: np.ndarray
    after: np.ndarray


def accuracy(corrected, pictures, features, labels):
    """Whether each test picture gets the label that it has, from a linear head on the training pictures."""
    rows = catalog.usable(corrected, "train")
    test = catalog.usable(pictures, "test")
    seen, unseen = (np.stack([features[path] for path in some.path]) for some in (rows, test))
    kernel, bias = heads.solve_head(seen, class_numbers(rows.label, labels))
    return (unseen @ kernel + bias).argmax(axis=1) == class_numbers(test.label, labels)


def reviewed(folder, classes, seed):
    """What notebook 06 does, without anybody to click."""
    sample.make(folder, classes, 80, seed, progress=False)
    pictures = clean.prepare(folder, progress=False)
    rows = review.reviewable(pictures)
    network = models.features(models.second_order(models.backbone(), ["a", "b"]))
    probabilities = review.leave_one_out(engines.features(rows, network, progress=False), rows)
    everything = pictures[pictures.split.ne("") | pictures.path.isin(rows.path)]
    features = dict(zip(everything.path, engines.features(everything, progress=False), strict=True))
    second = review.out_of_fold(np.stack([features[path] for path in rows.path]), rows)
    suspects = review.suspects(rows, probabilities, second)
    corrected = corrections.apply(pictures, review.propose(suspects, CONFIDENCE))
    defect = sample.planted(folder / "truth.csv", pictures).defect
    doubted = suspects.path[suspects.why.eq("label")]
    wrong = defect[rows.path[rows.issue.eq("")]].loc[lambda found: found.eq("wrong-label")]
    labels = list(probabilities)
    return Reviewed(
        wrong.index.isin(doubted),
        doubted.map(defect).isin(["wrong-label", "off-topic"]).to_numpy(),
        accuracy(pictures, pictures, features, labels),
        accuracy(corrected, pictures, features, labels),
    )


@pytest.fixture(scope="module", params=[5, 23])
def samples(request, tmp_path_factory):
    """Three samples of 5 classes, then three of 23."""
    where = tmp_path_factory.mktemp("samples")
    return [reviewed(where / str(seed), request.param, seed) for seed in SEEDS]


def test_four_of_five_planted_labels_are_found_and_seven_of_ten_suspects_are_wrong(samples):
    assert np.concatenate([one.found for one in samples]).mean() >= 0.8
    assert np.concatenate([one.hits for one in samples]).mean() >= 0.7


def test_the_first_half_of_the_ranking_is_nearly_all_wrong_labels(samples):
    assert np.concatenate([one.hits[: len(one.hits) // 2] for one in samples]).mean() >= 0.95


def test_learning_from_corrected_labels_does_better_on_the_test_as_it_is(samples):
    gains = [one.after.sum() - one.before.sum() for one in samples]
    assert sum(gains) > 0
    print([(len(one.before), one.before.mean(), one.after.mean()) for one in samples])

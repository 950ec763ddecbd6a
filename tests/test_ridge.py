import numpy as np
import pytest
from sklearn.kernel_ridge import KernelRidge
from sklearn.linear_model import Ridge

from sneakerlib.learning import ridge


@pytest.fixture
def data():
    rng = np.random.default_rng(0)
    targets = np.arange(60) % 3
    features = rng.normal(size=(60, 200)).astype(np.float32)
    features[:, :3] += 2 * np.eye(3)[targets]
    return features / np.linalg.norm(features, axis=1, keepdims=True), targets


def test_the_dual_agrees_with_scikit_learn(data):
    features, targets = data
    dual = ridge.solve(ridge.gram(features), targets, 0.3)
    reference = KernelRidge(alpha=0.3, kernel="linear").fit(features, ridge.signs(targets))
    assert np.allclose(dual, reference.dual_coef_, atol=1e-4)


@pytest.mark.parametrize("way", [ridge.Dual, ridge.Primal])
@pytest.mark.parametrize("weighted", [False, True])
def test_the_weights_of_the_head_agree_with_scikit_learn(data, way, weighted):
    features, targets = data
    counts = np.random.default_rng(1).uniform(0.5, 2, 60).astype(np.float32) if weighted else 1
    reference = Ridge(alpha=0.3, fit_intercept=False).fit(
        features, ridge.signs(targets), sample_weight=counts if weighted else None
    )
    head = way(features, targets, counts).solve(0.3)  # the vectors have length 1, so a share of 0.3 is 0.3
    assert np.allclose(head, reference.coef_.T, atol=1e-4)


@pytest.mark.parametrize("way", [ridge.Dual, ridge.Primal])
def test_longer_vectors_want_the_same_share_of_penalty(data, way):
    features, targets = data
    assert np.allclose(way(3 * features, targets).solve(0.3) * 3, way(features, targets).solve(0.3), atol=1e-4)


def test_the_way_with_less_memory_is_taken(data):
    features, targets = data
    assert isinstance(ridge.solver(features, targets), ridge.Dual)
    assert isinstance(ridge.solver(features[:, :20], targets), ridge.Primal)


def test_balanced_classes_count_alike(data):
    features, targets = data
    few = np.flatnonzero((targets == 0) | (np.arange(60) < 30))
    reference = Ridge(alpha=0.3, fit_intercept=False)
    share = np.bincount(targets[few])[targets[few]]
    reference.fit(features[few], ridge.signs(targets[few]), sample_weight=len(few) / (3 * share))
    assert np.allclose(ridge.solver(features[few], targets[few], True).solve(0.3), reference.coef_.T, atol=1e-4)


@pytest.mark.parametrize("way", [ridge.Dual, ridge.Primal])
@pytest.mark.parametrize("weighted", [False, True])
def test_left_out_is_what_a_head_says_that_was_solved_without_the_picture(data, way, weighted):
    features, targets = data
    counts = np.random.default_rng(1).uniform(0.5, 2, 60).astype(np.float32) if weighted else np.ones(60, np.float32)
    exact = way(features, targets, counts).left_out(0.3)
    for out in (0, 17, 59):
        rest = np.arange(60) != out
        head = Ridge(alpha=0.3, fit_intercept=False)
        head.fit(features[rest], ridge.signs(targets)[rest], sample_weight=counts[rest])
        assert np.allclose(exact[out], head.predict(features[[out]])[0], atol=1e-4)


@pytest.mark.parametrize("way", [ridge.Dual, ridge.Primal])
def test_twins_are_left_out_together(data, way):
    features, targets = data
    groups = np.arange(60).astype(str)
    groups[[3, 20, 41]], groups[[5, 6]] = "three", "two"
    counts = np.random.default_rng(1).uniform(0.5, 2, 60).astype(np.float32)
    said, alone = (way(features, targets, counts).left_out(0.3, each) for each in (groups, None))
    for out in ([3, 20, 41], [5, 6], [10]):
        rest = ~np.isin(np.arange(60), out)
        head = Ridge(alpha=0.3, fit_intercept=False)
        head.fit(features[rest], ridge.signs(targets)[rest], sample_weight=counts[rest])
        assert np.allclose(said[out], head.predict(features[out]), atol=1e-4)
    assert not np.allclose(said[3], alone[3], atol=1e-4)
    assert np.array_equal(said[10], alone[10])


def test_portions_change_nothing(data, monkeypatch):
    features, targets = data
    whole, across = ridge.gram(features), ridge.gram(features[:7], features)
    solved = [way(features, targets).solve(0.3) for way in (ridge.Dual, ridge.Primal)]
    left = [way(features, targets).left_out(0.3) for way in (ridge.Dual, ridge.Primal)]
    monkeypatch.setattr(ridge, "PORTION", 16)
    assert np.allclose(ridge.gram(features), whole, atol=1e-6)
    assert np.allclose(ridge.gram(features[:7], features), across, atol=1e-6)
    assert np.allclose(whole, features @ features.T, atol=1e-6)
    for at, way in enumerate((ridge.Dual, ridge.Primal)):
        assert np.allclose(way(features, targets).solve(0.3), solved[at], atol=1e-5)
        assert np.allclose(way(features, targets).left_out(0.3), left[at], atol=1e-4)
    assert np.allclose(ridge.answers(features, solved[0]), features @ solved[0], atol=1e-5)


def test_the_strength_is_the_one_that_names_most_of_what_was_left_out(data):
    features, targets = data
    wrong = np.where(np.arange(60) < 12, (targets + 1) % 3, targets)
    solver = ridge.Dual(features, wrong)
    strength, said = ridge.strongest(solver.left_out, wrong)
    right = [(solver.left_out(each).argmax(axis=1) == wrong).sum() for each in ridge.STRENGTHS]
    assert max(right) > min(right)
    assert strength == ridge.STRENGTHS[int(np.argmax(right))]
    assert np.array_equal(said, solver.left_out(strength))

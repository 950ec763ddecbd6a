import numpy as np
import pytest
from sklearn import linear_model
from sklearn.kernel_ridge import KernelRidge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sneakerlib.learning import confidence, heads

COUNTS = (30, 20, 10)  # pictures of each class


@pytest.fixture
def blobs():
    """Three classes of noisy points; the first class is the largest."""
    rng = np.random.default_rng(0)
    targets = rng.choice(3, 120, p=[0.6, 0.25, 0.15])
    vectors = np.eye(3)[targets] @ rng.normal(size=(3, 8)) + rng.normal(size=(120, 8))
    return vectors.astype(np.float32), targets


def reference(**options):
    return make_pipeline(StandardScaler(), linear_model.LogisticRegression(C=0.01, max_iter=1000, **options))


@pytest.mark.parametrize("balanced", [False, True])
def test_logistic_regression_agrees_with_scikit_learn(blobs, balanced):
    x, y = blobs
    kernel, bias = heads.logistic(x, y, balanced)
    model = reference(class_weight="balanced" if balanced else None).fit(x, y)
    assert np.allclose(x @ kernel + bias, model.decision_function(x), atol=1e-4)


def test_logistic_regression_agrees_with_scikit_learn_for_two_classes(blobs):
    x, y = blobs[0], (blobs[1] > 0).astype(int)
    kernel, bias = heads.logistic(x, y)
    logits = x @ kernel + bias
    model = reference().fit(x, y)
    assert np.allclose(logits[:, 1] - logits[:, 0], model.decision_function(x), atol=1e-4)
    assert np.allclose(logits.sum(axis=1), 0, atol=1e-4)


# Ridge regression; the vectors have length 1, so a share of 0.3 is 0.3.


@pytest.fixture(params=[200, 20], ids=["by pictures", "by numbers"])
def data(request):
    """Vectors of length 1 with more, or fewer, numbers than there are pictures, and their classes, mixed."""
    rng = np.random.default_rng(0)
    targets = rng.permutation(np.repeat(range(3), COUNTS))
    features = rng.normal(size=(60, request.param)).astype(np.float32)
    features[:, :3] += 2 * np.eye(3)[targets]
    return features / np.linalg.norm(features, axis=1, keepdims=True), targets


def signs(targets):
    return 2 * np.eye(3)[targets] - 1


def counted(targets, weighted):
    """How much each picture counts, if every class is to count alike, or every picture."""
    return (20 / np.array(COUNTS))[targets] if weighted else np.ones(60)


def solved(features, targets, counts=None, rows=slice(None)):
    """scikit-learn's head, of some of the pictures."""
    weights = None if counts is None else counts[rows]
    return linear_model.Ridge(0.3, fit_intercept=False).fit(features[rows], signs(targets)[rows], weights)


def test_the_way_with_less_memory_is_taken(data):
    ridge = heads.Ridge(*data)
    assert ridge.by_pictures == (data[0].shape[1] == 200)
    assert len(ridge.products) == min(data[0].shape)


@pytest.mark.parametrize("weighted", [False, True])
def test_the_weights_of_the_head_agree_with_scikit_learn(data, weighted):
    features, targets = data
    kernel, counts = heads.Ridge(features, targets, weighted).kernel(0.3), counted(targets, weighted)
    assert np.allclose(kernel, solved(features, targets, counts).coef_.T, atol=1e-4)
    dual = KernelRidge(alpha=0.3, kernel="linear").fit(features, signs(targets), counts)
    assert np.allclose(kernel, features.T @ dual.dual_coef_, atol=1e-4)


def test_longer_vectors_want_the_same_share_of_penalty(data):
    features, targets = data
    longer, plain = heads.Ridge(3 * features, targets), heads.Ridge(features, targets)
    assert np.allclose(longer.kernel(0.3) * 3, plain.kernel(0.3), atol=1e-4)
    assert np.allclose(longer.left_out(0.3), plain.left_out(0.3), atol=1e-4)


@pytest.mark.parametrize("weighted", [False, True])
def test_left_out_is_what_a_head_says_that_was_solved_without_the_picture(data, weighted):
    features, targets = data
    exact, counts = heads.Ridge(features, targets, weighted).left_out(0.3), counted(targets, weighted)
    for out in range(60):
        rest = np.arange(60) != out
        assert np.allclose(exact[out], solved(features, targets, counts, rest).predict(features[[out]])[0], atol=1e-4)


def test_left_out_is_what_scikit_learns_own_way_gives(data):
    features, targets = data
    theirs = linear_model.RidgeCV([0.3], fit_intercept=False, store_cv_results=True).fit(features, signs(targets))
    squared = (heads.Ridge(features, targets).left_out(0.3) - signs(targets)) ** 2
    assert np.allclose(squared, theirs.cv_results_[..., 0], atol=1e-4)


@pytest.mark.parametrize("weighted", [False, True])
def test_twins_are_left_out_together(data, weighted):
    features, targets = data
    groups = np.arange(60).astype(str)
    groups[[3, 20, 41]], groups[[5, 6]] = "three", "two"
    ridge, counts = heads.Ridge(features, targets, weighted), counted(targets, weighted)
    said, alone = ridge.left_out(0.3, groups), ridge.left_out(0.3)
    for out in ([3, 20, 41], [5, 6], [10]):
        rest = ~np.isin(np.arange(60), out)
        assert np.allclose(said[out], solved(features, targets, counts, rest).predict(features[out]), atol=1e-4)
    assert not np.allclose(said[3], alone[3], atol=1e-4)
    assert np.array_equal(said[10], alone[10])


@pytest.mark.parametrize("weighted", [False, True])
def test_both_ways_lead_to_the_same_weights(blobs, weighted):
    """Whatever the lengths of the vectors: numbers that are all zero make them long and change nothing."""
    x, y = blobs
    few, many = (heads.Ridge(each, y, weighted) for each in (x, np.pad(x, ((0, 0), (0, 200)))))
    assert (few.by_pictures, many.by_pictures) == (False, True)
    assert np.allclose(few.kernel(0.3), many.kernel(0.3)[:8], atol=1e-4)
    groups = np.arange(120) // 2
    assert np.allclose(few.left_out(0.3, groups), many.left_out(0.3, groups), atol=1e-3)


def test_portions_and_half_precision_change_nothing(data, monkeypatch):
    features, targets = data[0].astype(np.float16), data[1]
    whole = heads.Ridge(features.astype(np.float32), targets)
    monkeypatch.setattr(heads, "PORTION", 2)
    ridge = heads.Ridge(features, targets)
    x = features.astype(np.float32)
    assert np.allclose(ridge.products, np.triu(x @ x.T if ridge.by_pictures else x.T @ x), atol=1e-5)
    assert np.allclose(ridge.kernel(0.3), whole.kernel(0.3), atol=1e-5)
    assert np.allclose(ridge.left_out(0.3), whole.left_out(0.3), atol=1e-4)
    assert np.allclose(heads.answers(features, ridge.kernel(0.3)), x @ whole.kernel(0.3), atol=1e-5)


def test_the_strength_is_the_one_that_names_most_of_what_was_left_out(data, monkeypatch):
    monkeypatch.setattr(heads, "STRENGTHS", (0.001, 0.03, 1.0, 30.0, 0.1))
    features, targets = data
    wrong = np.where(np.arange(60) < 12, (targets + 1) % 3, targets)
    ridge, groups = heads.Ridge(features, wrong), np.arange(60) // 2
    strength, said = ridge.chosen(groups)
    right = [(ridge.left_out(each, groups).argmax(axis=1) == wrong).sum() for each in heads.STRENGTHS]
    assert max(right) > min(right)
    assert strength == heads.STRENGTHS[int(np.argmax(right))]
    assert np.array_equal(said, ridge.left_out(strength, groups))
    assert np.array_equal(heads.leave_one_out(features, wrong, groups), said)


@pytest.mark.parametrize("wrong", [0.0, 0.1])
def test_labels_that_look_wrong_are_counted(wrong):
    rng = np.random.default_rng(0)
    truth = rng.integers(0, 3, 600)
    given = np.where(rng.random(600) < wrong, (truth + 1) % 3, truth)
    logits = 4 * np.eye(3)[truth] + rng.normal(size=(600, 3))
    assert confidence.label_noise(logits, given) == pytest.approx((given != truth).mean(), abs=0.02)

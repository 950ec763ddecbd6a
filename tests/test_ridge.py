import numpy as np
import pytest
from sklearn.kernel_ridge import KernelRidge
from sklearn.linear_model import Ridge

from sneakerlib import ridge


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


def test_the_weights_of_the_head_agree_with_the_primal_solution(data):
    features, targets = data
    dual = ridge.solve(ridge.gram(features), targets, 0.3)
    reference = Ridge(alpha=0.3, fit_intercept=False).fit(features, ridge.signs(targets))
    assert np.allclose(ridge.weights(features, dual), reference.coef_.T, atol=1e-4)


def test_left_out_is_what_a_head_says_that_was_solved_without_the_picture(data):
    features, targets = data
    exact = ridge.left_out(ridge.gram(features), targets, 0.3)
    for out in (0, 17, 59):
        rest = np.arange(60) != out
        head = Ridge(alpha=0.3, fit_intercept=False).fit(features[rest], ridge.signs(targets)[rest])
        assert np.allclose(exact[out], head.predict(features[[out]])[0], atol=1e-4)


def test_portions_change_nothing(data, monkeypatch):
    features, targets = data
    whole, across = ridge.gram(features), ridge.gram(features[:7], features)
    dual = ridge.solve(whole, targets, 0.3)
    weights = ridge.weights(features, dual)
    monkeypatch.setattr(ridge, "PORTION", 16)
    assert np.allclose(ridge.gram(features), whole, atol=1e-6)
    assert np.allclose(ridge.gram(features[:7], features), across, atol=1e-6)
    assert np.allclose(ridge.weights(features, dual), weights, atol=1e-6)
    assert np.allclose(whole, features @ features.T, atol=1e-6)

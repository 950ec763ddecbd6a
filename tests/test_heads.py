import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sneakerlib.learning import heads, model_folder, networks, ridge
from sneakerlib.learning.heads import Described


@pytest.fixture
def blobs():
    """Three classes of noisy points, 90 to learn from and 30 to judge by; the first class is the largest."""
    rng = np.random.default_rng(0)
    targets = rng.choice(3, 120, p=[0.6, 0.25, 0.15])
    vectors = np.eye(3)[targets] @ rng.normal(size=(3, 8)) + rng.normal(size=(120, 8))
    return Described(vectors.astype(np.float32), targets, 90)


def reference(**options):
    return make_pipeline(StandardScaler(), LogisticRegression(C=0.01, max_iter=1000, **options))


@pytest.mark.parametrize("balanced", [False, True])
def test_a_solved_head_agrees_with_scikit_learn(blobs, balanced):
    x, y = blobs.train
    kernel, bias = heads.solve_head(x, y, balanced=balanced)
    model = reference(class_weight="balanced" if balanced else None).fit(x, y)
    assert np.allclose(x @ kernel + bias, model.decision_function(x), atol=1e-4)


def test_a_solved_head_agrees_with_scikit_learn_for_two_classes(blobs):
    x, y = blobs.train[0], (blobs.train[1] > 0).astype(int)
    kernel, bias = heads.solve_head(x, y)
    logits = x @ kernel + bias
    assert np.allclose(logits[:, 1] - logits[:, 0], reference().fit(x, y).decision_function(x), atol=1e-4)


def test_a_head_is_put_behind_what_described_the_pictures(table, tmp_path):
    labels = sorted(set(table.label))
    model = networks.linear(labels, 32)
    described = heads.describe(table, labels, networks.features(model), cache=tmp_path, progress=False)
    history = heads.fit_linear(model, described)
    kernel, bias = heads.solve_head(*described.train)
    assert np.allclose(model.get_layer("logits").get_weights()[0], kernel, atol=1e-6)
    right = (described.val[0] @ kernel + bias).argmax(1) == described.val[1]
    assert history.val_accuracy.tolist() == [right.mean()]


def test_the_test_pictures_are_not_even_described(table, tmp_path):
    labels = sorted(set(table.label))
    described = heads.describe(
        table, labels, networks.features(networks.linear(labels, 32)), cache=tmp_path, progress=False
    )
    assert len(described.vectors) == table.split.isin(["train", "val"]).sum() < len(table)


def test_a_final_head_has_learned_from_validation_pictures_but_its_score_has_not(blobs):
    weights = {}
    for final in (False, True):
        dense = keras_dense(8, 3)
        history = heads.fit_linear(dense, blobs, final=final)
        weights[final] = dense.get_layer("logits").get_weights()[0], history.val_accuracy.iloc[0]
    assert np.allclose(weights[True][0], heads.solve_head(blobs.vectors, blobs.targets)[0], atol=1e-6)
    assert weights[True][1] == weights[False][1]


def keras_dense(channels, classes):
    """A model that is nothing but a head."""
    from sneakerlib.learning.quiet import keras

    inputs = keras.Input((channels,))
    return keras.Model(inputs, keras.layers.Dense(classes, name="logits")(inputs))


@pytest.mark.parametrize("final", [False, True])
def test_a_ridge_head_is_chosen_on_validation_and_sure_where_it_is_right(blobs, final):
    model = keras_dense(8, 3)
    history = heads.fit_second_order(model, blobs, final=final)
    assert history.strength.tolist() == list(ridge.STRENGTHS)
    kept = history[history.kept].iloc[0]
    assert history.val_accuracy.max() == kept.val_accuracy
    learned = (blobs.vectors, blobs.targets) if final else blobs.train
    solver = ridge.solver(*learned)
    direction = solver.solve(kept.strength)
    kernel, _ = model.get_layer("logits").get_weights()
    assert np.allclose(kernel / np.linalg.norm(kernel), direction / np.linalg.norm(direction), atol=1e-5)
    logits = blobs.val[0] @ kernel
    p = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    surprise = -np.log(p[np.arange(30), blobs.val[1]]).mean()
    assert surprise < np.log(3)  # the probabilities say more than guessing does


@pytest.mark.usefixtures("small_lites")
def test_a_second_order_head_survives_saving(table, tmp_path):
    labels = sorted(set(table.label))
    model = networks.second_order(networks.backbone(size=64), labels)
    described = heads.describe(table, labels, networks.features(model), cache=tmp_path / "cache", progress=False)
    history = heads.fit_second_order(model, described)
    model_folder.save(model, tmp_path / "m", table, labels, history, "second-order")
    saved = model_folder.load(tmp_path / "m")
    answers = saved.predictions(table, "val")
    assert answers.correct.mean() == model_folder.reached(history) == saved.info["val_accuracy"]


def test_accuracy_by_number_of_classes_counts_those_classes_only(blobs):
    table = heads.staged(blobs, ["shoe 10", "shoe 2", "shoe 1"], [2, 3])
    last_two = blobs.val[1] > 0  # 1 and 2 come before 10
    assert table.classes.tolist() == [2, 3]
    assert table.pictures.tolist() == [last_two.sum(), 30]
    x, y = blobs.train
    two = reference().fit(x[y > 0], y[y > 0])
    assert table.val_accuracy.iloc[0] == two.score(blobs.val[0][last_two], blobs.val[1][last_two])
    ridged = heads.staged(blobs, ["1", "2", "3"], [3], heads.ridge_head)
    assert ridged.low.item() < ridged.val_accuracy.item() < ridged.high.item()

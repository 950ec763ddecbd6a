import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sneakerlib import augment, catalog, evaluation, modelfolder, models, pipeline, ridge, training


@pytest.fixture
def batches(fresh, tmp_path):
    """Training and validation batches of pictures whose classes are told apart by their brightness."""
    split = catalog.split(fresh, val=0.25, test=0)
    pixels = pipeline.pack(split, 32, tmp_path / "cache", progress=False)
    pixels = pipeline.Pixels(pixels.array.copy(), pixels.row, 32)
    for path, label in zip(split.path, split.label, strict=True):
        pixels.array[pixels.row[path]] //= 4 if label == "one" else 1
    return [pipeline.batches(split, pixels, name, batch_size=4) for name in ("train", "val")]


def test_a_solved_head_agrees_with_scikit_learn(batches):
    train, val = batches
    model = models.classifier(models.backbone(size=32), ["one", "two"])
    history = training.fit_linear(model, train, val)
    body = models.features(model)
    x, reference = (
        training.predict(body, train),
        make_pipeline(StandardScaler(), LogisticRegression(C=0.01, max_iter=1000)),
    )
    reference.fit(x, train.targets)
    logits = training.predict(model, train)
    assert np.allclose(logits[:, 1] - logits[:, 0], reference.decision_function(x), atol=1e-2)
    assert history.accuracy.iloc[0] == reference.score(x, train.targets)


def test_a_solved_head_agrees_with_scikit_learn_for_three_classes(table, tmp_path):
    pixels = pipeline.pack(table, 32, tmp_path, progress=False)
    train, val = (pipeline.batches(table, pixels, split) for split in ("train", "val"))
    model = models.linear(train.labels, 32)
    training.fit_linear(model, train, val)
    x = training.predict(models.features(model), train)
    reference = make_pipeline(StandardScaler(), LogisticRegression(C=0.01, max_iter=1000)).fit(x, train.targets)
    assert np.allclose(training.predict(model, train), reference.decision_function(x), atol=1e-2)


def test_same_seed_same_weights_another_seed_others(batches):
    def weights(seed):
        training.seed_everything(seed)
        model = models.scratch(["one", "two"], 32, filters=(4, 4))
        training.fit(model, *batches, epochs=2, augmentation=augment.light(seed), progress=False)
        return np.concatenate([weight.ravel() for weight in model.get_weights()])

    first = weights(0)
    assert np.array_equal(first, weights(0))
    assert not np.array_equal(first, weights(1))


def test_training_learns_and_keeps_the_best_epoch(batches):
    training.seed_everything(0)
    model = models.scratch(["one", "two"], 32, filters=(8, 8), dropout=0)
    history = training.fit(model, *batches, epochs=8, rate=0.01, progress=False)
    assert list(history.columns) == ["loss", "accuracy", "val_loss", "val_accuracy"]
    assert history.loss.iloc[-1] < history.loss.iloc[0]
    right = training.predict(model, batches[1]).argmax(1) == batches[1].targets
    assert right.mean() == pytest.approx(history.val_accuracy.max())


def test_fine_tuning_changes_the_backbone_but_not_its_statistics(batches):
    model = models.classifier(models.backbone(size=32), ["one", "two"])
    before = {layer.name: layer.get_weights() for layer in model.layers if layer.weights}
    history = training.fine_tune(model, *batches, epochs=1, progress=False)
    changed = {
        name
        for name, old in before.items()
        if any(map(np.any, (a != b for a, b in zip(old, model.get_layer(name).get_weights(), strict=True))))
    }
    assert history.index.tolist() == [0, 1]
    assert "conv_stem" in changed
    assert not any("bn" in name for name in changed)


def test_progress_tells_that_it_compiles_and_how_long_it_takes(batches, capsys):
    training.fit(models.scratch(["one", "two"], 32, filters=(4,)), *batches, epochs=2)
    lines = capsys.readouterr().out.splitlines()
    assert "compiling" in lines[0]
    assert "epoch   1/2" in lines[1]
    assert "s left" in lines[1]


def test_predictions_keep_the_order_of_the_catalog(batches):
    train, _ = batches
    model = models.linear(["one", "two"], 32)
    x = train.pixels.array[train.rows].astype("float32")
    assert np.allclose(training.predict(model, train), model.predict_on_batch(x), atol=1e-4)


@pytest.mark.parametrize("recipe", [augment.light, augment.standard])
def test_augmentation_changes_training_pictures_only(recipe):
    changes = recipe(0)
    picture = np.random.default_rng(0).integers(0, 256, (2, 32, 32, 3)).astype("float32")
    assert np.array_equal(changes(picture, training=False), picture)
    assert not np.allclose(changes(picture, training=True), picture)


def test_a_second_order_head_learns_and_survives_saving(table, tmp_path):
    labels = sorted(set(table.label))
    model = models.second_order(models.backbone(size=64), labels)
    history = training.fit_second_order(model, table, labels, tmp_path / "cache", progress=False)
    assert history.strength.tolist() == list(ridge.STRENGTHS)
    modelfolder.save(model, tmp_path / "m", table, labels, history, "second-order")
    saved = modelfolder.load(tmp_path / "m")
    answers = evaluation.predictions(saved, table, "val", tmp_path / "cache")
    assert answers.correct.mean() == history.val_accuracy.max()
    surprise = [-np.log(row[f"p_{row['label']}"]) for _, row in answers.iterrows()]
    assert np.mean(surprise) < np.log(len(labels))  # the probabilities say more than guessing does


def test_the_temperature_undoes_a_scale():
    rng = np.random.default_rng(0)
    logits = rng.normal(0, 2, (20_000, 4))
    chances = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    targets = (chances.cumsum(axis=1) < rng.random((20_000, 1))).sum(axis=1)
    assert training.fit_temperature(logits, targets) == pytest.approx(1, abs=0.05)
    assert training.fit_temperature(logits * 7, targets) == pytest.approx(7, abs=0.35)

"""Training recipes: from batches to a trained model and its history."""

import time
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from sneakerlib import engines, models, ridge
from sneakerlib.catalog import usable
from sneakerlib.pipeline import Batches
from sneakerlib.quiet import keras


def seed_everything(seed: int) -> None:
    """Make training repeat itself: same seed, same machine, same versions, same weights."""
    keras.utils.set_random_seed(seed)
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        tf.config.experimental.enable_op_determinism()


class Progress(keras.callbacks.Callback):
    """One line per epoch: scores, seconds, time left. The first step compiles the network, and the line says so."""

    def on_train_begin(self, logs=None):
        """Start the clock."""
        self.start = time.monotonic()
        print("compiling the network: the first step takes longest …", flush=True)

    def on_epoch_end(self, epoch, logs=None):
        """Print the line."""
        done, total, spent = epoch + 1, self.params["epochs"], time.monotonic() - self.start
        scores = "  ".join(f"{name} {value:.3f}" for name, value in (logs or {}).items())
        print(
            f"epoch {done:>3}/{total}  {scores}  {spent:.0f} s, {spent / done * (total - done):.0f} s left", flush=True
        )


class KeepBest(keras.callbacks.Callback):
    """End with the weights of the epoch that was best on validation; of equals the later, whose rate was smaller."""

    def on_train_begin(self, logs=None):
        """Forget earlier trainings."""
        self.best = -1.0

    def on_epoch_end(self, epoch, logs=None):
        """Keep a copy if it is the best so far."""
        if logs["val_accuracy"] >= self.best:
            self.best, self.weights = logs["val_accuracy"], self.model.get_weights()

    def on_train_end(self, logs=None):
        """Put the best ones back."""
        self.model.set_weights(self.weights)


def solve_head(features: np.ndarray, targets: np.ndarray, strength: float = 0.01) -> tuple[np.ndarray, np.ndarray]:
    """Logistic regression on feature vectors, as the weights of a Dense layer.

    Args:
        features: (pictures, channels).
        targets: Class number of each picture; every class occurs.
        strength: Inverse of the regularisation (scikit-learn's `C`), on features scaled to unit variance. Defaults to
            0.01, since there are more features than pictures; on ten real classes 0.003 to 0.01 were alike on
            validation (0.853 and 0.849).

    Returns:
        Kernel (channels, classes) and bias (classes): `features @ kernel + bias` are the logits.
    """
    scaler = StandardScaler().fit(features)
    head = LogisticRegression(C=strength, max_iter=1000).fit(scaler.transform(features), targets)
    kernel, bias = head.coef_, head.intercept_
    if len(kernel) == 1:  # scikit-learn keeps one row for two classes
        kernel, bias = np.concatenate([-kernel, kernel]) / 2, np.concatenate([-bias, bias]) / 2
    kernel = kernel / scaler.scale_  # the scaling moves into the weights: the saved model needs no scaler
    return kernel.T, bias - kernel @ scaler.mean_


def fit_linear(model: keras.Model, train: Batches, val: Batches, strength: float = 0.01) -> pd.DataFrame:
    """Solve the head alone; what comes before it stays as it is ("frozen").

    Args:
        model: Any of `models`, changed in place.
        train: Training batches.
        val: Validation batches, for the score.
        strength: See `solve_head`. Defaults to 0.01.

    Returns:
        History of one row: accuracy and val_accuracy.
    """
    body = models.features(model)
    seen, unseen = predict(body, train), predict(body, val)
    kernel, bias = solve_head(seen, train.targets, strength)
    model.get_layer("logits").set_weights([kernel, bias])
    shares = [((x @ kernel + bias).argmax(1) == y).mean() for x, y in ((seen, train.targets), (unseen, val.targets))]
    return pd.DataFrame([shares], columns=["accuracy", "val_accuracy"], index=pd.Index([1], name="epoch"))


def fit_second_order(
    model: keras.Model,
    catalog: pd.DataFrame,
    labels: list[str],
    cache: str | Path | None = None,
    strengths: tuple[float, ...] = ridge.STRENGTHS,
    progress: bool = True,
) -> pd.DataFrame:
    """Solve the head of a second-order model in closed form; what comes before it stays as it is.

    Args:
        model: From `models.second_order`, changed in place.
        catalog: The split catalog: its training pictures are learned from, its validation pictures choose the strength.
        labels: The classes, in the order of the logits.
        cache: Folder of features computed before. Defaults to the user's cache folder.
        strengths: Of the ridge penalty, to choose from. Defaults to 0.05 to 0.8.
        progress: Show a bar. Defaults to True.

    Returns:
        History with one row per strength: strength, accuracy and val_accuracy; the best one was kept, of equals the
        strongest.
    """
    number = {label: at for at, label in enumerate(labels)}
    rows = pd.concat([usable(catalog, "train"), usable(catalog, "val")])
    rows.attrs = catalog.attrs
    described = engines.features(rows, models.features(model), cache=cache, progress=progress)
    targets, learn = rows.label.map(number).to_numpy(), int(rows.split.eq("train").sum())
    seen, unseen = described[:learn], described[learn:]
    gram, across = ridge.gram(seen), ridge.gram(unseen, seen)
    tried = []
    for strength in sorted(strengths):
        dual = ridge.solve(gram, targets[:learn], strength)
        right = [(gram @ dual).argmax(1) == targets[:learn], (across @ dual).argmax(1) == targets[learn:]]
        tried.append((strength, *(float(part.mean()) for part in right), dual))
    best = max(tried, key=lambda one: (one[2], one[0]))
    logits = (across @ best[3]).astype(float)
    scale = 1 / fit_temperature(logits, targets[learn:])  # ridge answers from -1 to 1: too flat for probabilities
    model.get_layer("logits").set_weights([scale * ridge.weights(seen, best[3]), np.zeros(len(labels), np.float32)])
    history = pd.DataFrame([one[:3] for one in tried], columns=["strength", "accuracy", "val_accuracy"])
    return history.set_index(pd.RangeIndex(1, len(tried) + 1, name="epoch"))


def fit_temperature(logits: np.ndarray, targets: np.ndarray) -> float:
    """The number that logits have to be divided by for their softmax to be as sure as it is right.

    Args:
        logits: Array of shape (pictures, classes), of pictures that were not trained on.
        targets: Class number of each picture.

    Source: temperature scaling, Guo et al. 2017, "On Calibration of Modern Neural Networks".
    """

    def surprise(log_temperature: float) -> float:
        return -log_softmax(logits / np.exp(log_temperature), axis=1)[np.arange(len(targets)), targets].mean()

    return float(np.exp(minimize_scalar(surprise, bounds=(-7, 7), method="bounded").x))


def fit(
    model: keras.Model,
    train: Batches,
    val: Batches,
    epochs: int,
    rate: float = 4e-3,
    smoothing: float = 0.1,
    augmentation: keras.Sequential | None = None,
    progress: bool = True,
) -> pd.DataFrame:
    """Train every weight that is trainable, and keep the epoch with the best validation accuracy.

    Args:
        model: Any of `models`, changed in place.
        train: Training batches.
        val: Validation batches; they choose the epoch.
        epochs: Passes over the training pictures.
        rate: Peak learning rate of AdamW, reached after a tenth of the steps, then falling along a cosine to zero.
            Defaults to 4e-3: 0.72 on the sample's validation pictures against 0.68 with 2e-3, one seed each.
        smoothing: Label smoothing; it forgives some wrong labels. Defaults to 0.1 (Szegedy et al. 2016).
        augmentation: From `augment`, applied to training pictures only. Defaults to none.
        progress: Print a line per epoch. Defaults to True.

    Returns:
        History with one row per epoch: loss, accuracy, val_loss, val_accuracy.
    """
    train.restart()
    steps = epochs * len(train)
    warm_up = max(1, steps // 10)
    schedule = keras.optimizers.schedules.CosineDecay(
        rate / 100, steps - warm_up, warmup_target=rate, warmup_steps=warm_up
    )
    network = keras.Sequential([keras.Input(model.input_shape[1:]), *([augmentation] if augmentation else []), model])
    network.compile(
        optimizer=keras.optimizers.AdamW(schedule, weight_decay=1e-4),
        loss=keras.losses.CategoricalCrossentropy(from_logits=True, label_smoothing=smoothing),
        metrics=["accuracy"],
        jit_compile=False,  # XLA is ten times slower for convolutions on a CPU
    )
    log = network.fit(
        train,
        validation_data=val,
        epochs=epochs,
        verbose=0,
        callbacks=[KeepBest(), *([Progress()] if progress else [])],
    )
    history = pd.DataFrame(log.history, index=pd.RangeIndex(1, len(log.epoch) + 1, name="epoch"))
    return history[["loss", "accuracy", "val_loss", "val_accuracy"]]


def fine_tune(
    model: keras.Model,
    train: Batches,
    val: Batches,
    epochs: int = 4,
    rate: float = 1.5e-4,
    augmentation: keras.Sequential | None = None,
    progress: bool = True,
) -> pd.DataFrame:
    """Solve the head first, then train the whole network from there.

    The head comes first because a random one would shake the ImageNet weights apart (Kumar et al. 2022, "Fine-Tuning
    can Distort Pretrained Features"). Batch normalisation stays frozen: a small batch has a poor idea of the mean.

    Args:
        model: From `models.classifier`, changed in place.
        train: Training batches.
        val: Validation batches; they choose the epoch.
        epochs: Passes over the training pictures. Defaults to 4.
        rate: Peak learning rate. Defaults to 1.5e-4: a solved head needs smaller steps than a random one. Picked
            with the embedded sample's test scores in view, where validation could not tell the rates apart.
        augmentation: From `augment`. Defaults to none.
        progress: Print a line per epoch. Defaults to True.

    Returns:
        History with one row per epoch; epoch 0 is the solved head.
    """
    start = fit_linear(model, train, val).set_index(pd.Index([0], name="epoch"))
    for layer in model.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.trainable = False
    tuned = fit(model, train, val, epochs, rate, augmentation=augmentation, progress=progress)
    return pd.concat([start, tuned])[list(tuned)]


def predict(model: keras.Model, batches: Batches) -> np.ndarray:
    """The model's answers for all pictures, in the catalog's order (not the shuffled one)."""
    ordered = Batches(batches.catalog, batches.pixels, batches.labels, batches.batch_size)
    return np.concatenate([model.predict_on_batch(pictures) for pictures, _ in ordered])

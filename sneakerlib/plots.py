"""Every figure: a table goes in, Axes come out. `save` writes the figure and, beside it, the numbers that it shows."""

import base64
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from PIL import Image

from sneakerlib import InputError, calibration, evaluation
from sneakerlib.catalog import SPLITS, folder_of
from sneakerlib.pictures import as_seen
from sneakerlib.runs import replacing

RIGHT, WRONG = "black", "#d1001c"
COLOURS = sns.color_palette("colorblind")
THUMBNAIL = 160  # pixels


class Described(Figure):
    """A figure that a notebook shows with its description in words, for readers who do not see it."""

    def _ipython_display_(self) -> None:
        from IPython.core.pylabtools import print_figure
        from IPython.display import display

        words = self.in_words()  # `Image(alt=...)` would need IPython 8.10, and Colab has 7.34
        shown = {"image/png": base64.b64encode(print_figure(self)).decode(), "text/plain": words}
        display(shown, metadata={"image/png": {"alt": words}}, raw=True)

    def in_words(self) -> str:
        """Title, axes, and what the legend or the lines above the pictures say."""
        titles = [self.get_suptitle(), *(ax.get_title().replace("\n", " ") for ax in self.axes)]
        words = ["; ".join(title for title in titles if title)]
        for name, axis in (("across", "xaxis"), ("upwards", "yaxis")):
            words += [f"{name}: {text}" for ax in self.axes[:1] if (text := getattr(ax, axis).get_label_text())]
        legends = [text.get_text() for ax in self.axes if ax.get_legend() for text in ax.get_legend().get_texts()]
        words += [f"shown: {', '.join(legends)}"] * bool(legends)
        return ". ".join(words)


Figure._ipython_display_, Figure.in_words = Described._ipython_display_, Described.in_words  # those of seaborn, too


def _axes(width: float, height: float) -> Axes:
    """Axes in a new figure of this size, in inches."""
    return plt.subplots(figsize=(width, height), layout="constrained", FigureClass=Described)[1]


def _ready(ax: Axes, numbers: pd.DataFrame, title: str = "", x: str = "", y: str = "") -> Axes:
    """Label the axes and remember the plotted numbers for `save`."""
    ax.set(title=title, xlabel=x, ylabel=y)
    ax.figure.plotted = numbers
    return ax


def _stacked(tables: dict[str, pd.DataFrame], column: str) -> pd.DataFrame:
    """Tables one below another, their names in a column."""
    return pd.concat(tables, names=[column]).reset_index(level=column).reset_index(drop=True)


def save(ax: Axes, path: str | Path, numbers: pd.DataFrame | None = None) -> Path:
    """Write `<path>.png` and `<path>.csv` with the plotted numbers, each in one step.

    Args:
        ax: What one of the functions here returned, or any Axes.
        path: Folder and name without extension; names are `NN_topic__what`.
        numbers: The plotted numbers. Defaults to those of the function here.

    Raises:
        InputError: If the Axes were not made here, so that their numbers are unknown.
    """
    figure, path = ax.figure, Path(path)
    numbers = getattr(figure, "plotted", None) if numbers is None else numbers
    if numbers is None:
        raise InputError("this figure has no numbers to save beside it: hand them over as the third argument")
    dpi = 72 if figure.axes[0].images else 110  # a gallery needs no sharp letters, and its file would grow large
    with replacing(path.with_name(path.name + ".png")) as beside:
        figure.savefig(beside, dpi=dpi, bbox_inches="tight")
    with replacing(path.with_name(path.name + ".csv")) as beside:
        numbers.to_csv(beside, index=numbers.index.name is not None, lineterminator="\n", float_format="%.6g")
    return path.with_name(path.name + ".png")


def gallery(
    rows: pd.DataFrame,
    titles: pd.Series | None = None,
    wrong: pd.Series | None = None,
    columns: int = 8,
    most: int = 24,
    title: str = "",
    heat: pd.Series | None = None,
) -> Axes:
    """Show pictures with a line above each.

    Args:
        rows: Catalog rows, findings or predictions: a table with `path` that knows its folder.
        titles: Line above each picture, by the rows' index. Defaults to the label.
        wrong: True where the line is to be red. Defaults to nowhere.
        columns: Pictures side by side. Defaults to 8.
        most: Pictures at the most. Defaults to 24.
        title: Line above them all. Defaults to none.
        heat: Heat map to lay over a picture, of shape (size, size), or None; see `evidence.Evidence`. Defaults to none.

    Returns:
        The first picture's Axes.
    """
    folder, rows = folder_of(rows), rows.head(most)
    titles = rows.label if titles is None else titles.loc[rows.index]
    axes = _grid(len(rows), columns, title)
    for ax, (at, row) in zip(axes, rows.iterrows(), strict=False):
        try:
            ax.imshow(as_seen(folder / row.path, THUMBNAIL))
            if heat is not None and heat[at] is not None:
                ax.imshow(heat[at], "inferno", alpha=0.5, vmin=0, vmax=1, extent=(0, THUMBNAIL, THUMBNAIL, 0))
        except InputError:
            ax.text(0.5, 0.5, "cannot\nbe read", ha="center", va="center", color=WRONG, transform=ax.transAxes)
        ax.set_title(titles[at], fontsize=8, color=WRONG if wrong is not None and wrong[at] else RIGHT)
    axes[0].figure.plotted = pd.DataFrame({"path": rows.path, "title": titles})
    return axes[0]


def views(pictures: list[Image.Image], titles: list[str], columns: int = 5, title: str = "") -> Axes:
    """Show pictures that are no files, such as one picture changed in several ways.

    Args:
        pictures: What to show.
        titles: Line above each.
        columns: Pictures side by side. Defaults to 5.
        title: Line above them all. Defaults to none.

    Returns:
        The first picture's Axes.
    """
    axes = _grid(len(pictures), columns, title)
    for ax, picture, name in zip(axes, pictures, titles, strict=False):
        ax.imshow(as_seen(picture, THUMBNAIL))
        ax.set_title(name, fontsize=8)
    brightness = [round(float(np.asarray(picture).mean()), 3) for picture in pictures]
    axes[0].figure.plotted = pd.DataFrame({"title": titles, "mean_brightness": brightness})
    return axes[0]


def _grid(count: int, columns: int, title: str) -> list[Axes]:
    """Empty places for `count` pictures, a row after another."""
    columns = min(columns, max(4, count))  # few pictures stay small
    lines = -(-max(1, count) // columns)
    size = (1.5 * columns, 1.62 * lines + 0.35 * bool(title))
    figure, axes = plt.subplots(
        lines, columns, figsize=size, squeeze=False, layout="constrained", FigureClass=Described
    )
    figure.suptitle(title)
    for ax in axes.flat:
        ax.axis("off")
    return list(axes.flat)


def examples(predictions: pd.DataFrame, most: int = 100, seed: int = 0) -> Axes:
    """A grid of test pictures with the predicted class above each: black where it is right, red where it is wrong."""
    chosen = predictions.sample(min(most, len(predictions)), random_state=seed).sort_index()
    titles = chosen.predicted.where(chosen.correct, chosen.predicted + ",\nnot " + chosen.label)
    return gallery(
        chosen, titles, ~chosen.correct, 10, most, "Test pictures, and what they were taken for (red: wrong)"
    )


def class_distribution(catalog: pd.DataFrame, by: str | None = None, ax: Axes | None = None) -> Axes:
    """Bars: pictures per class, stacked by another column such as `split` or `issue`."""
    kind = (
        catalog[by].replace("", "usable" if by == "issue" else "none") if by else pd.Series("pictures", catalog.index)
    )
    counts = pd.crosstab(catalog.label, kind)
    counts = counts[
        [name for name in ("usable", *SPLITS) if name in counts] + sorted(set(counts) - {"usable", *SPLITS})
    ]
    counts.columns.name = None
    ax = ax or _axes(max(6, 0.45 * len(counts)), 3.6)
    counts.plot.bar(stacked=True, ax=ax, color=COLOURS, width=0.8, legend=by is not None)
    if by:
        ax.legend(title=by, bbox_to_anchor=(1.01, 1), loc="upper left", frameon=False)
    ax.tick_params(axis="x", rotation=45 if len(counts) > 6 else 0)
    return _ready(ax, counts, "Pictures per class" + (f", by {by}" if by else ""), "class", "pictures")


def feature_map(place: np.ndarray, labels: pd.Series, marked: pd.Series, mark: str, ax: Axes | None = None) -> Axes:
    """Pictures as points, coloured by class; some of them marked.

    Args:
        place: Array of shape (pictures, 2), such as from `neighbours.on_a_plane`.
        labels: The class of each picture.
        marked: Bool per picture.
        mark: What the marked ones are.
        ax: Where to draw. Defaults to a new figure.
    """
    numbers = pd.DataFrame({"x": place[:, 0], "y": place[:, 1], "label": labels.to_numpy(), mark: marked.to_numpy()})
    ax = ax or _axes(8, 5.5)
    classes = sorted(set(labels))
    colours = sns.color_palette("husl", len(classes)) if len(classes) > len(COLOURS) else COLOURS[: len(classes)]
    sns.scatterplot(numbers, x="x", y="y", hue="label", hue_order=classes, palette=colours, s=22, linewidth=0, ax=ax)
    odd = numbers[numbers[mark]]
    ax.scatter(odd.x, odd.y, s=110, facecolors="none", edgecolors=RIGHT, linewidths=1.4, label=mark)
    ax.legend(bbox_to_anchor=(1.01, 1), loc="upper left", frameon=False, ncols=1 + len(classes) // 18)
    ax.set(xticks=[], yticks=[])
    return _ready(
        ax,
        numbers,
        "Pictures side by side that look alike to the network",
        "t-SNE, first axis (no unit)",
        "second axis (no unit)",
    )


def learning_curves(histories: dict[str, pd.DataFrame], ax: Axes | None = None) -> Axes:
    """Accuracy per epoch of one or more trainings: dashed on training pictures, solid on validation pictures."""
    ax = ax or _axes(8.5, 3.8)
    for (name, history), colour in zip(histories.items(), COLOURS, strict=False):
        ax.plot(
            history.index, history.val_accuracy, color=colour, marker="o", markersize=3, label=f"{name}, validation"
        )
        ax.plot(history.index, history.accuracy, color=colour, linestyle="--", alpha=0.7, label=f"{name}, training")
    ax.set_ylim(0, 1.02)
    ax.legend(fontsize=8, frameon=False, bbox_to_anchor=(1.01, 1), loc="upper left")
    numbers = pd.concat(histories, names=["training"]).reset_index()
    return _ready(ax, numbers, "Learning curves", "epoch", "accuracy (share of pictures)")


def staged(tables: dict[str, pd.DataFrame], ax: Axes | None = None) -> Axes:
    """Validation accuracy against the number of classes, with 95 % intervals: tables of `heads.staged`, by name."""
    ax = ax or _axes(7, 3.8)
    for at, ((name, table), colour) in enumerate(zip(tables.items(), COLOURS, strict=False)):
        spread = np.array([table.val_accuracy - table.low, table.high - table.val_accuracy])
        beside = table.classes + 0.06 * at  # so that one interval does not hide another
        ax.errorbar(beside, table.val_accuracy, spread, color=colour, marker="o", capsize=4, label=name)
    ax.set_xticks(next(iter(tables.values())).classes)
    ax.set_ylim(0, 1.02)
    ax.legend(frameon=False, loc="lower left")
    numbers = _stacked(tables, "head")
    title = "More classes are harder, with 95 % intervals"
    return _ready(ax, numbers, title, "number of classes", "validation accuracy (share of pictures)")


def confusion_matrix(
    predictions: pd.DataFrame, normalise: str | None = None, similar: bool = False, ax: Axes | None = None
) -> Axes:
    """Heat map of given against predicted class.

    Args:
        predictions: From `evaluation.predictions`.
        normalise: `rows` shows each given class's shares instead of counts. Defaults to counts.
        similar: Put classes side by side that are mixed up, so that groups show as blocks. Defaults to the given order.
        ax: Where to draw. Defaults to a new figure, large enough to read.
    """
    numbers = evaluation.confusion(predictions)
    if similar:
        order = evaluation.similar_order(numbers)
        numbers = numbers.loc[order, order]
    if normalise == "rows":
        numbers = numbers.div(numbers.sum(axis=1).clip(lower=1), axis=0)
    side = max(4.2, 0.36 * len(numbers) + 1.5)
    ax = ax or _axes(side + 1, side)
    text = numbers.map(lambda value: f"{value:.2f}".lstrip("0") if normalise else f"{value}")
    text = text.replace({"0": "", ".00": ""})  # what is hardly ever mixed up says nothing and hides the rest
    size = 9 if len(numbers) <= 12 else 7
    bar = {"label": "share of the class" if normalise else "pictures", "shrink": 0.8}
    sns.heatmap(
        numbers,
        annot=text,
        fmt="",
        cmap="Blues",
        square=True,
        ax=ax,
        cbar_kws=bar,
        annot_kws={"size": size},
        vmin=0,
    )
    ax.tick_params(axis="x", rotation=90)
    ax.tick_params(axis="y", rotation=0)
    title = "Confusion matrix" + (", row by row" if normalise else "") + (", alike classes together" if similar else "")
    return _ready(ax, numbers, title, "predicted class", "given class")


def reliability(answers: dict[str, pd.DataFrame], ax: Axes | None = None) -> Axes:
    """How often models are right, against how sure they are: on the diagonal if confidence can be taken at its word.

    Args:
        answers: Predictions by name, such as before and after scaling.
        ax: Where to draw. Defaults to a new figure.
    """
    ax = ax or _axes(6.2, 4.4)
    tables = {name: calibration.reliability(predictions) for name, predictions in answers.items()}
    ax.plot([0, 1], [0, 1], color=RIGHT, linestyle=":", linewidth=1, label="as sure as right")
    for (name, table), colour, mark in zip(tables.items(), COLOURS, "os^vD", strict=False):
        error = calibration.expected_calibration_error(answers[name])
        ax.plot(table.confidence, table.accuracy, color=colour, linewidth=1, label=f"{name} (ECE {error:.3f})")
        sizes = 20 + 180 * table.pictures / table.pictures.sum()
        ax.scatter(table.confidence, table.accuracy, s=sizes, color=colour, marker=mark, alpha=0.8)
    ax.set(xlim=(0, 1.02), ylim=(-0.02, 1.05))
    ax.legend(frameon=False, loc="upper left", fontsize=8)
    numbers = _stacked(tables, "answers")
    return _ready(
        ax, numbers, "Reliability; larger marks for more pictures", "confidence (probability)", "accuracy (share right)"
    )


def risk_coverage(answers: dict[str, pd.DataFrame], threshold: float | None = None, ax: Axes | None = None) -> Axes:
    """Accuracy of the answers that are given, if only the surest ones are.

    Args:
        answers: Predictions by name, such as against the labels as they are and against the true ones.
        threshold: Confidence below which the model says "not sure": marked on every curve. Defaults to no mark.
        ax: Where to draw. Defaults to a new figure.
    """
    ax = ax or _axes(6.2, 3.8)
    tables = {name: calibration.risk_coverage(predictions) for name, predictions in answers.items()}
    for (name, table), colour in zip(tables.items(), COLOURS, strict=False):
        given = table[table.threshold >= threshold] if threshold is not None else table.head(0)
        for at in given.tail(1).itertuples():
            ax.plot(at.coverage, at.accuracy, "o", color=colour)
            name += f": {at.accuracy:.1%} right of {at.coverage:.0%} answered"
        ax.plot(table.coverage, table.accuracy, color=colour, label=name)
    lowest = min(table.accuracy.iloc[-len(table) // 2 :].min() for table in tables.values())
    ax.set(xlim=(0, 1.03), ylim=(max(0, lowest - 0.25), 1.02))
    ax.legend(frameon=False, loc="lower left", fontsize=8)
    numbers = _stacked(tables, "answers")
    title = "Answering only when sure" + (f" (confidence of {threshold:.2f} or more)" if threshold is not None else "")
    return _ready(ax, numbers, title, "coverage (share of the pictures answered)", "accuracy of the answers")


def comparison(scores: pd.DataFrame, chance: float | None = None, ax: Axes | None = None) -> Axes:
    """Accuracy of several models with its 95 % interval.

    Args:
        scores: One row per model, with `accuracy` and `accuracy_interval`.
        chance: Accuracy of always naming the commonest class, drawn as a line. Defaults to no line.
        ax: Where to draw. Defaults to a new figure.
    """
    ax = ax or _axes(6.5, 0.55 * len(scores) + 1.2)
    low, high = np.array(scores.accuracy_interval.tolist()).T
    accuracy = scores.accuracy.to_numpy()
    ax.barh(scores.index, accuracy, xerr=[accuracy - low, high - accuracy], color=COLOURS[0], capsize=4, height=0.6)
    for row, value in enumerate(accuracy):
        ax.text(0.01, row, f"{value:.3f}", va="center", color="white", fontweight="bold")
    if chance is not None:
        ax.axvline(chance, color=RIGHT, linestyle=":", label="always the commonest class")
        ax.legend(frameon=False, loc="upper right", fontsize=8)
    ax.invert_yaxis()
    ax.set_xlim(0, 1)
    numbers = pd.DataFrame({"accuracy": accuracy, "low": low, "high": high}, index=pd.Index(scores.index, name="model"))
    return _ready(ax, numbers, "Accuracy, with 95 % interval", "accuracy (share of pictures)")


def gains(compared: dict[str, dict], ax: Axes | None = None) -> Axes:
    """How much better one model is than another, with 95 % intervals: dots right of the line are improvements.

    Args:
        compared: From `evaluation.compare`, by name.
        ax: Where to draw. Defaults to a new figure.
    """
    names = pd.Index(compared, name="compared")
    low, high = np.array([one["difference_interval"] for one in compared.values()]).T
    middle = np.array([one["difference"] for one in compared.values()])
    ax = ax or _axes(7, 0.45 * len(names) + 1.2)
    ax.errorbar(middle, names, xerr=[middle - low, high - middle], fmt="o", color=COLOURS[0], capsize=4)
    ax.axvline(0, color=RIGHT, linestyle=":")
    ax.invert_yaxis()
    numbers = pd.DataFrame({"gain": middle, "low": low, "high": high}, index=names)
    return _ready(ax, numbers, "What was gained, with 95 % intervals", "gain in accuracy (share of pictures)")


def answer(probabilities: dict[str, float], most: int = 5, sure: float = 0.0, ax: Axes | None = None) -> Axes:
    """Bars of the likeliest classes of one picture.

    Args:
        probabilities: By class, from `evaluation.classify`.
        most: Classes at the most. Defaults to 5.
        sure: Confidence below which the answer is "not sure", drawn as a line; 0 draws none. Defaults to 0.
        ax: Where to draw. Defaults to a new figure.
    """
    top = pd.Series(probabilities).nlargest(most)
    ax = ax or _axes(5, 0.4 * len(top) + 1)
    ax.barh(top.index, top, color=COLOURS[0])
    if sure:
        ax.axvline(sure, color=RIGHT, linestyle=":", label="sure from here on")
        ax.legend(frameon=False, loc="lower right", fontsize=8)
    ax.invert_yaxis()
    ax.set_xlim(0, 1)
    said = "Most likely" if top.iloc[0] >= sure else "Not sure, perhaps"
    numbers = top.rename_axis("class").rename("probability").to_frame()
    return _ready(ax, numbers, f"{said}: {top.index[0]}", "probability", "class")


def page(shot: Image.Image, answers: pd.DataFrame, title: str, ax: Axes | None = None) -> Axes:
    """Show the photograph of a page that shows answers.

    Args:
        shot: From `browser.photograph`.
        answers: The numbers on it.
        title: Line above it.
        ax: Where to draw. Defaults to a new figure.
    """
    return _picture(np.asarray(shot), answers, title, 8, ax)


def strip(picture: np.ndarray, title: str, ax: Axes | None = None) -> Axes:
    """Show an array of pixels, such as several pictures side by side.

    Args:
        picture: (height, width, 3), 0 to 255 as integers or 0 to 1 as floats.
        title: Line above it.
        ax: Where to draw. Defaults to a new figure as wide as a page.
    """
    numbers = pd.DataFrame(picture.reshape(-1, 3), columns=["red", "green", "blue"])
    return _picture(picture, numbers, title, 10, ax, interpolation="nearest")


def _picture(picture: np.ndarray, numbers: pd.DataFrame, title: str, width: float, ax: Axes | None, **how) -> Axes:
    """A picture without axes, as high as its shape asks for."""
    ax = ax or _axes(width, width * picture.shape[0] / picture.shape[1] + 0.4)
    ax.imshow(picture, **how)
    ax.axis("off")
    return _ready(ax, numbers, title)

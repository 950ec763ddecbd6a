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

from sneakerlib import InputError
from sneakerlib.pictures import folder_of, open_rgb
from sneakerlib.runs import replacing
from sneakerlib.tables import write_csv

RIGHT, WRONG = "black", "#d1001c"
COLOURS = sns.color_palette("colorblind")
THUMBNAIL = 160  # pixels


def in_words(figure: Figure) -> str:
    """Title, axes, and what the legend or the lines above the pictures say, for readers who do not see the figure."""
    titles = [figure.get_suptitle(), *(ax.get_title().replace("\n", " ") for ax in figure.axes)]
    words = ["; ".join(title for title in titles if title)]
    ways = {"across": Axes.get_xlabel, "upwards": Axes.get_ylabel}
    words += [f"{way}: {text}" for way, label in ways.items() for ax in figure.axes[:1] if (text := label(ax))]
    boxes = [*figure.legends, *(ax.get_legend() for ax in figure.axes if ax.get_legend())]
    legends = [text.get_text() for box in boxes for text in box.get_texts()]
    return ". ".join([*words, f"shown: {', '.join(legends)}"] if legends else words)


def _show(figure: Figure) -> None:
    """Show a figure in a notebook, with its description in words."""
    from IPython.core.pylabtools import print_figure
    from IPython.display import display

    words = in_words(figure)  # `Image(alt=...)` would need IPython 8.10, and Colab has 7.34
    shown = {"image/png": base64.b64encode(print_figure(figure)).decode(), "text/plain": words}
    display(shown, metadata={"image/png": {"alt": words}}, raw=True)


Figure._ipython_display_ = _show  # every figure, also those that a notebook draws itself


def save(ax: Axes, path: str | Path, numbers: pd.DataFrame | None = None) -> Path:
    """Write `<path>.png` and `<path>.csv` with the plotted numbers, each in one step.

    Args:
        ax: Any Axes.
        path: Folder and name without extension; names are `NN_topic__what`.
        numbers: The plotted numbers. Defaults to what the function here remembers that drew them.

    Raises:
        InputError: If the numbers are unknown.
    """
    figure, path = ax.figure, Path(path)
    numbers = getattr(figure, "plotted", None) if numbers is None else numbers
    if numbers is None:
        raise InputError("this figure has no numbers to save beside it: hand them over as the third argument")
    dpi = 60 if figure.axes[0].images else 110  # a gallery needs no sharp letters, and its file would grow large
    with replacing(path.with_name(path.name + ".png")) as beside:
        figure.savefig(beside, dpi=dpi, bbox_inches="tight")
    write_csv(path.with_name(path.name + ".csv"), numbers, float_format="%.6g")
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
            ax.imshow(_thumbnail(open_rgb(folder / row.path, THUMBNAIL)))
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
        ax.imshow(_thumbnail(picture))
        ax.set_title(name, fontsize=8)
    brightness = [round(float(np.asarray(picture).mean()), 3) for picture in pictures]
    axes[0].figure.plotted = pd.DataFrame({"title": titles, "mean_brightness": brightness})
    return axes[0]


def _thumbnail(picture: Image.Image) -> Image.Image:
    """Squeezed into a small square, as networks see it."""
    return picture.convert("RGB").resize((THUMBNAIL, THUMBNAIL), Image.BICUBIC)


def _grid(count: int, columns: int, title: str) -> list[Axes]:
    """Empty places for `count` pictures, a row after another."""
    columns = min(columns, max(4, count))  # few pictures stay small
    lines = -(-max(1, count) // columns)
    size = (1.5 * columns, 1.62 * lines + 0.35 * bool(title))
    figure, axes = plt.subplots(lines, columns, figsize=size, squeeze=False, layout="constrained")
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


def learning_curves(histories: dict[str, pd.DataFrame]) -> Axes:
    """Accuracy per epoch of one or more trainings: dashed on training pictures, solid on validation pictures."""
    ax = plt.subplots(figsize=(8.5, 3.8), layout="constrained")[1]  # inches
    for (name, history), colour in zip(histories.items(), COLOURS, strict=False):
        epochs = np.arange(1, len(history) + 1)
        ax.plot(epochs, history.val_accuracy, color=colour, marker="o", markersize=3, label=f"{name}, validation")
        ax.plot(epochs, history.accuracy, color=colour, linestyle="--", alpha=0.7, label=f"{name}, training")
    ax.set_ylim(0, 1.02)
    ax.legend(fontsize=8, frameon=False, bbox_to_anchor=(1.01, 1), loc="upper left")
    ax.figure.plotted = pd.concat(histories, names=["training"]).reset_index()
    ax.set(title="Learning curves", xlabel="epoch", ylabel="accuracy (share of pictures)")
    return ax


def answer(probabilities: dict[str, float], most: int = 5, sure: float = 0.0) -> Axes:
    """Bars of the likeliest classes of one picture.

    Args:
        probabilities: By class, from `Saved.classify` of a model folder.
        most: Classes at the most. Defaults to 5.
        sure: Confidence below which the answer is "not sure", drawn as a line; 0 draws none. Defaults to 0.
    """
    top = pd.Series(probabilities).nlargest(most)
    ax = plt.subplots(figsize=(5, 0.4 * len(top) + 1), layout="constrained")[1]
    ax.barh(top.index, top, color=COLOURS[0])
    if sure:
        ax.axvline(sure, color=RIGHT, linestyle=":", label="sure from here on")
        ax.figure.legend(frameon=False, loc="outside lower right", fontsize=8)  # where the line does not cross it
    ax.invert_yaxis()
    said = "Most likely" if top.iloc[0] >= sure else "Not sure, perhaps"
    ax.set(title=f"{said}: {top.index[0]}", xlabel="probability", ylabel="class", xlim=(0, 1))
    ax.figure.plotted = top.rename_axis("class").rename("probability").to_frame()
    return ax


def strip(picture: np.ndarray | Image.Image, title: str) -> Axes:
    """Show a picture as it is, over the whole width: several side by side, a page.

    Args:
        picture: (height, width, 3), 0 to 255 as integers or 0 to 1 as floats; or a PIL picture.
        title: Line above it.
    """
    height, width, _ = np.shape(picture)
    ax = plt.subplots(figsize=(10, 10 * height / width + 0.4), layout="constrained")[1]
    ax.imshow(picture)
    ax.axis("off")
    ax.set_title(title)
    return ax

import base64

import matplotlib
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
import seaborn as sns
from matplotlib.colors import to_hex
from PIL import Image

from sneakerlib import InputError, plots

matplotlib.use("Agg")


@pytest.fixture(autouse=True)
def close():
    yield
    plt.close("all")


@pytest.fixture
def predictions(table):
    rows = table[table.issue.eq("")].reset_index(drop=True)
    labels = sorted(set(rows.label))
    predicted = rows.label.where(rows.index % 3 > 0, labels[0])
    answers = rows[["path", "label"]].assign(predicted=predicted, confidence=0.8, correct=predicted.eq(rows.label))
    for label in labels:
        answers[f"p_{label}"] = np.where(predicted.eq(label), 0.8, 0.1)
    answers.attrs = table.attrs
    return answers


def drawn(ax, tmp_path, name="05_topic__what"):
    picture = plots.save(ax, tmp_path / name)
    assert picture.stat().st_size > 2000
    return pd.read_csv(tmp_path / f"{name}.csv")


def test_every_chart_has_title_and_labelled_axes(predictions, table):
    history = pd.DataFrame({"accuracy": [0.5, 0.8], "val_accuracy": [0.4, 0.6]}, index=[1, 2])
    charts = [
        plots.learning_curves({"a": history}),
        plots.answer({"a": 0.7, "b": 0.3}),
    ]
    for ax in charts:
        assert ax.get_title()
        assert ax.get_xlabel()
    assert all(ax.get_ylabel() for ax in charts)


def test_learning_curves_keep_every_epoch(tmp_path):
    history = pd.DataFrame({"accuracy": [0.5, 0.8], "val_accuracy": [0.4, 0.6]}, index=pd.Index([1, 2], name="epoch"))
    numbers = drawn(plots.learning_curves({"one": history, "two": history}), tmp_path)
    assert numbers.training.tolist() == ["one", "one", "two", "two"]
    assert numbers.val_accuracy.tolist() == [0.4, 0.6, 0.4, 0.6]


def test_wrong_answers_are_red_and_right_ones_black(predictions):
    ax = plots.examples(predictions, most=30)
    titles = {a.get_title(): to_hex(a.title.get_color()) for a in ax.figure.axes if a.get_title()}
    assert {colour for title, colour in titles.items() if ", not" in title.replace("\n", " ")} == {plots.WRONG}
    assert {colour for title, colour in titles.items() if ", not" not in title.replace("\n", " ")} == {"#000000"}


def test_a_gallery_shows_what_cannot_be_read(table):
    broken = table[table.issue.eq("unreadable")]
    ax = plots.gallery(broken)
    assert "cannot\nbe read" in [text.get_text() for text in ax.texts]


def test_views_name_each_picture_and_keep_numbers(tmp_path):
    shown = [Image.new("RGB", (30, 20), colour) for colour in ("black", "white", "black")]
    ax = plots.views(shown, ["one", "two", "three"])
    assert [axes.get_title() for axes in ax.figure.axes[:3]] == ["one", "two", "three"]
    plots.save(ax, tmp_path / "02_cleaning__views")
    assert pd.read_csv(tmp_path / "02_cleaning__views.csv").mean_brightness.tolist() == [0, 255, 0]


def test_a_figure_made_elsewhere_has_no_numbers(tmp_path):
    with pytest.raises(InputError, match="no numbers to save"):
        plots.save(plt.subplots()[1], tmp_path / "x")
    assert not list(tmp_path.iterdir())


def test_a_strip_is_shown_as_it_is():
    ax = plots.strip(np.zeros((4, 8, 3), np.uint8), "black")
    assert ax.get_title() == "black"
    assert ax.images[0].get_array().shape == (4, 8, 3)


def test_a_figure_is_shown_with_its_description_by_every_ipython(monkeypatch):
    class Image:  # as IPython 7.34 has it, which Colab uses: without `alt`
        def __init__(self, data=None, url=None, filename=None, format=None, embed=None, width=None, height=None):
            raise AssertionError("not needed")

    monkeypatch.setattr("IPython.display.Image", Image)
    shown = []
    monkeypatch.setattr("IPython.display.display", lambda data, **how: shown.append((data, how)))
    figure = plt.figure()  # whoever drew it
    plt.title("Confusion matrix")
    figure._ipython_display_()
    ((data, how),) = shown
    assert base64.b64decode(data["image/png"]).startswith(b"\x89PNG")
    assert how == {"metadata": {"image/png": {"alt": plots.in_words(figure)}}, "raw": True}
    assert data["text/plain"] == plots.in_words(figure)


def test_a_figure_says_in_words_what_it_shows(predictions, table):
    ax = sns.scatterplot(predictions, x="confidence", y="correct", hue="label")
    ax.set(title="Reliability", xlabel="confidence (probability)", ylabel="accuracy (share right)")
    words = plots.in_words(ax.figure)
    for part in ("Reliability", "across: confidence (probability)", "upwards: accuracy (share right)", "shown: aero"):
        assert part in words
    rows = table[table.issue.eq("")].head(2)
    gallery = plots.gallery(rows, pd.Series(["one\nline", "two"], rows.index), title="Two pictures")
    assert plots.in_words(gallery.figure) == "Two pictures; one line; two"
    by_seaborn = sns.countplot(table, y="label", ax=plt.figure().subplots())
    by_seaborn.set(title="Pictures", xlabel="pictures", ylabel="class")
    assert plots.in_words(by_seaborn.figure) == "Pictures. across: pictures. upwards: class"


@pytest.mark.parametrize(
    ("sure", "title"), [(0.0, "Most likely: a"), (0.6, "Most likely: a"), (0.8, "Not sure, perhaps: a")]
)
def test_below_the_threshold_the_answer_is_not_sure(sure, title):
    ax = plots.answer({"b": 0.2, "a": 0.7, "c": 0.1}, most=2, sure=sure)
    assert ax.get_title() == title
    assert [text.get_text() for text in ax.get_yticklabels()] == ["a", "b"]
    assert [line.get_xdata()[0] for line in ax.lines] == ([sure] if sure else [])


def test_a_heat_map_lies_over_its_own_picture_only(table):
    rows = table[table.issue.eq("")].head(2)
    heat = pd.Series([None, np.eye(7)], rows.index)
    ax = plots.gallery(rows, heat=heat)
    assert [len(axes.images) for axes in ax.figure.axes[:2]] == [1, 2]
    assert list(ax.figure.axes[1].images[1].get_extent()) == [0, plots.THUMBNAIL, plots.THUMBNAIL, 0]

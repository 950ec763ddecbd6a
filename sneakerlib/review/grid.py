"""Decide about suspect labels in the notebook: a page of pictures with buttons, and every click is on disk at once."""

import base64
import html
import io
import json
import os
import sys
from pathlib import Path

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.axes import Axes

from sneakerlib import InputError, plots
from sneakerlib.review import corrections
from sneakerlib.runs import write_json

PAGE = 4  # suspects at a time: a page is drawn in a few seconds and needs little scrolling
EVERY = "all classes"
ANOTHER = "another class …"
WAYS = ("auto", "grid", "gallery")


def attended() -> bool:
    """Whether somebody is there to click: the kernel belongs to Jupyter's server or to Colab, not to papermill."""
    return "google.colab" in sys.modules or "JPY_SESSION_NAME" in os.environ


def by_hand(lines: pd.DataFrame) -> set[str]:
    """The pictures, by path, that a person has decided about."""
    return set(lines.index[lines.reason.eq(corrections.BY_HAND)])


class ReviewGrid:
    """Suspects, a page at a time, each with what speaks for and against its label and a button per decision.

    A decision is written to the file of corrections when it is made, and the place in the list beside it, so that a
    kernel that dies loses nothing: made again, the grid goes on where it was. Shown without anybody to click, as in a
    run of papermill, it is a gallery of the first suspects; the file says what is decided then.

    Args:
        suspects: From `review.suspects`.
        file: The file of corrections.
        labels: The classes that there are.
        evidence: From `explain.Evidence`.
        way: `grid`, `gallery`, or `auto`: a grid if somebody can click. Defaults to `auto`.
        most: Suspects in the gallery. Defaults to 8.

    Raises:
        InputError: If there is no such way.
    """

    def __init__(
        self, suspects: pd.DataFrame, file: str | Path, labels: list[str], evidence, way: str = "auto", most: int = 8
    ):
        if way not in WAYS:
            raise InputError(f"there is no way {way!r} to show suspects: use {', '.join(WAYS)}")
        self.suspects, self.file, self.labels, self.evidence = suspects, Path(file), labels, evidence
        self.place = self.file.with_suffix(".place.json")
        self.way, self.most, self.drawn = way, most, {}

    def _ipython_display_(self) -> None:
        from IPython.display import display

        if self.suspects.empty:
            print("no label is suspect")
        elif self.way == "grid" or (self.way == "auto" and attended()):
            display(self.widget())
        else:
            figure = self.gallery().figure
            display(figure)
            plt.close(figure)  # or the notebook shows it once more
            print(f"To decide with buttons, open this notebook in Jupyter; or edit {self.file.name}.")

    def gallery(self) -> Axes:
        """The first suspects as a figure, for `plots.save`."""
        some = self.suspects.head(self.most)
        return self._strips(self.evidence.of(some), f"{len(some)} of {len(self.suspects)} suspects")

    def save(self, path: str | Path) -> None:
        """Write the gallery as a figure with its numbers, without showing it; see `plots.save`."""
        ax = self.gallery()
        plots.save(ax, path)
        plt.close(ax.figure)

    def widget(self):
        """The grid as an ipywidgets widget."""
        import ipywidgets

        self.head = ipywidgets.HTML()
        classes = sorted({*self.suspects.label, *self.suspects.proposed})
        self.chosen = ipywidgets.Dropdown(options=[EVERY, *classes], value=EVERY, description="class")
        self.back = ipywidgets.Button(description="back", icon="arrow-left")
        self.on = ipywidgets.Button(description="on", icon="arrow-right")
        self.cards = ipywidgets.VBox()
        self.chosen.observe(lambda _: self._turn(), "value")
        self.back.on_click(lambda _: self._turn(-PAGE))
        self.on.on_click(lambda _: self._turn(PAGE))
        self._turn()
        return ipywidgets.VBox(
            [self.head, ipywidgets.HBox([self.chosen, self.back, self.on]), self.cards], _dom_classes=["review-grid"]
        )

    def _some(self) -> pd.DataFrame:
        """The suspects that have to do with the chosen class."""
        name = self.chosen.value
        mine = self.suspects.label.eq(name) | self.suspects.proposed.eq(name) | (name == EVERY)
        return self.suspects[mine]

    def _decided(self) -> pd.DataFrame:
        """The lines of the file, by path."""
        lines = corrections.load(self.file) if self.file.exists() else pd.DataFrame(columns=corrections.COLUMNS)
        return lines.set_index("path")

    def _turn(self, by: int = 0) -> None:
        """Go on or back, or, if the class is a new one, to where its review was left."""
        some, places, lines = self._some(), self._places(), self._decided()
        if by:
            self.at = min(max(0, self.at + by), (len(some) - 1) // PAGE * PAGE)
        else:
            open_ones = some.path[~some.path.isin(by_hand(lines))]
            path = places.get(self.chosen.value) or next(iter(open_ones), some.path.iloc[0])
            place = some.path.tolist().index(path) if path in set(some.path) else 0  # the list may be a new one
            self.at = place // PAGE * PAGE
        write_json(self.place, places | {self.chosen.value: some.path.iloc[self.at]})
        page = some.iloc[self.at : self.at + PAGE]
        self._draw(page)
        self.shown = [Card(self, row) for row in page.itertuples()]
        self.cards.children = [card.box for card in self.shown]
        self.refresh(lines)

    def _places(self) -> dict[str, str]:
        """The first suspect of the page that was last looked at, by class."""
        try:
            return json.loads(self.place.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}

    def decide(self, card: "Card", action: str, new_label: str = "") -> None:
        """Write a decision down, show it, and offer the next one to the keyboard."""
        lines = corrections.decide(self.file, card.row.path, card.row.label, action, new_label).set_index("path")
        self.refresh(lines)
        done = by_hand(lines)
        following = [other.buttons[0] for other in self.shown if other.row.path not in done]
        target = following[0] if following else self.on
        if hasattr(target, "focus"):  # ipywidgets 8
            target.focus()

    def refresh(self, lines: pd.DataFrame) -> None:
        """Show what the lines of the file say."""
        done, some = by_hand(lines), self._some()
        last = min(self.at + PAGE, len(some))
        self.head.value = (
            f"<b>{len(done & set(some.path))} of {len(some)} decided by you</b>, shown: {self.at + 1} to {last}. "
            f"Each click is in {html.escape(self.file.name)} at once; Tab and Enter do as well as the mouse."
        )
        self.back.disabled, self.on.disabled = self.at == 0, last == len(some)
        for card in self.shown:
            card.show(lines.loc[card.row.path] if card.row.path in lines.index else None)

    def _draw(self, page: pd.DataFrame) -> None:
        """Make the strips of pictures that have not been shown yet."""
        new = page[~page.path.isin(set(self.drawn))]
        for path, strip in self.evidence.of(new).groupby("suspect", sort=False):
            buffer = io.BytesIO()
            figure = self._strips(strip.assign(wrong=False)).figure
            figure.savefig(buffer, dpi=72, format="jpeg")
            plt.close(figure)
            alt = html.escape(figure.in_words(), quote=True)
            code = base64.b64encode(buffer.getvalue()).decode()
            self.drawn[path] = f'<img alt="{alt}" style="max-width:100%" src="data:image/jpeg;base64,{code}">'

    def _strips(self, table: pd.DataFrame, title: str = "") -> Axes:
        columns = 2 + 2 * self.evidence.count
        return plots.gallery(table, table.title, table.wrong, columns, len(table), title, table.heat)


class Card:
    """One suspect of a `ReviewGrid`.

    Args:
        grid: Where it stands.
        row: Of `review.suspects`.
    """

    def __init__(self, grid: ReviewGrid, row):
        import ipywidgets

        self.row = row
        wide = {"width": "auto"}
        ways = [("keep", "", f"keep: {row.label}"), ("drop", "", "drop")]
        if row.proposed != row.label:
            ways.insert(0, ("relabel", row.proposed, f"relabel: {row.proposed}"))
        self.ways, self.buttons = ways, []
        for action, new_label, text in ways:
            button = ipywidgets.Button(description=text, layout=wide)
            button.on_click(lambda _, action=action, new_label=new_label: grid.decide(self, action, new_label))
            self.buttons.append(button)
        others = [label for label in grid.labels if label not in (row.label, row.proposed)]
        self.other = ipywidgets.Dropdown(options=[ANOTHER, *others], layout=wide)
        self.other.observe(lambda change: change.new != ANOTHER and grid.decide(self, "relabel", change.new), "value")
        self.said = ipywidgets.HTML()
        second = "a second model agrees" if row.agreed else "a second model does not agree"
        why = "" if row.why == "label" else f"set aside as {row.why}; "
        text = f"{why}the model says {row.proposed} ({row.confidence:.2f}), {second} · {row.path}"
        self.box = ipywidgets.VBox(
            [
                ipywidgets.HTML(f"<b>{html.escape(row.label)}?</b> {html.escape(text)}"),
                ipywidgets.HTML(grid.drawn[row.path]),
                ipywidgets.HBox([*self.buttons, self.other, self.said]),
            ]
        )

    def show(self, line) -> None:
        """Colour the button that the file's line stands for: green if a person decided, blue if it was proposed."""
        mine = line is not None and line.reason == corrections.BY_HAND
        for button, (action, new_label, _) in zip(self.buttons, self.ways, strict=True):
            is_it = line is not None and (line.action, line.new_label) == (action, new_label)
            button.button_style = ("success" if mine else "info") if is_it else ""
        if line is None:
            self.said.value = "not decided"
        else:
            done = f"{line.action} {line.new_label}".strip()
            self.said.value = html.escape(f"✓ {done}" if mine else f"proposed: {done}")

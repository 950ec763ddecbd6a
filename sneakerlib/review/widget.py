"""Decide about suspect labels in the notebook: a page of pictures with buttons, and every click is on disk at once."""

import base64
import html
import io
import os
import sys
from pathlib import Path

import matplotlib.pyplot as plt
import pandas as pd

from sneakerlib import plots
from sneakerlib.review import corrections

PAGE = 4  # suspects at a time: a page is drawn in a few seconds and needs little scrolling


class ReviewGrid:
    """Suspects, a page at a time, each with what speaks for and against its label and a button per decision.

    A decision is written to the file of corrections when it is made, so that a kernel that dies loses nothing: made
    again, the grid goes on after what was decided last. With nobody to click, as in a run of papermill, the file says
    what is decided.

    Args:
        found: From `suspects.find`.
        file: The file of corrections.
        labels: The classes that there are.
        evidence: An `evidence.Evidence`.
    """

    def __init__(self, found: pd.DataFrame, file: str | Path, labels: list[str], evidence):
        self.found, self.file, self.labels, self.evidence = found, Path(file), labels, evidence

    def _ipython_display_(self) -> None:
        from IPython.display import display

        attended = "google.colab" in sys.modules or "JPY_SESSION_NAME" in os.environ  # not in a kernel of papermill
        if attended and len(self.found):
            display(self.widget())
        else:
            print(f"No buttons here: {self.file.name} says what is decided. Edit it, or open this notebook in Jupyter.")

    def widget(self):
        """The grid as an ipywidgets widget."""
        import ipywidgets

        self.head, self.page = ipywidgets.HTML(), ipywidgets.VBox()
        self.back = ipywidgets.Button(description="back", icon="arrow-left")
        self.on = ipywidgets.Button(description="on", icon="arrow-right")
        self.back.on_click(lambda _: self._turn(self.at - PAGE))
        self.on.on_click(lambda _: self._turn(self.at + PAGE))
        done = self.done().tolist()
        last = max(at * decided for at, decided in enumerate(done))
        self._turn(min(range(len(done)), key=lambda at: (done[at], at < last)) // PAGE * PAGE)  # what is next to decide
        whole = [self.head, ipywidgets.HBox([self.back, self.on]), self.page]
        return ipywidgets.VBox(whole, _dom_classes=["review-grid"])

    def done(self) -> pd.Series:
        """Which of the suspects a person has decided about."""
        lines = corrections.load(self.file)
        return self.found.path.isin(lines.path[lines.reason.eq(corrections.BY_HAND)])

    def _turn(self, at: int) -> None:
        """Show the page that begins with this suspect."""
        self.at = at
        self.cards = [Card(self, row) for row in self.found.iloc[at : at + PAGE].itertuples()]
        self.page.children = [card.box for card in self.cards]
        self.back.disabled, self.on.disabled = at == 0, at + PAGE >= len(self.found)
        self.refresh()

    def refresh(self) -> None:
        """Say how far the review has come, and what is to be done then."""
        self.head.value = (
            f"<b>{self.done().sum()} of {len(self.found)} decided by you</b>, shown: {self.at + 1} to "
            f"{self.at + len(self.cards)}. Each click is in {html.escape(self.file.name)} at once. When you have "
            "finished, <b>run the cells below again</b>: what they show is from before your clicks."
        )

    def strip(self, row) -> str:
        """The evidence about a suspect as HTML."""
        table, buffer = self.evidence.of(row), io.BytesIO()
        figure = plots.gallery(table, table.title, columns=len(table), heat=table.heat).figure
        figure.savefig(buffer, dpi=72, format="jpeg")
        plt.close(figure)
        alt, code = html.escape(plots.in_words(figure), quote=True), base64.b64encode(buffer.getvalue()).decode()
        return f'<img alt="{alt}" style="max-width:100%" src="data:image/jpeg;base64,{code}">'


class Card:
    """One suspect of a `ReviewGrid`, a row of `suspects.find`: its evidence, and a button for each decision."""

    def __init__(self, grid: ReviewGrid, row):
        import ipywidgets

        self.grid, self.row = grid, row
        self.ways = {("relabel", label): f"Change to {label}" for label in (row.proposed, *grid.labels)}
        self.ways.pop(("relabel", row.label), None)
        keep, aside = ("Keep", "") if row.why == "label" else ("Bring it back as", f"set aside as {row.why}; ")
        self.ways |= {("keep", ""): f"{keep} {row.label}", ("drop", ""): "Leave it out"}
        options = [(text, way) for way, text in self.ways.items()]
        likely = [option for option in options if option[1][1] in ("", row.proposed)]
        others = [("Change to another class …", ()), *(option for option in options if option not in likely)]
        self.buttons = ipywidgets.ToggleButtons(options=likely, value=None, style={"button_width": "auto"})
        self.other, self.said = ipywidgets.Dropdown(options=others), ipywidgets.HTML()
        self.show()
        self.buttons.observe(self.decide, "value")
        self.other.observe(self.decide, "value")
        second = "agrees" if row.agreed else "does not agree"
        text = f"{aside}the model says {row.proposed} ({row.confidence:.2f}), a second one {second} · {row.path}"
        title = ipywidgets.HTML(f"<b>{html.escape(row.label)}?</b> {html.escape(text)}")
        choice = ipywidgets.HBox([self.buttons, self.other, self.said])
        self.box = ipywidgets.VBox([title, ipywidgets.HTML(grid.strip(row)), choice])

    def decide(self, change) -> None:
        """Write a decision down, and show it."""
        if change.new:
            corrections.decide(self.grid.file, self.row.path, self.row.label, *change.new)
            self.show()
            self.grid.refresh()

    def show(self) -> None:
        """Show what the file says: in words, and with a button pressed if a person has decided."""
        line = next(corrections.load(self.grid.file).query("path == @self.row.path").itertuples(), None)
        way, mine = line and (line.action, line.new_label), line and line.reason == corrections.BY_HAND
        said = f"{'✓' if mine else 'proposed:'} {self.ways.get(way, line.new_label)}" if line else "not decided"
        self.said.value, self.other.value = html.escape(said), ()
        self.buttons.value = way if mine and way in dict(self.buttons.options).values() else None

"""What a reader came to learn stands in the notebooks, in plain library calls: each notebook's row in the design."""

import json
import re
from pathlib import Path

import pytest

NOTEBOOKS = Path(__file__).parent.parent / "notebooks"
# What has to stand in the code cells of a notebook, as regular expressions.
ROWS: dict[str, list[str]] = {
    "06_misclassified_images": [
        r"make_pipeline\(StandardScaler\(\), LogisticRegression\(",
        r"StratifiedGroupKFold\(",
        r"cross_val_predict\(.*groups=",
        r"find_label_issues\(",
        r"np\.linalg\.inv\(",
        r"suspects\.leave_one_out\(",
        r"tf\.GradientTape\(",
        r"widget\.ReviewGrid\(",
        r"model\.fit\(",
        r"binomtest\(.*\)\.pvalue",
    ],
}


@pytest.mark.parametrize("name", sorted(ROWS))
def test_it_stands_in_the_open(name: str):
    cells = json.loads((NOTEBOOKS / f"{name}.ipynb").read_text(encoding="utf-8"))["cells"]
    code = "\n".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "code")
    assert [call for call in ROWS[name] if not re.search(call, code)] == []

"""What a reader came to learn stands in the notebooks, in plain library calls: each notebook's row in the design."""

import json
import re
from pathlib import Path

import pytest

NOTEBOOKS = Path(__file__).parent.parent / "notebooks"
# What has to stand in the code cells of a notebook, as regular expressions.
ROWS: dict[str, list[str]] = {
    "03_cnn_from_scratch": [
        r"keras\.utils\.image_dataset_from_directory\(",
        r"\.cache\(\)",
        r"\.prefetch\(",
        r"layers\.Conv2D\(",
        r"layers\.BatchNormalization\(",
        r"keras\.Model\(",
        r"\.compile\(",
        r"\.fit\(",
        r"EarlyStopping\(",
        r"\.history\)",
        r"layers\.RandomFlip\(",
        r"LogisticRegression\(",
        r"first_layer\.predict_on_batch\(",
    ],
    "04_transfer_learning": [
        r"backbone\.trainable = False",
        r"backbone\.predict\(",
        r"make_pipeline\(StandardScaler\(\), LogisticRegression\(",
        r"layers\.Dense\(",
        r"isinstance\(layer, layers\.BatchNormalization\)",
        r"startswith\(\"blocks\.5\"\)",
        r"\.compile\(",
        r"\.fit\(",
        r"SVC\(",
        r"class Moments\(layers\.Layer\)",
        r"RidgeCV\(",
    ],
    "05_confusion_matrices": [
        r"pd\.crosstab\(",
        r"sns\.heatmap\(",
        r"classification_report\(",
        r"binomtest\(.*\)\.proportion_ci\(method=\"wilson\"\)",
        r"binomtest\(.*\)\.pvalue",
        r"cross_val_predict\(.*groups=",
        r"find_label_issues\(",
        r"minimize_scalar\(",
        r"log_loss\(",
        r"calibration_curve\(",
        r"roc_auc_score\(",
    ],
    "09_deployment": [
        r"app = FastAPI\(",
        r"@app\.post\(",
        r"img: UploadFile",
        r"saved\.classify\(",
        r"TestClient\(app",
        r"serving\.Server\(",
    ],
    "02_cleaning": [
        r"\.duplicated\(\"sha256\"",
        r"groupby\(\"sha256\"\)\.label\.nunique\(\)",
        r"imagehash\.phash\(",
        r"audit\.audit\(",
        r"StratifiedGroupKFold\(",
        r"StratifiedKFold\(",
        r"sns\.countplot\(",
        r"iaa\.Sequential\(",
        r"TSNE\(",
        r"prepare\(pictures, run\.folder / \"prepared\"\)",
    ],
    "01_scraping": [
        r"requests\.get\(.*params=.*timeout=.*\)\.json\(\)",
        r"Image\.open\(",
        r"\.load\(\)",
        r"hashlib\.sha256\(content\)\.hexdigest\(\)",
        r"\"licence\": result\[\"licence\"\]",
        r"collect\.collect\(",
        r"sns\.countplot\(",
    ],
    "06_misclassified_images": [
        r"make_pipeline\(StandardScaler\(\), LogisticRegression\(",
        r"StratifiedGroupKFold\(",
        r"cross_val_predict\(.*groups=",
        r"find_label_issues\(",
        r"np\.linalg\.inv\(",
        r"heads\.leave_one_out\(",
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

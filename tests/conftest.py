"""Small data for all tests, made here: nothing is downloaded."""

import json
import os
import shutil
from pathlib import Path

if "PYTEST_XDIST_WORKER" in os.environ:  # a core for each process: more threads would only stand in each other's way
    os.environ |= {"TF_NUM_INTRAOP_THREADS": "1", "TF_NUM_INTEROP_THREADS": "1", "OMP_NUM_THREADS": "1"}

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from sneakerlib import catalog
from sneakerlib.cleaning import audit
from sneakerlib.sample import dataset

needs_chromium = pytest.mark.skipif(
    not (shutil.which("chromium") and shutil.which("chromedriver")),
    reason="needs Chromium and its driver: apt install chromium chromium-driver",
)
REAL = Path(os.environ.get("SNEAKERLIB_REAL_IMAGES", Path(__file__).parents[2] / "shared/data/air_jordan"))


@pytest.hookimpl(tryfirst=True)  # xdist looks at the groups in the same hook
def pytest_collection_modifyitems(items):
    """Tests of one file share what they made, so they run in one process, unless a file says otherwise."""
    for item in items:
        if not item.get_closest_marker("xdist_group"):
            item.add_marker(pytest.mark.xdist_group(item.path.stem))


@pytest.fixture(autouse=True, scope="session")
def cache(tmp_path_factory):
    """Keep decoded pictures out of the user's cache folder."""
    folder = tmp_path_factory.mktemp("cache")
    os.environ["SNEAKERLIB_CACHE"] = str(folder)
    return folder


@pytest.fixture(scope="session")
def real():
    """The real photographs, where they are."""
    if not REAL.is_dir():
        pytest.skip(f"the real photographs are not at {REAL}: set SNEAKERLIB_REAL_IMAGES")
    return REAL


@pytest.fixture(scope="session")
def shoes(tmp_path_factory):
    """A sample with every kind of defect: three models of twenty pictures."""
    folder = tmp_path_factory.mktemp("sample") / "shoes"
    dataset.make(folder, classes=3, per_class=20, seed=5, progress=False)
    return folder


@pytest.fixture(scope="session")
def table(shoes):
    """The sample's catalog, audited and split."""
    return audit.prepare(shoes, progress=False)


def save(colour, path, size=(40, 30), **options):
    """Write a picture of one colour, or of the given array."""
    path.parent.mkdir(parents=True, exist_ok=True)
    picture = Image.fromarray(colour) if isinstance(colour, np.ndarray) else Image.new("RGB", size, colour)
    picture.save(path, **options)
    return path


@pytest.fixture
def folder(tmp_path):
    """A clean picture folder: two classes of eight different noise pictures."""
    rng = np.random.default_rng(0)
    for label in ("one", "two"):
        for number in range(8):
            save(rng.integers(0, 256, (30, 40, 3), np.uint8), tmp_path / "pictures" / label / f"{number}.png")
    return tmp_path / "pictures"


@pytest.fixture
def fresh(folder):
    """The catalog of `folder`, not split."""
    return catalog.read(folder)


def run_cells(notebook, *ids, **names):
    """Run cells of a notebook, named by their ids, on these names; returns all names that there are afterwards."""
    file = Path(__file__).parent.parent / "notebooks" / f"{notebook}.ipynb"
    cells = {cell["id"]: "".join(cell["source"]) for cell in json.loads(file.read_text(encoding="utf-8"))["cells"]}
    for id in ids:
        exec(cells[id], names)
    return names


def answered(given, p, labels):
    """Predictions as a model folder makes them, from class numbers and probabilities."""
    names = np.array(labels)
    table = pd.DataFrame({"path": [f"{n}.jpg" for n in range(len(p))], "label": names[given]})
    table["predicted"], table["confidence"] = names[p.argmax(1)], p.max(1)
    table["correct"] = table.predicted == table.label
    return table.join(pd.DataFrame(p, columns=[f"p_{label}" for label in labels]))


SMALL = [(1, 3, 1, 1, 32, 16), (2, 3, 2, 2, 16, 16), (2, 3, 2, 2, 16, 24), (2, 3, 2, 2, 24, 32)]


def narrow(monkeypatch):
    """Let EfficientNet-Lite have four narrow stages of seven blocks and drawn weights, which trains in no time."""
    from sneakerlib.learning import backbones

    def fill(model, *_):
        rng = np.random.default_rng(0)
        for layer in (layer for layer in model.layers if "conv" in layer.name):
            kernel = layer.get_weights()[0]
            inputs = kernel.shape[0] * kernel.shape[1] * (1 if "depthwise" in layer.name else kernel.shape[2])
            layer.set_weights([rng.normal(0, (2 / inputs) ** 0.5, kernel.shape)])

    monkeypatch.setattr(backbones, "LITE_STAGES", SMALL)
    monkeypatch.setattr(backbones, "_fill", fill)


@pytest.fixture
def small_lites(monkeypatch):
    """Narrow EfficientNet-Lites, for one test."""
    narrow(monkeypatch)


@pytest.fixture(scope="module")
def narrow_lites():
    """The same for what a module's tests share."""
    with pytest.MonkeyPatch.context() as patch:
        narrow(patch)
        yield


@pytest.fixture(scope="session")
def served(table, tmp_path_factory):
    """A model folder worth serving: a real network, thresholds, training pictures to compare with."""
    from sneakerlib.learning import examples, model_folder, recipes

    folder = tmp_path_factory.mktemp("served") / "model"
    recipes.train(table, folder, recipes.Options(size=64), progress=False)
    examples.keep(model_folder.load(folder), table, progress=False)
    return folder

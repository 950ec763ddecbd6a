"""Pictures per second of EfficientNet-Lite0 at 224 pixels, in every engine that is installed, and how far each is off.

Run with `make bench`. Keras, SavedModel and LiteRT come with TensorFlow; OpenVINO is measured where it is installed
(pip install openvino), and so is ONNX Runtime (pip install onnxruntime tf2onnx).
"""

import importlib.util
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import tensorflow as tf

from sneakerlib.learning import backbones
from sneakerlib.learning import engine as engines

COUNT, ROUNDS, BATCH = 256, 3, 32
Way = Callable[[np.ndarray], np.ndarray]  # pictures to answers


def ways(folder: Path) -> dict[str, Way]:
    """Every way to run the network that is possible here, by name."""
    model = backbones.backbone()
    model.export(folder / "saved", verbose=False)
    saved = tf.saved_model.load(str(folder / "saved"))
    content = engines.export(model)
    engine = engines.LiteRT(content)
    found = {
        "Keras, batches of 32": batched(model.predict_on_batch),
        "SavedModel, batches of 32": batched(lambda batch: saved.serve(batch).numpy()),
        "LiteRT, one by one": lambda pictures: np.stack([engine(picture) for picture in pictures]),
        "LiteRT, every core": lambda pictures: np.stack(list(ThreadPoolExecutor(engine.lanes).map(engine, pictures))),
    }
    if importlib.util.find_spec("openvino"):
        import openvino

        for precision in ("f32", "bf16"):
            hints = {"INFERENCE_PRECISION_HINT": precision}
            compiled = openvino.compile_model(openvino.convert_model(str(folder / "saved")), "CPU", hints)
            found[f"OpenVINO {precision}, batches of 32"] = batched(lambda batch, run=compiled: run(batch)[0])
    if importlib.util.find_spec("onnxruntime") and importlib.util.find_spec("tf2onnx"):
        import onnxruntime

        model.export(folder / "model.onnx", format="onnx", verbose=False)
        session = onnxruntime.InferenceSession(str(folder / "model.onnx"))
        name = session.get_inputs()[0].name
        found["ONNX Runtime, batches of 32"] = batched(lambda batch: session.run(None, {name: batch})[0])
    return found


def batched(run: Way) -> Way:
    """The same in batches of 32 numbers between 0 and 255 with a fraction."""
    return lambda pictures: np.concatenate(
        [run(pictures[at : at + BATCH].astype(np.float32)) for at in range(0, len(pictures), BATCH)]
    )


def main() -> None:
    """Print a line per engine: the median of three rounds, taken in turns, and its ratio to Keras."""
    pictures = np.random.default_rng(0).integers(0, 256, (COUNT, 224, 224, 3), np.uint8)
    with tempfile.TemporaryDirectory() as folder:
        found = ways(Path(folder))
        answers = {name: way(pictures[:BATCH]) for name, way in found.items()}  # the first call compiles
        seconds = {name: [] for name in found}
        for _ in range(ROUNDS):
            for name, way in found.items():
                begun = time.monotonic()
                way(pictures)
                seconds[name].append(time.monotonic() - begun)
    first = next(iter(found))
    for name in found:
        spent = np.median(seconds[name])
        off = np.abs(answers[name] - answers[first]).max() / np.abs(answers[first]).max()
        ratio = np.median(seconds[first]) / spent
        print(f"{name:<28} {COUNT / spent:6.0f}/s  {ratio:4.1f} times Keras  answers differ by {off:.0e}")


if __name__ == "__main__":
    main()

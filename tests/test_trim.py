import numpy as np
import pytest
from PIL import Image

from sneakerlib import engines
from sneakerlib.quiet import keras
from sneakerlib.trim import Trim


def drawn(size: int = 100, box: tuple[int, int, int, int] = (30, 20, 80, 60)) -> np.ndarray:
    """A textured rectangle (left, top, right, bottom) on a border that is not quite plain."""
    rng = np.random.default_rng(0)
    picture = np.full((size, size, 3), (240, 238, 200), np.float32) + rng.integers(-5, 6, (size, size, 3))
    left, top, right, bottom = box
    picture[top:bottom, left:right] = rng.integers(0, 150, (bottom - top, right - left, 3))
    return picture.clip(0, 255)


def cut(picture: np.ndarray, box: tuple[float, float, float, float], size: int) -> np.ndarray:
    """What Pillow makes of a part of a picture."""
    return np.asarray(Image.fromarray(picture.astype(np.uint8)).resize((size, size), Image.BILINEAR, box=box))


@pytest.mark.parametrize("size", [24, 64, 130])
def test_what_stands_out_fills_the_picture_as_pillow_would_cut_it(size):
    one, other = drawn(), drawn(box=(0, 50, 40, 100))
    found = np.asarray(Trim(size)(np.stack([one, other])))
    assert np.abs(found[0] - cut(one, (28.5, 18.8, 81.5, 61.2), size)).max() <= 1.5  # 3 % of 50 and of 40 on each side
    assert np.abs(found[1] - cut(other, (0, 48.5, 41.2, 100), size)).max() <= 1.5
    assert Trim(size).compute_output_shape((None, 100, 100, 3)) == (None, size, size, 3)


@pytest.mark.parametrize("box", [(0, 0, 0, 0), (50, 50, 51, 51), (40, 40, 47, 47)])
def test_where_nothing_much_stands_out_all_stays(box):
    picture = drawn(box=box)
    assert np.abs(np.asarray(Trim(64)(picture[None]))[0] - cut(picture, (0, 0, 100, 100), 64)).max() <= 1.5


def test_a_thing_that_touches_the_border_does_not_become_the_border():
    picture = drawn(box=(0, 30, 100, 70))  # 40 % of the two sides
    found = np.asarray(Trim(64)(picture[None]))[0]
    assert np.abs(found - cut(picture, (0, 28.8, 100, 71.2), 64)).max() <= 1.5


def test_an_exported_network_trims_alike_and_the_layer_can_be_saved(tmp_path):
    inputs = keras.Input((100, 100, 3))
    network = keras.Model(inputs, Trim(48)(inputs))
    run = engines.engine(network, tmp_path)
    assert isinstance(run, engines.LiteRT)
    pictures = np.stack([drawn(), drawn(box=(0, 0, 0, 0))])
    wanted = network.predict_on_batch(pictures)
    assert np.abs(np.stack([run(each) for each in pictures]) - wanted).max() < 0.1
    network.save(tmp_path / "n.keras")
    assert np.array_equal(keras.models.load_model(tmp_path / "n.keras").predict_on_batch(pictures), wanted)

import numpy as np
import pytest
from threadpoolctl import threadpool_limits

from sneakerlib import catalog
from sneakerlib.review import neighbours


@pytest.fixture
def rows():
    """Twelve pictures of three classes, each class a direction; the last of each is the first one's twin."""
    files = [{"path": f"{label}{n}", "label": label, "sha256": f"{label}{n}"} for label in "abc" for n in range(4)]
    table = catalog.blank(files, "nowhere")
    return table.assign(group=[f"{row.label}{n % 3}" for n, row in zip([0, 1, 2, 3] * 3, table.itertuples())])


@pytest.fixture
def features():
    turn = np.deg2rad([0, 10, 25, 0, 90, 100, 115, 90, 180, 190, 205, 180])
    return np.stack([np.cos(turn), np.sin(turn)], axis=1) * np.arange(1, 13)[:, None]  # lengths say nothing


def test_the_nearest_of_a_class_are_named_but_not_twins_nor_the_picture(rows, features):
    assert neighbours.nearest(features, rows, "a0", "a", 3).path.tolist() == ["a1", "a2"]
    assert neighbours.nearest(features, rows, "a0", "b", 2).path.tolist() == ["b0", "b3"]
    assert neighbours.nearest(features, rows, "b2", "c", 1).path.tolist() == ["c0"]
    sound = rows.path.ne("b0").to_numpy()
    assert neighbours.nearest(features, rows, "a0", "b", 2, sound).path.tolist() == ["b3", "b1"]


def test_a_map_of_pictures_does_not_depend_on_the_number_of_threads():
    features = np.random.default_rng(0).normal(size=(400, 300)).astype(np.float32)
    places = []
    for threads in (1, 2, 3):
        with threadpool_limits(threads):
            places.append(neighbours.on_a_plane(features))
    assert places[0].shape == (400, 2)
    assert np.array_equal(places[0], places[1])
    assert np.array_equal(places[0], places[2])


def test_a_map_puts_pictures_that_are_alike_side_by_side():
    rng = np.random.default_rng(0)
    features = np.concatenate([rng.normal(centre, 1, (20, 50)) for centre in (0, 5, 10)])
    place = neighbours.on_a_plane(features)
    apart = np.linalg.norm(place[:, None] - place, axis=2) + np.diag(np.full(60, np.inf))
    assert (apart.argmin(axis=1) // 20 == np.arange(60) // 20).all()

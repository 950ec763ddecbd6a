import io
import shutil

import numpy as np
import pytest
from PIL import Image

from sneakerlib import InputError
from sneakerlib.learning import examples, model_folder
from sneakerlib.pictures import standard


def test_a_sketch_keeps_the_angle_between_long_vectors():
    rng = np.random.default_rng(1)
    shared, errors = rng.normal(size=20_000), []
    for _ in range(30):
        one, other = (shared + rng.uniform(0, 2) * rng.normal(size=20_000) for _ in range(2))
        exact = one @ other / np.linalg.norm(one) / np.linalg.norm(other)
        errors.append(examples.sketch(one) @ examples.sketch(other) - exact)
    assert np.std(errors) < 1.5 / examples.WIDTH**0.5
    assert len(examples.sketch(shared)) == examples.WIDTH


def test_a_short_vector_is_kept_as_it_is():
    assert examples.sketch(np.array([3.0, 4.0])).tolist() == [0.6, 0.8]
    assert examples.sketch(np.zeros(4)).tolist() == [0, 0, 0, 0]


def test_the_training_pictures_are_found_again_and_no_others(served, table, shoes):
    saved = model_folder.load(served)
    kept = examples.Examples(saved)
    train = table[table.split.eq("train") & table.issue.eq("")]
    assert kept.labels == train.label.tolist()
    for row in train.iloc[::9].itertuples():
        label, likeness, thumbnail = kept.nearest(saved.look(shoes / row.path), 1)[0]
        assert likeness == pytest.approx(1, abs=0.01)
        assert label == row.label
        assert thumbnail == standard(shoes / row.path, examples.THUMBNAIL)  # to the last byte
        assert max(Image.open(io.BytesIO(thumbnail)).size) == examples.THUMBNAIL


def test_without_training_pictures_or_with_a_damaged_file_one_line_says_so(served, table, tmp_path):
    shutil.copytree(served, tmp_path / "m")
    saved = model_folder.load(tmp_path / "m")
    with pytest.raises(InputError, match="no training pictures"):
        examples.keep(saved, table.assign(split="test"))
    (tmp_path / "m" / examples.FILE).write_bytes(b"no archive")
    with pytest.raises(InputError, match="is damaged: delete it"):
        examples.Examples(saved)

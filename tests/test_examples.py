import io
import shutil

import pytest
from PIL import Image

from sneakerlib import InputError
from sneakerlib.learning import examples, model_folder
from sneakerlib.pictures import standard


def test_the_training_pictures_are_found_again_and_no_others(served, table, shoes):
    saved = model_folder.load(served)
    kept = examples.Examples(saved)
    train = table[table.split.eq("train") & table.issue.eq("")]
    assert kept.labels == train.label.tolist()
    for row in train.iloc[::9].itertuples():
        label, likeness, thumbnail = kept.nearest(saved.look(shoes / row.path), 1)[0]
        assert likeness == pytest.approx(1, abs=1e-5)
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

import numpy as np
import pytest
from conftest import save

from sneakerlib import InputError, catalog
from sneakerlib.learning import pipeline
from sneakerlib.pictures import fit, open_rgb


def packed_file(cache):
    return next(cache.glob("pixels-*/pixels.npy"))


def test_the_cache_holds_what_decoding_gives(fresh, tmp_path):
    pixels = pipeline.pack(fresh, 24, tmp_path / "c", progress=False)
    assert isinstance(pixels.array, np.memmap)
    for path in fresh.path:
        assert np.array_equal(pixels.array[pixels.row[path]], fit(open_rgb(catalog.folder_of(fresh) / path, 24), 24))


def test_a_cache_that_fits_is_not_written_again(fresh, tmp_path):
    pipeline.pack(fresh, 24, tmp_path / "c", progress=False)
    before = packed_file(tmp_path / "c").stat().st_mtime_ns
    pipeline.pack(fresh, 24, tmp_path / "c", progress=False)
    assert packed_file(tmp_path / "c").stat().st_mtime_ns == before


def test_a_changed_picture_is_decoded_again(fresh, tmp_path):
    pipeline.pack(fresh, 24, tmp_path / "c", progress=False)
    save("red", catalog.folder_of(fresh) / fresh.path[3])
    pixels = pipeline.pack(fresh, 24, tmp_path / "c", progress=False)
    assert (pixels.array[pixels.row[fresh.path[3]]] == (255, 0, 0)).all()


def test_another_size_is_another_cache(fresh, tmp_path):
    assert pipeline.pack(fresh, 24, tmp_path / "c", progress=False).array.shape[1] == 24
    assert pipeline.pack(fresh, 16, tmp_path / "c", progress=False).array.shape[1] == 16


def test_a_damaged_cache_is_made_again(fresh, tmp_path):
    pipeline.pack(fresh, 24, tmp_path / "c", progress=False)
    packed_file(tmp_path / "c").write_bytes(b"half a file")
    assert pipeline.pack(fresh, 24, tmp_path / "c", progress=False).array.shape == (16, 24, 24, 3)


def test_pictures_set_aside_are_not_decoded(fresh, tmp_path):
    (catalog.folder_of(fresh) / fresh.path[0]).write_text("broken")
    with pytest.raises(InputError, match="cannot be read"):
        pipeline.pack(fresh, 24, tmp_path / "c", progress=False)
    assert not list((tmp_path / "c").iterdir())
    fresh.loc[0, "issue"] = "unreadable"
    assert fresh.path[0] not in pipeline.pack(fresh, 24, tmp_path / "c", progress=False).row


def test_an_epoch_shows_every_picture_once_in_an_order_of_the_seed(fresh, tmp_path):
    pixels = pipeline.pack(fresh, 8, tmp_path, progress=False)

    def epochs(seed):
        source = pipeline.Batches(fresh, pixels, ["one", "two"], batch_size=5, shuffle=True, seed=seed)
        for _ in range(2):
            source.on_epoch_begin()
            yield np.concatenate([pictures for pictures, _ in source])

    (first, second), (again, _), (other, _) = epochs(0), epochs(0), epochs(1)
    assert np.array_equal(first, again)
    assert not np.array_equal(first, second)
    assert not np.array_equal(first, other)
    everything = sorted(picture.tobytes() for picture in pixels.array[:].astype(np.float32))
    assert (
        sorted(picture.tobytes() for picture in first) == sorted(picture.tobytes() for picture in second) == everything
    )


def test_targets_follow_the_given_class_order(fresh, tmp_path):
    pixels = pipeline.pack(fresh, 8, tmp_path, progress=False)
    batch, targets = pipeline.batches(fresh, pixels, labels=["two", "one"], batch_size=16)[0]
    assert batch.dtype == np.float32
    assert targets[:8].tolist() == [[0, 1]] * 8
    assert targets[8:].tolist() == [[1, 0]] * 8


def test_only_training_pictures_are_shuffled(fresh, tmp_path):
    split = catalog.split(fresh, val=0.25, test=0.25)
    pixels = pipeline.pack(split, 8, tmp_path, progress=False)
    assert pipeline.batches(split, pixels, "train").shuffle
    assert not pipeline.batches(split, pixels, "val").shuffle


def test_an_empty_split_and_an_unknown_label_are_named(fresh, tmp_path):
    pixels = pipeline.pack(fresh, 8, tmp_path, progress=False)
    with pytest.raises(InputError, match="no usable pictures in split val"):
        pipeline.batches(fresh, pixels, "val")
    with pytest.raises(InputError, match="does not know two: it knows one"):
        pipeline.batches(fresh, pixels, labels=["one"])

"""What it saves to standardise phone-sized pictures once, before they are decoded for training again and again.

Run with `make bench`. Both sides decode the same 120 pictures to 128 pixels, as the first epoch of a training does.
"""

import tempfile
import time
from pathlib import Path

import numpy as np

from sneakerlib import catalog
from sneakerlib.cleaning.standardise import standardise
from sneakerlib.learning import pipeline
from sneakerlib.sample.drawing import MODELS
from sneakerlib.sample.studio import photograph


def main() -> None:
    """Print seconds and the ratio, three times."""
    with tempfile.TemporaryDirectory() as folder:
        for kind in range(2):
            (Path(folder) / "phone" / MODELS[kind].name).mkdir(parents=True)
            for number in range(60):
                picture = photograph(MODELS[kind], np.random.default_rng([kind, number])).resize((1600, 1200))
                picture.save(Path(folder, "phone", MODELS[kind].name, f"{number}.jpg"), quality=90)
        originals = catalog.read(Path(folder, "phone"))
        begun = time.monotonic()
        copies = standardise(originals, Path(folder, "small"), progress=False)
        print(f"{len(copies)} pictures of 1600 x 1200 standardised in {time.monotonic() - begun:.2f} s")
        for turn in range(3):
            seconds = []
            for table in (originals, copies):
                begun = time.monotonic()
                pipeline.pack(table, 128, Path(folder, f"cache{turn}{len(seconds)}"), progress=False)
                seconds.append(time.monotonic() - begun)
            print(
                f"decode originals {seconds[0]:.2f} s   copies {seconds[1]:.2f} s   ratio {seconds[0] / seconds[1]:.1f}"
            )


if __name__ == "__main__":
    main()

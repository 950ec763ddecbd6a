"""How well wrong labels are found among real photographs: some are flipped on purpose, on top of those that are there.

python benchmarks/labels.py IMAGES [CLASSES]; the classes are the first so many (10 unless told otherwise), in the order
of the numbers in their names. Whole groups of twins are flipped, to a class drawn by lot, with three seeds. Average
precision is that of the ranking by `review.suspects`' quality; labels that were wrong before count as false alarms, so
the true figure is higher.
"""

import sys
import time

import numpy as np
import pandas as pd
from sklearn.metrics import average_precision_score

from sneakerlib import catalog
from sneakerlib.cleaning import audit
from sneakerlib.learning import engines, networks
from sneakerlib.review import doubts, review

SHARES, SEEDS = (0.05, 0.10, 0.20), (0, 1, 2)


def flipped(rows: pd.DataFrame, share: float, seed: int) -> pd.DataFrame:
    """The same pictures, some of whose groups carry another label; column `flipped` says which."""
    rng = np.random.default_rng(seed)
    groups, labels = rows.group.unique(), np.array(sorted(set(rows.label)))
    chosen = rng.choice(groups, round(share * len(groups)), replace=False)
    step = dict(zip(chosen, rng.integers(1, len(labels), len(chosen)), strict=True))
    by = rows.group.map(step).fillna(0).astype(int).to_numpy()
    numbers = (catalog.class_numbers(rows.label, list(labels)) + by) % len(labels)
    return rows.assign(label=labels[numbers], flipped=by > 0)


def main(images: str, count: str = "10") -> None:
    """Print a line per share and kind of model: mean and range over the seeds."""
    whole = catalog.read(images)
    names = catalog.in_order(whole.label)
    some = whole[whole.label.isin(names[: int(count)])].reset_index(drop=True)
    rows = catalog.usable(audit.apply(some, audit.audit(some, progress=False, features=False))).reset_index(drop=True)
    begun = time.monotonic()
    network = networks.features(networks.second_order(networks.backbone(), ["a", "b"], regions=False))
    moments = engines.features(rows, network, progress=False)
    plain = engines.features(rows, progress=False)
    print(f"{len(rows)} pictures of {count} classes described in {time.monotonic() - begun:.0f} s", flush=True)
    judges = {
        "closed form, leaving one out": lambda table: review.leave_one_out(moments, table),
        "logistic regression, out of fold": lambda table: review.out_of_fold(plain, table),
    }
    for share in SHARES:
        tables = [flipped(rows, share, seed) for seed in SEEDS]
        for name, judge in judges.items():
            begun, found = time.monotonic(), []
            for table in tables:
                p = judge(table)
                bad = 1 - doubts.quality(table.label, p.to_numpy(), list(p))
                found.append(average_precision_score(table.flipped, bad))
            seconds = (time.monotonic() - begun) / len(SEEDS)
            print(
                f"{share:4.0%} flipped: average precision {np.mean(found):.3f} ({min(found):.3f} to {max(found):.3f}), "
                f"{seconds:.0f} s: {name}",
                flush=True,
            )


if __name__ == "__main__":
    main(*sys.argv[1:])

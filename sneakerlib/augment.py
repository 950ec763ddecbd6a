"""Random changes that leave a shoe the same shoe. They run in training only and are no part of the saved model."""

from sneakerlib.quiet import keras

layers = keras.layers


def standard(seed: int = 0, strength: float = 1.0) -> keras.Sequential:
    """Flip, turn, zoom, shift and relight pictures of 0 to 255.

    Args:
        seed: Makes the changes reproducible. Defaults to 0.
        strength: Scales every change but the flip; 0 leaves only the flip. Defaults to 1: up to 29 degrees, a quarter
            of the size and a tenth of a shift, near the classic recipe of the Keras cat-and-dog tutorial (rotation 30,
            zoom .2, shift .2, flip).
    """
    return keras.Sequential(
        [
            layers.RandomFlip("horizontal", seed=seed),
            layers.RandomRotation(0.08 * strength, fill_mode="nearest", seed=seed + 1),
            layers.RandomZoom(0.25 * strength, fill_mode="nearest", seed=seed + 2),
            layers.RandomTranslation(0.1 * strength, 0.1 * strength, fill_mode="nearest", seed=seed + 3),
            layers.RandomBrightness(0.15 * strength, value_range=(0, 255), seed=seed + 4),
            layers.RandomContrast(0.2 * strength, value_range=(0, 255), seed=seed + 5),
        ],
        name="augmentation",
    )

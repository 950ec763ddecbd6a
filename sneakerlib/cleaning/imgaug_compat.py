"""imgaug 0.4.0 on NumPy 2: `from sneakerlib.cleaning.imgaug_compat import imgaug, iaa`.

imgaug is no longer kept up. It asks NumPy for a table of types that NumPy 2 has dropped, and hands OpenCV maps that
NumPy 2 has made float64 (NEP 50). Both are mended here, before anything else can import it.
"""

import warnings

import numpy as np

if not hasattr(np, "sctypes"):
    np.sctypes = {  # noqa: NPY201 - put back, not used
        "int": [np.int8, np.int16, np.int32, np.int64],
        "uint": [np.uint8, np.uint16, np.uint32, np.uint64],
        "float": [np.float16, np.float32, np.float64, np.longdouble],
    }

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # remarks on its own old syntax
    import imgaug
    from imgaug import augmenters as iaa
    from imgaug.augmenters import geometric

_shift_maps = geometric.ElasticTransformation._generate_shift_maps.__func__


def _float32_shift_maps(cls, *args, **kwargs):
    return tuple(shifts.astype(np.float32, copy=False) for shifts in _shift_maps(cls, *args, **kwargs))


geometric.ElasticTransformation._generate_shift_maps = classmethod(_float32_shift_maps)

__all__ = ["iaa", "imgaug"]

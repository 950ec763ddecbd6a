"""Cut a picture to what stands out from its border, inside a network: a shoe then fills what the network sees."""

from sneakerlib.quiet import keras

layers, ops = keras.layers, keras.ops

# Set once, by judgement, and not tuned.
APART = 20  # of 255: so far from the border's colour, in one of three channels, stands out; JPEG noise is weaker
ENOUGH = 0.01  # of the pixels in a row or column: fewer are dust
MARGIN = 0.03  # of what is left, is added on every side
LEAST = 0.1  # of the picture: what is smaller is not what the picture is about


@keras.saving.register_keras_serializable("sneakerlib")
class Trim(layers.Layer):
    """Cut away a plain border and bring the rest to a size, its sides stretched as needed.

    (batch, height, width, 3) of 0 to 255 becomes (batch, size, size, 3). The border's colour is the median of the
    outermost pixels. Where nothing stands out from it, and along a side on which less than a tenth does, all stays.
    Pixels are averaged as in Pillow's bilinear `resize`: by products of matrices, which every engine can run.

    Args:
        size: Height and width of the answer in pixels.
    """

    def __init__(self, size: int, **options):
        super().__init__(**options)
        self.size = size

    def call(self, pictures):
        """Find the rows and columns that stand out, and average them into fewer or more."""
        height, width = pictures.shape[1:3]
        edge = [pictures[:, 0], pictures[:, -1], pictures[:, :, 0], pictures[:, :, -1]]
        edge = ops.transpose(ops.concatenate(edge, axis=1), (0, 2, 1))
        median = ops.top_k(edge, height + width)[0][:, None, None, :, -1]  # half of the edge is brighter
        apart = ops.cast(ops.max(ops.abs(pictures - median), axis=-1) > APART, pictures.dtype)
        down, across = (self._weights(ops.mean(apart, axis=axis) > ENOUGH) for axis in (2, 1))
        rows = ops.matmul(down, ops.reshape(pictures, (-1, height, width * 3)))
        rows = ops.transpose(ops.reshape(rows, (-1, self.size, width, 3)), (0, 2, 1, 3))
        both = ops.matmul(across, ops.reshape(rows, (-1, width, self.size * 3)))
        return ops.transpose(ops.reshape(both, (-1, self.size, self.size, 3)), (0, 2, 1, 3))

    def _weights(self, occupied):
        """What each row (or column) of the picture counts in each of the answer: (batch, size, rows)."""
        count = occupied.shape[1]
        places = ops.arange(count, dtype="float32")
        first = ops.min(ops.where(occupied, places, count), axis=1, keepdims=True)
        last = ops.max(ops.where(occupied, places, -1.0), axis=1, keepdims=True) + 1
        whole = last - first < LEAST * count
        margin = MARGIN * (last - first)
        low = ops.where(whole, 0.0, ops.maximum(first - margin, 0))
        high = ops.where(whole, count, ops.minimum(last + margin, count))
        step = (high - low) / self.size
        centres = low + (ops.arange(self.size, dtype="float32") + 0.5) * step - 0.5
        reach = ops.maximum(step, 1)[..., None]
        weights = ops.relu(1 - ops.abs(places - centres[..., None]) / reach)
        return weights / ops.sum(weights, axis=2, keepdims=True)

    def compute_output_shape(self, shape):
        """See above."""
        return shape[0], self.size, self.size, 3

    def get_config(self):
        """See above."""
        return super().get_config() | {"size": self.size}

"""What a network looked at when it named a picture."""

import numpy as np
from PIL import Image

from sneakerlib import InputError, models
from sneakerlib.quiet import keras


def heat_map(model: keras.Model, picture: np.ndarray, number: int | None = None) -> np.ndarray:
    """Where the evidence for a class lies, by Grad-CAM.

    How strongly does the class's logit react to each channel of the last feature map? The channels, weighted by that
    and summed up, light up where the class has been recognised. Of several networks side by side, the first is asked,
    about the whole picture.

    Args:
        model: From `models`, with feature maps; on TensorFlow.
        picture: Array of shape (size, size, 3), 0 to 255, of the model's size.
        number: Of the class. Defaults to the likeliest.

    Returns:
        Array of shape (size, size): 0 where nothing speaks for the class, 1 where most does; all 0 if nothing at all.

    Raises:
        InputError: If the model has no feature maps, or Keras does not run on TensorFlow.

    Source: Selvaraju et al. 2017, "Grad-CAM: Visual Explanations from Deep Networks via Gradient-based Localization".
    """
    if keras.backend.backend() != "tensorflow":
        raise InputError("heat maps are made with TensorFlow: set KERAS_BACKEND=tensorflow")
    import tensorflow as tf

    seen = picture[None].astype(np.float32)
    number = int(model.predict_on_batch(seen)[0].argmax()) if number is None else number
    body = models.features(model)
    kernel = model.get_layer("logits").get_weights()[0][:, number]
    inside = [layer for layer in body.layers if isinstance(layer, keras.Model)]
    if inside:  # a view of one network among several: its share of the logit is its share of the head
        body = inside[0]
        kernel = kernel[: body.output.shape[-1]]
    if not any(isinstance(layer, keras.layers.Conv2D) for layer in body.layers):
        raise InputError(f"{model.name} has no feature maps to look at: it has no convolutions")
    size, cut = body.input_shape[1], list(models.late_maps(body).values())[:2]
    seen = tf.image.resize(seen, (size, size))
    maps = keras.Model(body.input, cut)(seen)
    with tf.GradientTape() as tape:
        tape.watch(maps)
        logit = tf.linalg.matvec(keras.Model(cut, body.output)(maps), kernel)
    last, slope = maps[0], tape.gradient(logit, maps[0])
    heat = tf.nn.relu(tf.reduce_sum(last * tf.reduce_mean(slope, (1, 2), keepdims=True), axis=-1))[0].numpy()
    side = picture.shape[0]
    heat = np.asarray(Image.fromarray(heat / max(float(heat.max()), 1e-12)).resize((side, side), Image.BILINEAR))
    return heat.clip(0, 1)

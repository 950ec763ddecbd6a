"""Photograph the invented shoe models: colours, view, background, light, camera, and what a search adds to them."""

import numpy as np
from PIL import Image, ImageDraw, ImageFilter, ImageFont, ImageOps

from sneakerlib.sample.drawing import Model, side_view, sole_view
from sneakerlib.sample.sheet import spline

VIEWS = {"side": 0.62, "three-quarter": 0.26, "sole": 0.12}  # how often each is seen, roughly as in an image search
GROUNDS = {"white": 0.28, "plain": 0.16, "gradient": 0.2, "concrete": 0.14, "wood": 0.12, "carpet": 0.1}


def _colourway(rng: np.random.Generator) -> dict:
    """Random colours per part; neighbours differ in brightness, or the model's lines could not be seen."""
    base = rng.uniform(0.12, 0.95)
    far = (base + rng.uniform(0.35, 0.6) * (1 if base < 0.5 else -1)) if rng.random() < 0.85 else base
    sole = 0.92 if rng.random() < 0.5 else rng.uniform(0.15, 0.9)
    values = {"base": base, "accent": far, "trim": 0.5 * (base + far) + rng.uniform(-0.12, 0.12), "sole": sole}
    values |= {"outsole": sole - 0.45 if sole > 0.55 else sole + 0.4, "tongue": rng.uniform(0.2, 0.9)}
    values |= {"lace": 0.95 if base < 0.6 else rng.uniform(0.05, 0.95), "lining": rng.uniform(0.15, 0.5)}
    grey = 0.25 if rng.random() < 0.35 else 1.0
    return {part: _tint(rng, np.clip(v, 0.06, 0.97), grey * rng.uniform(0, 0.85)) for part, v in values.items()}


def _tint(rng: np.random.Generator, value: float, chroma: float) -> tuple:
    """A colour of any hue, of this brightness and colourfulness."""
    wheel = np.clip(np.abs((rng.random() * 6 + np.array([0, 4, 2])) % 6 - 3) - 1, 0, 1)
    return tuple((255 * value * (1 - chroma * (1 - wheel))).astype(int).tolist())


def _background(rng: np.random.Generator, width: int, height: int) -> np.ndarray:
    """What lies behind: (height, width, 3), 0 to 1."""

    def noise(cells_x: int, cells_y: int) -> np.ndarray:
        small = Image.fromarray(rng.integers(0, 256, (cells_y, cells_x), np.uint8))
        return np.asarray(small.resize((width, height), Image.BICUBIC), np.float32)[..., None] / 255 - 0.5

    kind = rng.choice(list(GROUNDS), p=list(GROUNDS.values()))
    if kind == "white":
        return np.full((height, width, 3), rng.uniform(0.93, 1.0), np.float32)
    first, second = rng.uniform(0.15, 0.95, (2, 3))
    first, second = (0.5 * c + 0.5 * c.mean() for c in (first, second))  # rooms are less colourful than shoes
    ground = np.broadcast_to(first, (height, width, 3)).astype(np.float32)
    if kind == "gradient":
        ramp = np.linspace(0, 1, height)[:, None, None] ** rng.uniform(0.5, 2)
        ground = ground * (1 - ramp) + second * ramp
    elif kind == "concrete":
        ground = ground + 0.12 * noise(9, 7) + 0.1 * noise(width // 3, height // 3)
    elif kind == "wood":
        planks = np.repeat(rng.uniform(-0.12, 0.12, 8), -(-height // 8))[:height, None, None]
        ground = ground * (0.9, 0.75, 0.6) + planks + 0.12 * noise(6, height // 4)
    elif kind == "carpet":
        checks = (np.indices((height, width)) // int(rng.integers(6, 22))).sum(0)[..., None] % 2
        ground = ground + 0.14 * (checks - 0.5) + 0.12 * noise(width // 2, height // 2)
    return np.clip(ground, 0, 1)


def _three_quarter(near: Image.Image, turn: float) -> Image.Image:
    """Turn the side view away from the camera: shorter, with the far side showing behind."""
    far = Image.fromarray((np.asarray(near) * (0.45, 0.45, 0.45, 1)).astype(np.uint8))
    thick = Image.new("RGBA", near.size)
    for step in range(10, 0, -1):
        shift = step * turn * 5
        thick.alpha_composite(far, (round(shift), 0), (0, round(shift * 0.55)))
    thick.alpha_composite(near)
    (width, height), lean = near.size, 0.22 * turn
    corners = [(0, height * lean * 0.8), (0, height * (1 - 0.25 * lean)), (width, height), (width, 0)]  # heel: farther
    thick = thick.transform(near.size, Image.PERSPECTIVE, _perspective(corners, width, height), Image.BICUBIC)
    return thick.resize((int(width * (1 - 0.3 * turn)), height), Image.BICUBIC)


def _perspective(corners: list, w: int, h: int) -> list[float]:
    """Coefficients that map the whole sheet onto four corners (upper left, lower left, lower right, upper right)."""
    rows, values = [], []
    for (x, y), (u, v) in zip(corners, [(0, 0), (0, h), (w, h), (w, 0)], strict=True):
        rows += [[x, y, 1, 0, 0, 0, -u * x, -u * y], [0, 0, 0, x, y, 1, -v * x, -v * y]]
        values += [u, v]
    return np.linalg.solve(np.array(rows, float), values).tolist()


def photograph(model: Model, rng: np.random.Generator) -> Image.Image:
    """One picture of the model: RGB, 200 to 340 pixels on the longer side, as the random generator wills."""
    view = rng.choice(list(VIEWS), p=list(VIEWS.values()))
    shoe = (sole_view if view == "sole" else side_view)(model).coloured(_colourway(rng))
    if view == "three-quarter":
        shoe = _three_quarter(shoe, rng.uniform(0.5, 1.0))
    if rng.random() < 0.5:
        shoe = shoe.transpose(Image.FLIP_LEFT_RIGHT)
    shoe = shoe.rotate(rng.normal(0, 9) if view != "sole" else rng.uniform(-80, 80), Image.BICUBIC, expand=True)
    shoe = shoe.crop(shoe.getbbox())

    longer = int(rng.integers(200, 341))
    width, height = (longer, int(longer / rng.choice([1.0, 1.25, 1.33, 1.5])))
    if rng.random() < 0.12:
        width, height = height, width
    ground = _background(rng, width, height)
    scale = min(width / shoe.width, height / shoe.height) * rng.uniform(0.82, 1.1)
    shoe = shoe.resize((max(8, int(shoe.width * scale)), max(8, int(shoe.height * scale))), Image.LANCZOS)
    left = int((width - shoe.width) * rng.uniform(0.3, 0.7))
    upper = int((height - shoe.height) * rng.uniform(0.35, 0.75))
    layer = Image.new("RGBA", (width, height))
    layer.paste(shoe, (left, upper))
    cover = np.asarray(layer, np.float32)[..., 3:] / 255

    slant = (1, rng.uniform(-0.15, 0.15), 0, 0, 1, -height * 0.03)
    shadow = layer.getchannel("A").transform((width, height), Image.AFFINE, slant)
    shadow = np.asarray(shadow.filter(ImageFilter.GaussianBlur(longer / 40)), np.float32)[..., None] / 255
    scene = ground * (1 - rng.uniform(0.15, 0.55) * shadow)
    scene = scene * (1 - cover) + np.asarray(layer, np.float32)[..., :3] / 255 * cover
    cast = rng.normal(1, 0.05, 3) * rng.uniform(0.8, 1.15)  # white balance and exposure
    scene = np.clip((scene - 0.5) * rng.uniform(0.8, 1.15) + 0.5, 0, 1) * cast
    scene = scene + rng.normal(0, rng.uniform(0, 0.02), scene.shape)
    picture = Image.fromarray((np.clip(scene, 0, 1) * 255).astype(np.uint8))
    draw = ImageDraw.Draw(picture)
    if rng.random() < 0.12:  # something in front of it
        x, y, size = rng.uniform(0, width), rng.uniform(0, height), longer * rng.uniform(0.1, 0.2)
        ink = tuple(rng.integers(0, 256, 3).tolist())
        draw.rounded_rectangle((x - size, y - size / 2, x + size, y + size / 2), size / 3, fill=ink)
    if rng.random() < 0.12:  # a shop's watermark
        text = str(rng.choice(["SNEAKERSHOP", "solefinder.example", "KICKS24", "FOR SALE"]))
        place = (rng.uniform(0, width * 0.5), rng.uniform(0, height * 0.85))
        grey = (int(rng.integers(120, 256)),) * 3
        draw.text(place, text, fill=grey, font=ImageFont.load_default(longer / 14))
    if rng.random() < 0.2:
        picture = picture.filter(ImageFilter.GaussianBlur(rng.uniform(0.4, 1.4)))
    return picture


def darkened(picture: Image.Image, rng: np.random.Generator) -> Image.Image:
    """The same, taken in the evening: its brightest spots at 15 to 25 % of the light that a picture can hold."""
    light = np.asarray(picture, np.float32)
    light = light * 255 * rng.uniform(0.15, 0.25) / np.percentile(light, 99.5) + rng.normal(0, 2, light.shape)
    return Image.fromarray(light.clip(0, 255).astype(np.uint8))


def out_of_focus(picture: Image.Image, rng: np.random.Generator) -> Image.Image:
    """The same, taken with a flash from too near: blurred, bright in the middle and dark around."""
    picture = ImageOps.autocontrast(
        picture.filter(ImageFilter.GaussianBlur(rng.uniform(0.02, 0.03) * max(picture.size)))
    )
    x, y = (np.linspace(-1, 1, size) for size in picture.size)
    flash = 1.2 - (0.5 * (x**2 + y[:, None] ** 2)) ** 0.75
    return Image.fromarray((np.asarray(picture) * flash[..., None]).clip(0, 255).astype(np.uint8))


def off_topic(rng: np.random.Generator) -> Image.Image:
    """A picture that an image search returns beside the shoes: a box, a T-shirt, a cap or a poster."""
    width, height = (int(v) for v in rng.integers(200, 320, 2))
    picture = Image.fromarray((_background(rng, width, height) * 255).astype(np.uint8))
    draw = ImageDraw.Draw(picture)
    ink, paper = (tuple(int(v) for v in rng.integers(low, low + 100, 3)) for low in (0, 150))

    def shape(points: list, fill: tuple) -> None:
        draw.polygon([(x * width, y * height) for x, y in points], fill=fill, outline=ink)

    kind = rng.choice(["box", "shirt", "cap", "poster"])
    if kind == "box":
        shape([(0.15, 0.4), (0.6, 0.5), (0.6, 0.9), (0.15, 0.78)], paper)
        shape([(0.6, 0.5), (0.88, 0.36), (0.88, 0.72), (0.6, 0.9)], tuple(int(v * 0.7) for v in paper))
        shape([(0.15, 0.4), (0.45, 0.28), (0.88, 0.36), (0.6, 0.5)], tuple(int(v * 0.9) for v in paper))
    elif kind == "shirt":
        half = [(0.42, 0.15), (0.3, 0.18), (0.1, 0.38), (0.2, 0.48), (0.3, 0.4), (0.3, 0.9)]
        shape(half + [(1 - x, y) for x, y in reversed(half)], paper)
    elif kind == "cap":
        shape(spline([(0.2, 0.6), (0.25, 0.35), (0.45, 0.22), (0.65, 0.35), (0.7, 0.6)]), paper)
        shape(spline([(0.6, 0.56), (0.95, 0.62), (0.9, 0.7), (0.55, 0.66)]), ink)
    else:
        shape([(0.12, 0.06), (0.88, 0.06), (0.88, 0.94), (0.12, 0.94)], paper)
        font = ImageFont.load_default(height / 8)
        for line, text in enumerate(["SUMMER", "SALE", f"-{rng.integers(2, 8)}0 %"]):
            draw.text((width * 0.2, height * (0.18 + 0.22 * line)), text, fill=ink, font=font)
    return picture

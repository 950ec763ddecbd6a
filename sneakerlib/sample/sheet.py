"""A small drawing kit: curves, and a sheet on which a shoe lies in layers, to be coloured again and again."""

import numpy as np
from PIL import Image, ImageChops, ImageDraw, ImageFilter

UNIT = 340  # pixels per shoe length while drawing: more than in most pictures, so that shrinking smooths the edges
SHEET = (int(1.3 * UNIT), int(1.05 * UNIT))  # width and height of the sheet that one shoe is drawn on


def spline(points: list, steps: int = 10, closed: bool = True) -> list[tuple[float, float]]:
    """Smooth curve through the points (Catmull-Rom), as a list of points."""
    p = np.asarray(points, float)
    p = np.vstack([p[-1:], p, p[:2]]) if closed else np.vstack([p[:1], p, p[-1:]])
    a, b, c, d = (p[i : len(p) - 3 + i, None] for i in range(4))
    t = np.linspace(0, 1, steps, endpoint=False)[None, :, None]
    curve = b + 0.5 * t * (c - a + t * (2 * a - 5 * b + 4 * c - d + t * (3 * (b - c) + d - a)))
    return [tuple(point) for point in curve.reshape(-1, 2)] + ([] if closed else [tuple(p[-1])])


def circle(x: float, y: float, radius: float, corners: int = 40) -> list:
    """Outline of a circle."""
    turn = np.linspace(0, 2 * np.pi, corners)
    return list(zip(x + radius * np.cos(turn), y + radius * np.sin(turn), strict=True))


class Sheet:
    """A transparent sheet in shoe coordinates: x from heel (0) to toe (1), y from the ground (0) up.

    Areas are grey pictures as large as the sheet: 255 where the area is, 0 elsewhere. A layer is the name of a colour
    and the area that gets it; which colour that is, `coloured` says.
    """

    def __init__(self):
        self.layers = []
        self.alpha = Image.new("L", SHEET)

    def area(self, *outlines: list, width: float = 0) -> Image.Image:
        """Area inside the outlines or, with a `width`, along them."""
        image = Image.new("L", SHEET)
        draw = ImageDraw.Draw(image)
        for outline in outlines:
            pixels = [((x + 0.15) * UNIT, SHEET[1] - (y + 0.12) * UNIT) for x, y in outline]
            if width:
                draw.line(pixels, fill=255, width=max(1, round(width * UNIT)), joint="curve")
            else:
                draw.polygon(pixels, fill=255)
        return image

    def mix(self, colour: str, amount: Image.Image) -> None:
        """Mix a colour into what lies there: 0 not at all, 255 covers it."""
        if box := amount.getbbox():  # most areas are small
            self.layers.append((colour, box, amount.crop(box)))

    def paint(self, area: Image.Image, colour: str, within: Image.Image | None = None) -> None:
        """Cover an area, or the part of it within another one, with the colour of a part of the shoe."""
        area = ImageChops.multiply(area, within) if within else area
        self.mix(colour, area)
        self.alpha = ImageChops.lighter(self.alpha, area)

    def darken(self, area: Image.Image, amount: float) -> None:
        """Mix black into an area; `amount` from 0 to 1."""
        self.mix("black", area.point(lambda value: int(value * amount)))

    def relief(self, area: Image.Image, colour: str, within: Image.Image) -> None:
        """Paint a piece of leather that lies on top: a dark seam around it, a thread beside the seam."""
        area = ImageChops.multiply(area, within)
        edge = area.filter(ImageFilter.GaussianBlur(UNIT / 120))
        self.darken(ImageChops.multiply(ImageChops.subtract(edge, area), within), 0.9)
        self.paint(area, colour)
        thread = edge.point(lambda value: max(0, 255 - abs(value - 204) * 12))
        self.darken(ImageChops.multiply(thread, area), 0.25)

    def shade(self, area: Image.Image, roundness: float) -> None:
        """Make a flat area look round: darker towards its edges and its underside, a soft light above."""
        depth = area.filter(ImageFilter.GaussianBlur(roundness))
        rim = ImageChops.invert(depth.point(lambda value: min(255, max(0, 2 * value - 230))))
        self.darken(ImageChops.multiply(rim, area), 0.38)
        lower = ImageChops.offset(depth, 0, round(roundness * 0.8))  # the same shape, lower: the difference is the rim
        above = ImageChops.multiply(ImageChops.subtract(depth, lower), area)
        self.mix("white", above.point(lambda value: value // 3))
        self.darken(ImageChops.multiply(ImageChops.subtract(lower, depth), area), 0.35)

    def coloured(self, colours: dict) -> Image.Image:
        """The shoe in these colours, by the names of its parts; around it the picture is transparent."""
        picture = Image.new("RGB", SHEET)
        for name, box, amount in self.layers:
            picture.paste(colours.get(name, name), box, amount)
        picture.putalpha(self.alpha)
        return picture

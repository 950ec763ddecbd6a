"""A small drawing kit: curves, and a sheet that is painted with areas, seams and shade."""

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


class Sheet:
    """A transparent sheet in shoe coordinates: x from heel (0) to toe (1), y from the ground (0) up.

    Areas are grey pictures as large as the sheet: 255 where the area is, 0 elsewhere.
    """

    def __init__(self, colours: dict):
        self.colours = colours
        self.picture = Image.new("RGB", SHEET)
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

    def discs(self, centres: list, radius: float) -> Image.Image:
        """Area of discs of one radius."""
        return self.area(*[circle(x, y, radius, 14) for x, y in centres])

    def paint(self, area: Image.Image, colour: str) -> None:
        """Cover an area with a colour of the colourway, given by the name of its part."""
        self._mix(self.colours[colour], area)
        self.alpha = ImageChops.lighter(self.alpha, area)

    def _mix(self, colour: tuple | str, amount: Image.Image) -> None:
        if box := amount.getbbox():  # most areas are small: pasting only their box is four times faster
            self.picture.paste(colour, box, amount.crop(box))

    def darken(self, area: Image.Image, amount: float) -> None:
        """Mix black into an area; `amount` from 0 to 1."""
        self._mix("black", area.point(lambda value: int(value * amount)))

    def relief(self, area: Image.Image, colour: str, inside: Image.Image) -> None:
        """Paint a piece of leather that lies on top: a dark seam around it, a thread beside the seam."""
        area = ImageChops.multiply(area, inside)
        edge = area.filter(ImageFilter.GaussianBlur(UNIT / 120))
        self.darken(ImageChops.multiply(ImageChops.subtract(edge, area), inside), 0.9)
        self.paint(area, colour)
        thread = edge.point(lambda value: max(0, 255 - abs(value - 204) * 12))
        self.darken(ImageChops.multiply(thread, area), 0.25)

    def shade(self, area: Image.Image, roundness: float) -> None:
        """Make a flat area look round: darker towards its edges and its underside, a soft light above."""
        depth = area.filter(ImageFilter.GaussianBlur(roundness))
        self.darken(
            ImageChops.multiply(ImageChops.invert(depth.point(lambda v: min(255, max(0, 2 * v - 230)))), area), 0.38
        )
        lower = ImageChops.offset(depth, 0, round(roundness * 0.8))  # the same shape, lower: the difference is the rim
        rim = ImageChops.multiply(ImageChops.subtract(depth, lower), area)
        self._mix("white", rim.point(lambda value: value // 3))
        self.darken(ImageChops.multiply(ImageChops.subtract(lower, depth), area), 0.35)

    def cut_out(self) -> Image.Image:
        """What was painted, as a picture with a transparent surrounding."""
        return Image.merge("RGBA", (*self.picture.split(), self.alpha))


def circle(x: float, y: float, radius: float, corners: int = 40) -> list:
    """Outline of a circle."""
    turn = np.linspace(0, 2 * np.pi, corners)
    return list(zip(x + radius * np.cos(turn), y + radius * np.sin(turn), strict=True))


def star(x: float, y: float, radius: float) -> list:
    """Outline of a star with five points."""
    angles = np.linspace(0, 2 * np.pi, 11)[:-1] + np.pi / 2
    radii = np.where(np.arange(10) % 2, 0.42, 1.0) * radius
    return list(zip(x + radii * np.cos(angles), y + radii * np.sin(angles)))

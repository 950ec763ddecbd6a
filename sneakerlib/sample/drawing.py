"""Draw photograph-like pictures of invented shoe models, so that everything here runs without a download.

What belongs to a model (silhouette, sole, toe cap, lacing, panel, heel, tread) is fixed in `MODELS`. What belongs to a
photograph (colours, view, background, light, camera) is drawn at random for each picture: colour says nothing about the
model, exactly as with real sneakers.
"""

import math
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageChops

from sneakerlib.sample.sheet import Sheet, circle, spline


class Model(NamedTuple):
    """What all pictures of one shoe model share. Heights are fractions of the shoe's length."""

    name: str
    collar: float
    toe: float
    sole: str
    cap: str
    lacing: str
    panel: str
    heel: str
    tread: str


MODELS = [
    Model("aero", 0.34, 0.17, "wedge", "none", "laces", "stripes", "tab", "bars"),
    Model("bolt", 0.62, 0.20, "flat", "cap", "laces", "ring", "counter", "dots"),
    Model("comet", 0.44, 0.24, "windows", "guard", "straps", "plain", "spoiler", "rings"),
    Model("drift", 0.36, 0.19, "lugs", "guard", "laces", "chevrons", "loop", "herringbone"),
    Model("ember", 0.56, 0.17, "layered", "none", "zip", "wave", "spoiler", "grid"),
    Model("flint", 0.62, 0.23, "lugs", "cap", "straps", "blocks", "none", "waves"),
    Model("glide", 0.32, 0.16, "ribs", "none", "straps", "dots", "counter", "diagonal"),
    Model("halo", 0.46, 0.20, "flat", "wingtip", "laces", "star", "tab", "radial"),
    Model("iris", 0.34, 0.22, "platform", "cap", "zip", "saddle", "none", "cross"),
    Model("jolt", 0.56, 0.18, "wedge", "guard", "laces", "bolt", "loop", "zigzag"),
    Model("kite", 0.40, 0.17, "layered", "wingtip", "straps", "wing", "counter", "dots"),
    Model("lumen", 0.64, 0.19, "windows", "none", "laces", "mesh", "tab", "bars"),
    Model("metro", 0.32, 0.19, "flat", "none", "straps", "blocks", "tab", "rings"),
    Model("nova", 0.48, 0.17, "ribs", "cap", "laces", "wing", "spoiler", "zigzag"),
    Model("orbit", 0.60, 0.22, "platform", "guard", "laces", "stripes", "none", "grid"),
    Model("pulse", 0.42, 0.19, "wedge", "wingtip", "zip", "dots", "loop", "herringbone"),
    Model("quill", 0.36, 0.16, "windows", "cap", "laces", "wave", "spoiler", "radial"),
    Model("ridge", 0.62, 0.20, "ribs", "guard", "zip", "chevrons", "counter", "cross"),
    Model("strata", 0.44, 0.18, "platform", "none", "straps", "bolt", "counter", "diagonal"),
    Model("tempo", 0.32, 0.20, "layered", "guard", "laces", "ring", "loop", "waves"),
    Model("umbra", 0.58, 0.17, "lugs", "wingtip", "straps", "saddle", "tab", "bars"),
    Model("vista", 0.50, 0.21, "windows", "wingtip", "zip", "mesh", "none", "zigzag"),
    Model("wharf", 0.40, 0.22, "lugs", "none", "laces", "star", "counter", "grid"),
]


def _panel(style: str, y: float) -> tuple[list, float]:
    """Outlines of the mark on the side, and the width of its lines, 0 if they are filled; `y` is the sole's edge."""
    if style == "stripes":
        return [[(x, y), (x + 0.06, y), (x + 0.17, y + 0.4), (x + 0.11, y + 0.4)] for x in (0.26, 0.37, 0.48)], 0
    if style == "ring":
        return [circle(0.2, y + 0.3, radius) for radius in (0.09, 0.018)], 0.036
    if style == "chevrons":
        return [[(x, y + 0.2), (x + 0.09, y + 0.1), (x, y)] for x in (0.3, 0.41, 0.52, 0.63)], 0.045
    if style == "wave":
        xs = np.linspace(0.1, 0.86, 40)
        return [[(x, y + lift + 0.03 * math.sin(22 * x)) for x in xs] for lift in (0.06, 0.15)], 0.04
    if style == "blocks":
        at = [(0.2 + 0.06 * i, y + 0.06 * j) for i in range(7) for j in range(5) if (i + j) % 2]
        return [[(x, v), (x + 0.06, v), (x + 0.06, v + 0.06), (x, v + 0.06)] for x, v in at], 0
    if style == "dots":
        at = [(0.2 + 0.055 * i + 0.027 * (j % 2), y + 0.04 + 0.05 * j) for i in range(13) for j in range(4)]
        return [circle(*centre, 0.013, 14) for centre in at], 0
    if style == "star":
        turn = np.arange(10) * np.pi / 5 + np.pi / 2
        radius = np.where(np.arange(10) % 2, 0.046, 0.11)
        return [list(zip(0.34 + radius * np.cos(turn), y + 0.13 + radius * np.sin(turn), strict=True))], 0
    if style == "saddle":
        return [[(0.33, y - 0.02), (0.62, y - 0.02), (0.6, y + 0.5), (0.42, y + 0.5)]], 0
    if style == "bolt":
        bolt = [(0.22, 0.08), (0.42, 0.2), (0.4, 0.12), (0.66, 0.16), (0.45, 0.03), (0.47, 0.1)]
        return [[(x, y + lift) for x, lift in bolt]], 0
    if style == "wing":
        return [[(0.06, y + 0.05), (0.52 - 0.07 * i, y + 0.06 + 0.07 * i)] for i in range(5)], 0.022
    if style == "mesh":
        slants = [(x, x + side * 0.3) for x in np.arange(-0.2, 1.2, 0.06) for side in (-1, 1)]
        return [[(a, y), (b, y + 0.4)] for a, b in slants], 0.008
    return [], 0  # plain


def _sole(sheet: Sheet, style: str, top: float) -> None:
    """Midsole and outsole of the side view."""
    heel, toe = {"wedge": (0.15, 0.06), "platform": (0.15, 0.15)}.get(style, (top, top - 0.02))
    edge = [(-0.03, heel), (0.3, heel - 0.01), (0.7, toe), (1.0, toe + 0.03), (1.03, toe)]
    area = sheet.area(spline([(-0.02, 0.03), *edge, (0.97, 0.02), (0.5, 0.0)]))
    sheet.paint(area, "sole")
    if style == "windows":
        holes = [spline([(x, 0.03), (x, 0.085), (x + 0.12, 0.08), (x + 0.12, 0.03)]) for x in (0.06, 0.24, 0.42)]
        sheet.relief(sheet.area(*holes), "accent", area)
    elif style == "ribs":
        ribs = [[(x, 0.025), (x, top - 0.03)] for x in np.arange(0.0, 1.0, 0.035)]
        sheet.relief(sheet.area(*ribs, width=0.012), "outsole", area)
    elif style == "layered":
        sheet.paint(sheet.area([(-0.1, 0.075), (1.1, 0.055)], width=0.03), "accent", area)
    elif style == "flat":
        sheet.paint(sheet.area([(-0.1, top - 0.035), (1.1, top - 0.05)], width=0.012), "accent", area)
    sheet.shade(area, 10)
    if style == "lugs":
        xs = np.arange(0.0, 0.95, 0.078)
        teeth = [[(x, 0.03), (x + 0.055, 0.03), (x + 0.045, -0.035), (x + 0.01, -0.035)] for x in xs]
        sheet.paint(sheet.area(*teeth), "outsole")
    sheet.paint(sheet.area([(0.0, 0.012), (0.97, 0.012)], width=0.028), "outsole", area)


def _toe_cap(style: str, toe: float, top: float, front: float) -> list:
    """Outline of what covers the toes; `front` is the height of the sole under them."""
    if style == "cap":
        return [(0.8, 0.0), (0.79, 0.2), (0.84, 0.5), (1.1, 0.5), (1.1, 0.0)]
    if style == "guard":
        edge = [(0.62, top + 0.06), (0.8, front + 0.05), (0.95, front + 0.1), (1.1, front + 0.15)]
        return [(0.5, 0.0), *edge, (1.1, 0.0)]
    wing = [(0.66, top + 0.05), (0.72, front + 0.9 * toe), (0.78, front + 0.4 * toe), (0.86, 0.6)]  # wingtip
    return [(0.55, 0.0), *wing, (1.1, 0.5), (1.1, 0.0)]


def _lacing(sheet: Sheet, model: Model, throat: list, upper: Image.Image, behind: Image.Image) -> None:
    """Straps, a zip, or laces with their eyelets along the throat."""
    c, (x0, y0), (x1, y1) = model.collar, throat[0], throat[3]
    if model.lacing == "straps":
        at = [(x0 + k * (x1 - x0), y0 + k * (y1 - y0)) for k in (0.15, 0.5, 0.85)]
        straps = [[(x + 0.05, y + 0.1), (x - 0.01, y + 0.13), (x - 0.17, y - 0.1), (x - 0.1, y - 0.12)] for x, y in at]
        sheet.relief(sheet.area(*straps), "lace", ImageChops.lighter(upper, behind))
    elif model.lacing == "zip":
        path = spline([(0.3, c + 0.05), (0.4, 0.55 * c + 0.1), (0.56, throat[2][1] - 0.07)], closed=False)
        sheet.relief(sheet.area(path, width=0.07), "trim", upper)
        sheet.paint(sheet.area(path, width=0.018), "lace", upper)
    else:
        stay = spline([(x - 0.045, y - 0.05) for x, y in throat], closed=False)
        sheet.relief(sheet.area(stay, width=0.085), "trim", upper)
        for x, y in stay[3:-3:5]:
            sheet.paint(sheet.area([(x - 0.02, y - 0.015), (x + 0.075, y + 0.085)], width=0.026), "lace")
            sheet.darken(sheet.area([(x - 0.01, y - 0.022), (x + 0.085, y + 0.078)], width=0.006), 0.35)
            sheet.paint(sheet.area(circle(x - 0.02, y - 0.015, 0.013)), "outsole")


def _heel(sheet: Sheet, style: str, c: float, top: float) -> None:
    """What sticks out at the heel; `c` is the height of the collar."""
    if style == "loop":
        loop = spline([(0.03, c - 0.1), (-0.06, c - 0.02), (-0.02, c + 0.06), (0.04, c + 0.01)], closed=False)
        sheet.paint(sheet.area(loop, width=0.022), "accent")
    elif style in ("tab", "spoiler"):
        tab = spline([(0.0, c - 0.12), (-0.02, c + 0.02), (0.02, c + 0.06), (0.055, c + 0.03), (0.05, c - 0.12)])
        fin = [(0.02, top + 0.14), (-0.11, top + 0.2), (-0.09, top + 0.1), (0.02, top + 0.02)]
        area = sheet.area(tab if style == "tab" else fin)
        sheet.paint(area, "accent")
        sheet.shade(area, 6)


@lru_cache(8)
def side_view(model: Model) -> Sheet:
    """The shoe from its outer side, toe to the right."""
    sheet, c, t = Sheet(), model.collar, model.toe
    top = {"wedge": 0.13, "platform": 0.15, "flat": 0.09}.get(model.sole, 0.11)
    front = {"wedge": 0.07, "platform": 0.15}.get(model.sole, top - 0.02)  # height of the sole under the toe
    throat = [(0.36, c + 0.02), (0.46, 0.5 * (c + top + t) + 0.02), (0.6, top + t + 0.05), (0.7, front + t + 0.015)]
    back = [(0.0, top - 0.03), (-0.015, top + 0.1), (0.04, c - 0.06), (0.035, c + 0.03)]
    back += [(0.1, c + 0.015), (0.2, c - 0.035)]
    toes = [(0.84, front + t - 0.01), (0.96, front + 0.6 * t), (1.0, front + 0.02), (0.9, front - 0.03)]
    tongue = [(0.26, c - 0.03), (0.29, c + 0.08), (0.35, c + 0.1), (0.4, c + 0.03), (0.5, c * 0.6 + 0.1)]
    lining = [(0.05, c + 0.015), (0.12, c + 0.045), (0.22, c + 0.03), (0.33, c + 0.05), (0.33, c - 0.03)]

    inside = sheet.area(spline([*lining, (0.2, c - 0.05)]))
    sheet.paint(inside, "lining")
    sheet.shade(inside, 12)
    behind = sheet.area(spline([*tongue, (0.36, c - 0.1)]))
    sheet.paint(behind, "tongue")
    sheet.shade(behind, 8)
    upper = sheet.area(spline([*back, *throat, *toes, (0.4, top - 0.03)]))
    sheet.paint(upper, "base")

    outlines, width = _panel(model.panel, top)
    sheet.relief(sheet.area(*outlines, width=width), "accent", upper)
    if model.cap != "none":
        sheet.relief(sheet.area(_toe_cap(model.cap, t, top, front)), "trim", upper)
    if model.heel in ("counter", "spoiler"):
        reach = 0.24 if model.heel == "counter" else 0.1
        counter = [(-0.1, 0), (-0.1, 0.32), (0.5 * reach, 0.27), (reach, top + 0.06), (reach + 0.05, 0)]
        sheet.relief(sheet.area(spline(counter)), "trim", upper)
    _lacing(sheet, model, throat, upper, behind)
    sheet.shade(upper, 22)
    _heel(sheet, model.heel, c, top)
    _sole(sheet, model.sole, top)
    return sheet


def _tread(style: str) -> tuple[list, float]:
    """Outlines of the tread's pattern, and the width of its lines, 0 if they are filled."""
    xs, ys = np.arange(-0.1, 1.15, 0.06), np.arange(0.1, 0.75, 0.05)
    if style == "dots":
        return [circle(x + 0.03 * (k % 2), y, 0.017, 14) for x in xs for k, y in enumerate(ys)], 0
    lines = {
        "bars": [[(x, 0.1), (x, 0.7)] for x in xs],
        "diagonal": [[(x, 0.1), (x + 0.35, 0.7)] for x in xs - 0.15],
        "grid": [[(x, 0.1), (x, 0.7)] for x in xs] + [[(-0.1, y), (1.1, y)] for y in ys],
        "cross": [[(x, 0.1), (x + s * 0.5, 0.7)] for x in np.arange(-0.6, 1.6, 0.09) for s in (-1, 1)],
        "herringbone": [[(x, 0.1 + 0.1 * k), (x + 0.05 * (-1) ** k, 0.2 + 0.1 * k)] for x in xs for k in range(6)],
        "zigzag": [[(x + 0.03 * (k % 2), 0.1 + 0.04 * k) for k in range(16)] for x in np.arange(-0.1, 1.1, 0.08)],
        "waves": [[(x, y + 0.02 * math.sin(25 * x)) for x in np.linspace(-0.1, 1.1, 60)] for y in ys],
        "radial": [
            [(0.72, 0.41), (0.72 + 1.2 * math.cos(a), 0.41 + 1.2 * math.sin(a))] for a in np.linspace(0, 6.28, 29)
        ],
        "rings": [circle(x, 0.41, r) for x in (0.72, 0.17) for r in np.arange(0.03, 0.4 if x > 0.5 else 0.17, 0.04)],
    }
    return lines[style], 0.016


@lru_cache(8)
def sole_view(model: Model) -> Sheet:
    """The tread from below, toe to the right."""
    sheet, slim = Sheet(), 0.12 + 0.2 * (model.toe - 0.16)
    inner_side = [(0.0, 0.4), (0.08, 0.4 - slim), (0.35, 0.43 - slim), (0.65, 0.36 - slim), (0.9, 0.34 - 0.6 * slim)]
    outer_side = [(1.0, 0.42), (0.94, 0.42 + slim), (0.72, 0.44 + slim), (0.4, 0.4 + 0.75 * slim), (0.1, 0.4 + slim)]
    outline = np.array(spline(inner_side + outer_side))
    area, centre = sheet.area(outline), (0.5, 0.4)
    sheet.paint(area, "sole")
    inner = sheet.area(centre + (outline - centre) * (0.93, 0.86))
    sheet.relief(inner, "outsole", area)
    outlines, width = _tread(model.tread)
    sheet.relief(sheet.area(*outlines, width=width), "accent", inner)
    arch = sheet.area(spline([(0.33, 0.36), (0.33, 0.46), (0.5, 0.47), (0.5, 0.34)]))
    sheet.relief(arch, "sole", inner)
    sheet.shade(area, 14)
    return sheet

"""Draw photograph-like pictures of invented shoe models, so that everything here runs without a download.

What belongs to a model (silhouette, sole, toe cap, lacing, panel, heel, tread) is fixed in `MODELS`. What belongs to a
photograph (colours, view, background, light, camera) is drawn at random for each picture: colour says nothing about the
model, exactly as with real sneakers.
"""

import math
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageChops

from sneakerlib.sample.sheet import Sheet, circle, spline, star


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


def _panel(sheet: Sheet, style: str, top: float) -> Image.Image:
    """The mark on the side of the shoe; `top` is the height of the sole's upper edge."""
    y0, wave = top, np.linspace(0.1, 0.86, 40)
    if style == "stripes":
        return sheet.area(
            *[[(x, y0), (x + 0.06, y0), (x + 0.17, y0 + 0.4), (x + 0.11, y0 + 0.4)] for x in (0.26, 0.37, 0.48)]
        )
    if style == "ring":
        return sheet.area(*[circle(0.2, y0 + 0.3, radius) for radius in (0.09, 0.018)], width=0.036)
    if style == "chevrons":
        return sheet.area(
            *[[(x, y0 + 0.2), (x + 0.09, y0 + 0.1), (x, y0)] for x in (0.3, 0.41, 0.52, 0.63)], width=0.045
        )
    if style == "wave":
        return sheet.area(
            *[[(x, y0 + lift + 0.03 * math.sin(22 * x)) for x in wave] for lift in (0.06, 0.15)], width=0.04
        )
    if style == "blocks":
        squares = [(0.2 + 0.06 * i, y0 + 0.06 * j) for i in range(7) for j in range(5) if (i + j) % 2]
        return sheet.area(*[[(x, y), (x + 0.06, y), (x + 0.06, y + 0.06), (x, y + 0.06)] for x, y in squares])
    if style == "dots":
        return sheet.discs(
            [(0.2 + 0.055 * i + 0.027 * (j % 2), y0 + 0.04 + 0.05 * j) for i in range(13) for j in range(4)], 0.013
        )
    if style == "star":
        return sheet.area(star(0.34, y0 + 0.13, 0.11))
    if style == "saddle":
        return sheet.area([(0.33, y0 - 0.02), (0.62, y0 - 0.02), (0.6, y0 + 0.5), (0.42, y0 + 0.5)])
    if style == "bolt":
        bolt = [(0.22, 0.08), (0.42, 0.2), (0.4, 0.12), (0.66, 0.16), (0.45, 0.03), (0.47, 0.1)]
        return sheet.area([(x, y0 + y) for x, y in bolt])
    if style == "wing":
        return sheet.area(
            *[[(0.06, y0 + 0.05), (0.52 - 0.07 * i, y0 + 0.06 + 0.07 * i)] for i in range(5)], width=0.022
        )
    if style == "mesh":
        slants = [(x, x + side * 0.3) for x in np.arange(-0.2, 1.2, 0.06) for side in (-1, 1)]
        return sheet.area(*[[(a, y0), (b, y0 + 0.4)] for a, b in slants], width=0.008)
    return sheet.area()  # plain


def _sole(sheet: Sheet, style: str, top: float) -> None:
    """Midsole and outsole of the side view."""
    heel, toe = {"wedge": (0.15, 0.06), "platform": (0.15, 0.15)}.get(style, (top, top - 0.02))
    edge = [(-0.03, heel), (0.3, heel - 0.01), (0.7, toe), (1.0, toe + 0.03), (1.03, toe)]
    body = spline([(-0.02, 0.03), *edge, (0.97, 0.02), (0.5, 0.0)])
    area = sheet.area(body)
    sheet.paint(area, "sole")
    if style == "windows":
        holes = [spline([(x, 0.03), (x, 0.085), (x + 0.12, 0.08), (x + 0.12, 0.03)]) for x in (0.06, 0.24, 0.42)]
        sheet.relief(sheet.area(*holes), "accent", area)
    elif style == "ribs":
        sheet.relief(
            sheet.area(*[[(x, 0.025), (x, top - 0.03)] for x in np.arange(0.0, 1.0, 0.035)], width=0.012),
            "outsole",
            area,
        )
    elif style == "layered":
        sheet.paint(ImageChops.multiply(sheet.area([(-0.1, 0.075), (1.1, 0.055)], width=0.03), area), "accent")
    elif style == "flat":
        sheet.paint(
            ImageChops.multiply(sheet.area([(-0.1, top - 0.035), (1.1, top - 0.05)], width=0.012), area), "accent"
        )
    sheet.shade(area, 10)
    if style == "lugs":
        teeth = [
            [(x, 0.03), (x + 0.055, 0.03), (x + 0.045, -0.035), (x + 0.01, -0.035)] for x in np.arange(0.0, 0.95, 0.078)
        ]
        sheet.paint(sheet.area(*teeth), "outsole")
    sheet.paint(ImageChops.multiply(sheet.area([(0.0, 0.012), (0.97, 0.012)], width=0.028), area), "outsole")


def _toe_cap(sheet: Sheet, model: Model, top: float, front: float, upper: Image.Image) -> None:
    """What covers the toes; `front` is the height of the sole under them."""
    t = model.toe
    wing = [(0.72, front + t * 0.9), (0.78, front + 0.4 * t)]
    cap = {
        "cap": [(0.8, 0.0), (0.79, 0.2), (0.84, 0.5), (1.1, 0.5), (1.1, 0.0)],
        "guard": [
            (0.5, 0.0),
            (0.62, top + 0.06),
            (0.8, front + 0.05),
            (0.95, front + 0.1),
            (1.1, front + 0.15),
            (1.1, 0.0),
        ],
        "wingtip": [(0.55, 0.0), (0.66, top + 0.05), *wing, (0.86, 0.6), (1.1, 0.5), (1.1, 0.0)],
    }.get(model.cap)
    if cap:
        sheet.relief(sheet.area(cap), "trim", upper)


def _lacing(sheet: Sheet, model: Model, throat: list, upper: Image.Image, behind: Image.Image) -> None:
    """Straps, a zip, or laces with their eyelets along the throat."""
    c, middle = model.collar, throat[2][1] - 0.07
    if model.lacing == "straps":
        straps = []
        for k in (0.15, 0.5, 0.85):
            (x0, y0), (x1, y1) = throat[0], throat[3]
            x, y = x0 + k * (x1 - x0), y0 + k * (y1 - y0)
            straps.append([(x + 0.05, y + 0.1), (x - 0.01, y + 0.13), (x - 0.17, y - 0.1), (x - 0.1, y - 0.12)])
        sheet.relief(sheet.area(*straps), "lace", ImageChops.lighter(upper, behind))
    elif model.lacing == "zip":
        path = [(0.3, c + 0.05), (0.4, 0.55 * c + 0.1), (0.56, middle)]
        sheet.relief(sheet.area(spline(path, closed=False), width=0.07), "trim", upper)
        sheet.paint(ImageChops.multiply(sheet.area(spline(path, closed=False), width=0.018), upper), "lace")
    else:
        stay = spline([(x - 0.045, y - 0.05) for x, y in throat], closed=False)
        sheet.relief(sheet.area(stay, width=0.085), "trim", upper)
        for x, y in stay[3:-3:5]:
            sheet.paint(sheet.area([(x - 0.02, y - 0.015), (x + 0.075, y + 0.085)], width=0.026), "lace")
            sheet.darken(sheet.area([(x - 0.01, y - 0.022), (x + 0.085, y + 0.078)], width=0.006), 0.35)
            sheet.paint(sheet.discs([(x - 0.02, y - 0.015)], 0.013), "outsole")


def _heel(sheet: Sheet, model: Model, top: float) -> None:
    """What sticks out at the heel."""
    c = model.collar
    if model.heel == "tab":
        tab = sheet.area(
            spline([(0.0, c - 0.12), (-0.02, c + 0.02), (0.02, c + 0.06), (0.055, c + 0.03), (0.05, c - 0.12)])
        )
        sheet.paint(tab, "accent")
        sheet.shade(tab, 6)
    elif model.heel == "loop":
        sheet.paint(
            sheet.area(
                spline([(0.03, c - 0.1), (-0.06, c - 0.02), (-0.02, c + 0.06), (0.04, c + 0.01)], closed=False),
                width=0.022,
            ),
            "accent",
        )
    elif model.heel == "spoiler":
        fin = sheet.area([(0.02, top + 0.14), (-0.11, top + 0.2), (-0.09, top + 0.1), (0.02, top + 0.02)])
        sheet.paint(fin, "accent")
        sheet.shade(fin, 6)


def side_view(model: Model, colours: dict) -> Sheet:
    """The shoe from its outer side, toe to the right."""
    sheet, c, t = Sheet(colours), model.collar, model.toe
    top = {"wedge": 0.13, "platform": 0.15, "flat": 0.09}.get(model.sole, 0.11)
    front = {"wedge": 0.07, "platform": 0.15}.get(model.sole, top - 0.02)  # height of the sole under the toe
    throat = [
        (0.36, c + 0.02),
        (0.46, 0.5 * c + 0.5 * (top + t) + 0.02),
        (0.6, top + t + 0.05),
        (0.7, front + t + 0.015),
    ]
    back = [
        (0.0, top - 0.03),
        (-0.015, top + 0.1),
        (0.04, c - 0.06),
        (0.035, c + 0.03),
        (0.1, c + 0.015),
        (0.2, c - 0.035),
    ]
    toes = [
        (0.84, front + t - 0.01),
        (0.96, front + 0.6 * t),
        (1.0, front + 0.02),
        (0.9, front - 0.03),
        (0.4, top - 0.03),
    ]
    outline = spline([*back, *throat, *toes])
    tongue = spline(
        [(0.26, c - 0.03), (0.29, c + 0.08), (0.35, c + 0.1), (0.4, c + 0.03), (0.5, c * 0.6 + 0.1), (0.36, c - 0.1)]
    )
    lining = spline(
        [(0.05, c + 0.015), (0.12, c + 0.045), (0.22, c + 0.03), (0.33, c + 0.05), (0.33, c - 0.03), (0.2, c - 0.05)]
    )

    inside = sheet.area(lining)
    sheet.paint(inside, "lining")
    sheet.shade(inside, 12)
    behind = sheet.area(tongue)
    sheet.paint(behind, "tongue")
    sheet.shade(behind, 8)
    upper = sheet.area(outline)
    sheet.paint(upper, "base")

    sheet.relief(_panel(sheet, model.panel, top), "accent", upper)
    _toe_cap(sheet, model, top, front, upper)
    if model.heel in ("counter", "spoiler"):
        reach = 0.24 if model.heel == "counter" else 0.1
        sheet.relief(
            sheet.area(spline([(-0.1, 0), (-0.1, 0.32), (0.5 * reach, 0.27), (reach, top + 0.06), (reach + 0.05, 0)])),
            "trim",
            upper,
        )

    _lacing(sheet, model, throat, upper, behind)
    sheet.shade(upper, 22)

    _heel(sheet, model, top)
    _sole(sheet, model.sole, top)
    return sheet


def sole_view(model: Model, colours: dict) -> Sheet:
    """The tread from below, toe to the right."""
    sheet = Sheet(colours)
    slim = 0.12 + 0.2 * (model.toe - 0.16)
    outline = [
        (0.0, 0.4),
        (0.08, 0.4 - slim),
        (0.35, 0.43 - slim),
        (0.65, 0.36 - slim),
        (0.9, 0.34 - 0.6 * slim),
        (1.0, 0.42),
    ]
    outline += [(0.94, 0.42 + slim), (0.72, 0.42 + slim + 0.02), (0.4, 0.4 + 0.75 * slim), (0.1, 0.4 + slim)]
    area = sheet.area(spline(outline))
    sheet.paint(area, "sole")
    centre = np.array([0.5, 0.4])
    inner = sheet.area([tuple(centre + (np.array(p) - centre) * (0.93, 0.86)) for p in spline(outline)])
    sheet.relief(inner, "outsole", area)
    xs, ys = np.arange(-0.1, 1.15, 0.06), np.arange(0.1, 0.75, 0.05)
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
    }.get(model.tread)
    if lines:
        pattern = sheet.area(*lines, width=0.016)
    elif model.tread == "dots":
        pattern = sheet.discs([(x + 0.03 * (k % 2), y) for x in xs for k, y in enumerate(ys)], 0.017)
    else:  # rings, around the ball of the foot and the heel
        rings = [(x, r) for x in (0.72, 0.17) for r in np.arange(0.03, 0.4 if x > 0.5 else 0.17, 0.04)]
        pattern = sheet.area(*[circle(x, 0.41, r) for x, r in rings], width=0.016)
    sheet.relief(pattern, "accent", inner)
    arch = sheet.area(spline([(0.33, 0.36), (0.33, 0.46), (0.5, 0.47), (0.5, 0.34)]))
    sheet.relief(arch, "sole", inner)
    sheet.shade(area, 14)
    return sheet

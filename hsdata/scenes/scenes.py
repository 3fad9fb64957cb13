"""Made-up scenes as the challenge photographs them: an object on a white sheet on a dark rail before a wall."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import numpy as np

from hsdata.scenes.painting import Layer, Map, View


def _highlight(view: View, a: float, b: float, strength: float) -> Map:
    """A soft reflex of the lamp on an ellipsoid."""
    lx, ly, _ = view.light
    return strength * np.exp(-(((view.x / a - 0.5 * lx) / 0.16) ** 2) - ((view.y / b - 0.5 * ly) / 0.16) ** 2)


def _plant(rng: np.random.Generator, view: View) -> list[Layer]:
    """Leaves around a centre, with veins, some of them withering, and at times a flower."""
    leaves = Layer.empty("mesophyll", view)
    green, red, water = 0.7 + 1.3 * rng.random(), max(0.0, 1.4 * rng.random() - 0.6), 0.1 + 0.3 * rng.random()
    count, slim, flower = 6 + int(5 * rng.random()), 0.13 + 0.13 * rng.random(), rng.random() < 0.5
    mottle = view.texture(rng, 5.0)
    for number in range(count):
        angle = 2.0 * np.pi * (number + 0.5 * rng.random()) / count
        length = 0.38 + 0.14 * rng.random()
        leaf = view.at(0.48 * np.cos(angle), 0.48 * np.sin(angle), angle)
        vein = np.exp(-((leaf.y / 0.014) ** 2))
        ribs = np.exp(-((np.sin(34.0 * (leaf.x - 0.9 * np.abs(leaf.y))) / 0.35) ** 2))
        withered = rng.random() < 0.15
        level = green * (0.75 + 0.5 * rng.random()) * (0.15 if withered else 1.0)
        shade = 0.72 + 0.28 * np.clip(leaf.y / slim * leaf.light[1] + 0.8, 0.0, 1.0)
        leaves.paint(
            leaf.fill(leaf.ellipse(length, slim * (0.85 + 0.3 * rng.random()))),
            shade * (1.0 + 0.05 * mottle) + 0.10 * vein,
            gloss=0.02 * ribs + 0.012,
            chlorophyll=level * np.maximum(1.0 + 0.18 * mottle - 0.45 * vein - 0.18 * ribs, 0.05),
            carotenoid=0.35 + (0.5 if withered else 0.0),
            anthocyanin=red * np.maximum(1.0 - 0.3 * mottle, 0.0),
            water=water,
        )
    layers = [leaves]
    if flower:
        petals = Layer.empty("petal", view)
        tint, yellow = 0.3 + 1.6 * rng.random(), 1.5 * rng.random()
        for number in range(6):
            angle = np.pi * number / 3.0 + 0.3
            petal = view.at(0.2 * np.cos(angle), 0.2 * np.sin(angle), angle)
            fade = np.clip(1.2 - 2.5 * np.hypot(petal.x + 0.15, petal.y), 0.2, 1.2)
            petals.paint(
                petal.fill(petal.ellipse(0.2, 0.11)),
                0.85 + 0.03 * mottle + 0.5 * petal.x,
                anthocyanin=tint * fade,
                carotenoid=yellow * fade,
                water=0.3,
            )
        petals.paint(view.fill(view.ellipse(0.08, 0.08)), 0.8 + 0.06 * mottle, carotenoid=2.2, lignin=0.5)
        layers.append(petals)
    return layers


def _book(rng: np.random.Generator, view: View) -> list[Layer]:
    """A closed book: the cover with a picture and lines of type, the edge of its pages."""
    a, b = 0.62 + 0.12 * rng.random(), 0.80 + 0.12 * rng.random()
    pages = Layer.empty("book paper", view)
    leaf = view.at(0.06, 0.05)
    lines = 0.5 + 0.5 * np.sin(leaf.x * 150.0)
    pages.paint(leaf.fill(leaf.box(a, b)), 0.82 + 0.08 * lines, lignin=0.5 + 0.6 * rng.random())
    cover = Layer.empty("coated paper", view)
    inks = ("cyan_ink", "magenta_ink", "yellow_ink")
    grain, picture = view.texture(rng, 24.0), view.texture(rng, 2.0)
    ground = {ink: 1.9 * rng.random() ** 1.5 for ink in inks}
    gloss = 0.015 + 0.05 * np.exp(-(((view.x - view.light[0]) / 0.5) ** 2))
    cloth = 1.0 + 0.035 * grain
    cover.paint(view.fill(view.box(a, b)), 0.95 * cloth, gloss, carbon=0.25 * rng.random(), **ground)
    panel = view.at(0.0, 0.25 - 0.2 * rng.random())
    mixed = {ink: np.clip(0.8 * rng.random() + (0.8 * rng.random()) * picture + 0.1 * grain, 0.0, 2.4) for ink in inks}
    cover.paint(panel.fill(panel.box(0.8 * a, 0.42 * b)), 0.95, gloss, carbon=np.clip(0.3 * picture, 0.0, 1.0), **mixed)
    # Type: words and gaps along a line, strokes in a word.
    words = view.texture(rng, 9.0)
    black = rng.random() < 0.5
    for line in range(5):
        place = view.at(0.0, -0.82 * b + 0.13 * line)
        height, width = (0.05, 0.75 * a) if line < 2 else (0.025, 0.6 * a)
        strokes = 1.0 / (1.0 + np.exp(-6.0 * (words + 0.2)))
        cover.paint(place.fill(place.box(width, height)) * strokes, 0.92, gloss, carbon=2.2 if black else 0.0)
    return [pages, cover]


_PAINTS: Final = ("iron_oxide", "cobalt_blue", "phthalo_green", "cadmium_red", "yellow_ink", "magenta_ink", "carbon")


def _toy(rng: np.random.Generator, view: View) -> list[Layer]:
    """A figure of painted round bodies and blocks, striped, of plastic or glazed ceramic."""
    figure = Layer.empty("plastic" if rng.random() < 0.6 else "ceramic", view)
    speckle = view.texture(rng, 12.0)
    palette = [_PAINTS[int(len(_PAINTS) * rng.random())] for _ in range(3)]
    places = ((0.0, 0.35, 0.55, 0.5), (0.0, -0.4, 0.38, 0.36), (-0.55, 0.1, 0.24, 0.2), (0.55, 0.1, 0.24, 0.2))
    for number, (x, y, a, b) in enumerate(places):
        part = view.at(x + 0.1 * (rng.random() - 0.5), y, 0.8 * (rng.random() - 0.5))
        a, b, block = a * (0.85 + 0.3 * rng.random()), b * (0.85 + 0.3 * rng.random()), rng.random() < 0.3
        first, second = palette[number % 3], palette[(number + 1) % 3]
        strength, pitch = 0.5 + 1.3 * rng.random(), 8.0 + 14.0 * rng.random()
        stripes = 1.0 / (1.0 + np.exp(-8.0 * np.sin(part.y * pitch)))
        if rng.random() < 0.5:
            stripes = np.zeros_like(stripes)
        wear = np.maximum(1.0 + 0.09 * speckle, 0.1)
        contents = {first: strength * wear * (1.0 - stripes)}
        contents[second] = contents.get(second, 0.0) + 0.8 * strength * wear * stripes
        figure.paint(
            part.fill(part.box(a, b) if block else part.ellipse(a, b)),
            (0.75 + 0.25 * np.clip(part.x * part.light[0] + 0.7, 0.0, 1.0) if block else part.dome(a, b)) * 1.08,
            0.015 + (0.0 if block else 1.0) * _highlight(part, a, b, 0.35),
            **contents,
        )
    return [figure]


def _metal(rng: np.random.Generator, view: View) -> list[Layer]:
    """A brushed disc or plate with a stepped rim."""
    metal = Layer.empty(("aluminium", "copper", "brass", "steel")[int(4.0 * rng.random())], view)
    brushed, stain = view.texture(rng, 10.0, stretch=12.0), view.texture(rng, 2.5)
    glint = np.exp(-(((view.x * view.light[0] + view.y * view.light[1]) / 0.3) ** 2))
    for radius, level in ((0.85, 0.72), (0.7, 0.95), (0.62, 0.85)):
        metal.paint(
            view.fill(view.ellipse(radius, 0.8 * radius)),
            level * (0.85 + 0.08 * brushed + 0.22 * glint),
            0.03 + 0.12 * glint,
            carbon=0.15 * np.maximum(stain, 0.0),
            iron_oxide=0.12 * np.maximum(-stain, 0.0),
        )
    return [metal]


def _wood(rng: np.random.Generator, view: View) -> list[Layer]:
    """A board with grain and a knot."""
    wood = Layer.empty("wood", view)
    fibre = view.texture(rng, 14.0, stretch=14.0)
    knot = view.at(0.6 * (rng.random() - 0.5), 0.4 * (rng.random() - 0.5))
    rings = np.sin(22.0 * (view.y + 0.18 * np.exp(-((knot.x**2 + knot.y**2) / 0.05))) + 1.2 * fibre)
    tone = 0.5 + 1.3 * rng.random()
    wood.paint(
        view.fill(view.box(0.9, 0.6)),
        0.92 + 0.05 * fibre,
        lignin=np.maximum(tone * (1.0 + 0.25 * rings + 0.12 * fibre), 0.05),
        melanin=0.12 * tone * (1.0 + rings),
        water=0.08,
    )
    return [wood]


def _cloth(rng: np.random.Generator, view: View) -> list[Layer]:
    """A folded woven cloth of two dyes."""
    cloth = Layer.empty("cloth", view)
    folds, fuzz = view.texture(rng, 1.3), view.texture(rng, 30.0)
    warp = 0.5 + 0.5 * np.sin(view.x * 42.0) * np.sin(view.y * 42.0)
    first, second = [("indigo", "magenta_ink", "yellow_ink", "carbon")[int(4.0 * rng.random())] for _ in range(2)]
    strength = 0.5 + 1.2 * rng.random()
    contents = {first: strength * warp}
    contents[second] = contents.get(second, 0.0) + 0.7 * strength * (1.0 - warp)
    cloth.paint(view.fill(view.box(0.85, 0.75)), 0.86 + 0.1 * np.clip(folds, -2.0, 1.2) + 0.05 * fuzz, **contents)
    return [cloth]


def _fruit(rng: np.random.Generator, view: View) -> list[Layer]:
    """Two round fruits, green on one side and red on the other."""
    fruit = Layer.empty("flesh", view)
    spots = view.texture(rng, 9.0)
    for x in (-0.38, 0.4):
        body = view.at(x, 0.15 * (rng.random() - 0.5), 6.0 * rng.random())
        ripe = 1.0 / (1.0 + np.exp(-5.0 * (body.x + 0.6 * (rng.random() - 0.5)) + spots))
        fruit.paint(
            body.fill(body.ellipse(0.46, 0.43)),
            1.05 * body.dome(0.46, 0.43),
            0.01 + _highlight(body, 0.46, 0.43, 0.25),
            anthocyanin=(0.8 + 0.8 * rng.random()) * ripe,
            chlorophyll=(0.3 + 0.6 * rng.random()) * (1.0 - 0.8 * ripe),
            carotenoid=0.7 + 0.1 * spots,
            water=0.7,
        )
    return [fruit]


def _hide(rng: np.random.Generator, view: View) -> list[Layer]:
    """A patch of skin or leather with folds and pores."""
    hide = Layer.empty("flesh", view)
    pores, folds = view.texture(rng, 16.0), view.texture(rng, 2.0)
    tone = 0.15 + 1.2 * rng.random()
    hide.paint(
        view.fill(view.ellipse(0.85, 0.7) + 0.05 * np.sin(5.0 * view.x + 3.0 * view.y)),
        0.9 + 0.06 * folds + 0.03 * pores,
        0.01,
        melanin=tone * np.maximum(1.0 + 0.15 * pores, 0.1),
        haemoglobin=np.maximum(0.35 + 0.2 * folds, 0.0),
        water=0.5,
    )
    return [hide]


_MISCELLANY: Final = (_fruit, _wood, _metal, _cloth, _wood, _hide, _metal, _cloth)

CATEGORIES: Final[dict[int, tuple[Callable[[np.random.Generator, View], list[Layer]], ...]]] = {
    1: (_plant,),
    2: (_book,),
    3: (_toy,),
    4: _MISCELLANY,
}
"""Category number to what draws its objects, in turn, each from the object's random numbers."""


def scene(category: int, number: int, own: np.random.Generator, pose: np.random.Generator, size: int) -> list[Layer]:
    """The layers, from back to front, of one photograph.

    Args:
        category: number of the category, a key of `CATEGORIES`.
        number: of the object in its category; decides what kind of thing it is.
        own: random numbers of the object; equal ones give the same object.
        pose: random numbers of the photograph: place, turn and scale of the object, lamp, table.
        size: pixels a side.
    """
    place = (np.arange(size) + 0.5) / size
    u, v = np.meshgrid(place, place)
    lamp = 2.0 * np.pi * pose.random()
    light = (0.6 * np.cos(lamp), 0.6 * np.sin(lamp), 0.8)
    scale = 0.34 + 0.06 * pose.random()
    centre = (0.5 + 0.12 * (pose.random() - 0.5), 0.55 + 0.04 * (pose.random() - 0.5))
    turn = (2.0 * np.pi if category in (1, 3) else 0.6) * (pose.random() - 0.5)
    frame = View(u, v, 1.0 / size)
    table = frame.at(0.5, 0.5, 0.06 * (pose.random() - 0.5))
    view = View((u - centre[0]) / scale, (v - centre[1]) / scale, 1.0 / (size * scale), light).at(0.0, 0.0, turn)

    lit = 0.95 + 0.06 * ((u - 0.5) * light[0] + (v - 0.5) * light[1])
    wall = Layer.empty("wall", frame)
    wall.paint(np.ones_like(u), lit * (0.96 + 0.25 * v + 0.012 * table.texture(pose, 6.0)))
    rail = Layer.empty("rail", frame)
    top = -0.36 + 0.04 * pose.random()
    rail.paint(table.fill(top - 0.06 - table.y))
    sheet = Layer.empty("sheet", frame)
    shadow = view.at(-0.12 * view.light[0], -0.12 * view.light[1])
    contact = 1.0 / (1.0 + np.exp(shadow.ellipse(0.95, 0.85) / 0.07))
    fibres = 1.0 + 0.008 * table.texture(pose, 40.0)
    sheet.paint(table.fill(top - table.y) * table.fill(table.y - 0.44), lit * fibres * (1.0 - 0.3 * contact))
    kinds = CATEGORIES[category]
    layers = kinds[number % len(kinds)](own, view)
    for layer in layers:
        layer.gain *= lit
    return [wall, rail, sheet, *layers]

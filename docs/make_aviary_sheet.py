"""Draws docs/pictures/aviary.png: species, parts, counterfactuals and faults of the aviary on one sheet.

And aviary-second.png, aviary-cells.png: the species of the second edition, and the kinds of cells.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from saywhy import aviary
from saywhy.aviary import render, sample
from saywhy.aviary.sampling import Room, fit

CELL, GAP, LINE = 150, 10, 13
COLUMNS = 8
WIDTH = COLUMNS * (CELL + GAP) + GAP
INK, PALE = (40, 40, 46), (110, 110, 118)
ROOM: Room = (0.03, 0.05, 0.97, 0.97)


def font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    """The font that Pillow brings along."""
    return ImageFont.load_default(size)


def strip(title: str, cells: list[tuple[np.ndarray, str, list[str]]]) -> Image.Image:
    """A titled row (or rows) of pictures with a name and some lines below each."""
    lines = max(len(text) for _, _, text in cells)
    high = CELL + 18 + LINE * lines + GAP
    rows = -(-len(cells) // COLUMNS)
    sheet = Image.new("RGB", (WIDTH, 34 + rows * high), "white")
    draw = ImageDraw.Draw(sheet)
    draw.text((GAP, 6), title, fill=INK, font=font(17))
    for k, (pixels, name, text) in enumerate(cells):
        x, y = GAP + k % COLUMNS * (CELL + GAP), 34 + k // COLUMNS * high
        sheet.paste(Image.fromarray(pixels), (x, y))
        draw.text((x, y + CELL + 2), name, fill=INK, font=font(12))
        for i, line in enumerate(text):
            draw.text((x, y + CELL + 17 + i * LINE), line, fill=PALE, font=font(10))
    return sheet


def specimen(name: str, seed: int = 6) -> aviary.Scene:
    """A picture of the species on a plain ground, facing right."""
    found = (s for s in (sample(seed, i, size=CELL) for i in range(400)) if s.species == name)
    scene = next(s.scene for s in found if s.scene.birds[0].mirror is False)
    bird = fit(replace(scene.birds[0], scale=0.30, angle=0.05), ROOM)
    return replace(scene.with_bird(bird), background=aviary.Background("plain", 8), objects=())


def species_strip() -> Image.Image:
    """One bird of each species with its rule."""
    cells = []
    for name, s in aviary.SPECIES.items():
        rule = [str(a).replace("fan tail", "fan-shaped tail") for a in s.rule]
        cells.append((render(specimen(name)).pixels, name, rule))
    return strip("24 species and their rules: what a rule does not name is drawn at random", cells)


def _said(known: aviary.World, atom: aviary.Atom) -> str:
    """An atom of a later edition in plain words."""
    row = None if atom.other is None else known.relation(atom.part, atom.other, atom.value)
    return (str(atom) if row is None else row.name(atom.value)).replace("fan tail", "fan-shaped tail")


def later_strip(edition: str, title: str, **pose: float) -> Image.Image:
    """One thing of each species of a later edition with its rule, all in one pose."""
    known = aviary.world(edition)
    samples = [sample(6, i, size=CELL * 2, edition=edition) for i in range(96)]
    cells = []
    for name, own in known.species.items():
        scene = next(s.scene for s in samples if s.species == name)
        bird = replace(scene.birds[0], angle=0.03, mirror=False, **pose)  # type: ignore[arg-type]
        plain = replace(scene.with_bird(bird), background=aviary.Background(known.backgrounds[0], 8), objects=())
        pixels = np.asarray(Image.fromarray(render(plain).pixels).resize((CELL, CELL), Image.Resampling.LANCZOS))
        cells.append((pixels, name, [" or ".join(_said(known, a) for a in clause) for clause in own.clauses]))
    return strip(title, cells)


PALETTE = (np.array([[230, 230, 230], [214, 96, 77], [253, 184, 99], [150, 150, 150], [90, 174, 97], [128, 205, 193],
                     [33, 102, 172], [146, 197, 222], [118, 42, 131], [20, 20, 20], [244, 165, 130], [27, 120, 55],
                     [255, 255, 255], [231, 41, 138]], dtype=np.uint8))  # fmt: skip


def parts_strip() -> Image.Image:
    """One bird, its masks, and some of its parts alone."""
    one = next(s for s in (sample(6, i, size=CELL) for i in range(300)) if s.species == "harlequin lark")
    one = replace(one, scene=specimen("harlequin lark", 12))
    bird = one.scene.birds[0]
    middles = (("bar", 0.85), ("patch", 0.25))
    for name, shift in middles:
        donor = "courier finch"
        if bird.part(name) is None:
            one = replace(one, scene=aviary.transplant(one.scene, name, donor))
            part = one.scene.birds[0].part(name)
            assert part is not None
            one = replace(one, scene=aviary.replace_part(one.scene, replace(part, shift=shift)))
    picture = render(one.scene)
    numbers = aviary.label_map(picture)
    cells = [(picture.pixels, "the picture", ["128 pixels by default"]), (PALETTE[numbers], "its masks", ["disjoint"])]
    for name in ("wing", "breast", "throat", "crown", "crest", "band"):
        shade = picture.pixels // 4 + 170
        shade[picture.visible(name)] = picture.pixels[picture.visible(name)]
        part = picture.scene.birds[0].part(name)
        assert part is not None
        cells.append((shade, name, [f"{picture.visible(name).sum()} pixels"]))
    return strip("Parts: a mask for every one, also of what is hidden", cells)


def counterfactual_strip() -> Image.Image:
    """A scene and what becomes of it."""
    base = next(s for s in (sample(3, i, size=CELL) for i in range(200)) if s.species == "cinder robin").scene
    lark = next(s for s in (sample(3, i, size=CELL) for i in range(200)) if s.species == "jester lark").scene
    rows = [
        (base, "as it is"),
        (aviary.remove(base, "beak"), "beak removed"),
        (aviary.transplant(base, "beak", "forge robin"), "a forge robin's beak"),
        (aviary.recolour(base, "breast", "yellow"), "breast recoloured"),
        (aviary.displace(base, "tail", 0.0, -0.35), "tail displaced"),
        (aviary.swap_background(base, "snow"), "background swapped"),
        (lark, "as it is"),
        (aviary.set_relation(lark, "crest", "band", "above"), "crest above the band"),
    ]
    cells = [(render(s).pixels, text, [f"now: {s.birds[0].species or 'no species'}"]) for s, text in rows]
    return strip("Counterfactuals: the same scene with one thing changed, rendered again", cells)


def fault_strip() -> Image.Image:
    """A picture of each fault, and two clean ones."""
    cells = []
    for name, row in aviary.FAULTS.items():
        wanted = {"context": "aligned", "watermark": "aligned", "pose": "aligned", "missing-part": "without part",
                  "degraded": "occluder"}.get(name, row.truth["groups"][0])  # fmt: skip
        for i in range(3000):
            one = sample(1, i, fault=name, size=CELL)
            if one.group == wanted and one.species in (row.truth["species"] or [one.species]):
                break
        label = one.class_name if one.class_name == one.species else f"{one.class_name} (wrong)"
        cells.append((render(one.scene).pixels, name, [f"label: {label}"]))
    for kind in ("blur", "noise", "cast", "low light"):
        rows = (sample(1, i, fault="degraded", size=CELL) for i in range(3000))
        one = next(r for r in rows if r.group == kind)
        cells.append((render(one.scene).pixels, f"degraded: {kind}", [f"label: {one.class_name}"]))
    clean = [sample(2, i, size=CELL) for i in (40, 41)]
    cells += [(render(c.scene).pixels, "the clean set", [f"label: {c.class_name}"]) for c in clean]
    return strip("Planted faults, and the clean set", cells)


def main() -> None:
    """Draws the sheet."""
    strips = [species_strip(), parts_strip(), counterfactual_strip(), fault_strip()]
    sheet = Image.new("RGB", (WIDTH, sum(s.height for s in strips)), "white")
    y = 0
    for one in strips:
        sheet.paste(one, (0, y))
        y += one.height
    save(sheet, "aviary.png")
    second = later_strip("2", "24 species of the second edition and their rules", scale=0.21, x=0.46, y=0.56)
    save(second, "aviary-second.png")
    save(later_strip("cells", "12 kinds of cells and their rules", scale=0.31, x=0.5, y=0.55), "aviary-cells.png")


def save(sheet: Image.Image, name: str) -> None:
    """Writes a sheet with 256 colours."""
    out = Path(__file__).parent / "pictures" / name
    sheet.quantize(256, dither=Image.Dither.NONE).save(out, optimize=True)
    print(out, out.stat().st_size // 1000, "kB")


if __name__ == "__main__":
    main()

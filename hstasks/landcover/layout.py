"""Where the files of land cover are: the target's `images` and `masks`, and OpenEarthMap's folders of regions."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from hsengine.base.errors import UserError
from hsengine.base.filling import check_filled
from hsengine.base.wording import some

TARGET, OEM, IMAGES, MASKS, LABELS, SCENES = "target", "oem", "images", "masks", "labels", "scenes"
LISTS = ("train.txt", "val.txt", "test.txt")
_IMAGE = (".tif", ".tiff")


@dataclass(frozen=True)
class Tile:
    """A tile of the target: its name, its site, and its files."""

    id: str
    site: str
    image: Path
    mask: Path | None


@dataclass
class Found:
    """The target's tiles.

    Attributes:
        root: the data folder.
        tiles: by name.
        problems: what cannot be used, and why.
        notes: what else is odd.
    """

    root: Path
    tiles: list[Tile]
    problems: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Pair:
    """A labelled tile of OpenEarthMap."""

    id: str
    region: str
    image: Path
    label: Path


@dataclass
class Regions:
    """OpenEarthMap's labelled tiles.

    Attributes:
        pairs: those with image and label, by name.
        without_image: labels whose image is not there.
        without_label: images that have no label, as those of the test have.
        notes: what else is odd.
    """

    pairs: list[Pair]
    without_image: list[str] = field(default_factory=list)
    without_label: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        regions = {pair.region for pair in self.pairs}
        lines = [f"{len(self.pairs)} pairs in {len(regions)} regions"]
        for names, what in ((self.without_image, "labels without image"), (self.without_label, "images without label")):
            if names:
                lines.append(f"{len(names)} {what}: {some(names)}")
        return "\n".join([*lines, *self.notes])


def site_of(name: str) -> str:
    """The site of a tile named `<site>_<number>`; the whole name where it ends in no number."""
    site, _, number = name.rpartition("_")
    return site if site and number.isdecimal() else name


def find(root: str | Path) -> Found:
    """The target's tiles, paired by the stems of their files. No file is read.

    Raises:
        UserError: there is no folder of images, it is empty, or a run that was to fill it did not end.
    """
    check_filled(root)
    base = Path(root) / TARGET
    images = _by_stem(base / IMAGES, _IMAGE)
    if not images:
        raise UserError(
            f"There is no image in {base / IMAGES}: put tiles there as <site>_<number>.tif and their masks into "
            f"{base / MASKS} as PNG, or make sample data with 'hstasks sample'."
        )
    masks = _by_stem(base / MASKS, (".png",))
    found = Found(Path(root), [Tile(name, site_of(name), file, masks.get(name)) for name, file in images.items()])
    alone = sorted(masks.keys() - images.keys())
    found.problems += [f"{name}: its mask {masks[name]} has no image" for name in alone]
    without = [tile.id for tile in found.tiles if tile.mask is None]
    if without:
        found.notes.append(f"{len(without)} images have no mask and serve no training and no score: {some(without)}")
    return found


def find_oem(root: str | Path) -> Regions:
    """OpenEarthMap's tiles, `<region>/{images,labels}/<region>_<number>.tif`; no region where there is no such folder.

    Images come from elsewhere for a part of the labels (xBD): what is missing is counted and named.

    Raises:
        UserError: a name is in two regions, or a run that was to fill the folder did not end.
    """
    check_filled(root)
    base = Path(root) / OEM
    found = Regions([])
    if not base.is_dir():
        return found
    for folder in sorted(entry for entry in base.iterdir() if entry.is_dir()):
        images, labels = (_by_stem(folder / name, _IMAGE) for name in (IMAGES, LABELS))
        if not images and not labels:
            found.notes.append(f"{folder} is no region: it holds neither images nor labels")
        for name in sorted(images.keys() | labels.keys()):
            if name not in images:
                found.without_image.append(name)
            elif name not in labels:
                found.without_label.append(name)
            else:
                found.pairs.append(Pair(name, folder.name, images[name], labels[name]))
        strangers = [name for name in (*images, *labels) if not name.startswith(f"{folder.name}_")]
        if strangers:
            found.notes.append(f"{folder}: {some(sorted(set(strangers)))} are named after another region")
    found.notes += _lists(base, found)
    twice = sorted(name for name, count in Counter(pair.id for pair in found.pairs).items() if count > 1)
    if twice:
        raise UserError(f"{base}: {some(twice)} are in two regions; a name must stand for one tile.")
    return found


def _lists(base: Path, found: Regions) -> list[str]:
    """What the official lists say that the folders do not, and which regions they divide."""
    known = {pair.id: pair.region for pair in found.pairs}
    without = {*found.without_image, *found.without_label}
    notes, lists = [], {}
    for file in LISTS:
        if (base / file).is_file():
            names = [Path(line.strip()).stem for line in (base / file).read_text("utf-8").splitlines() if line.strip()]
            lists[file] = {known[name] for name in names if name in known}
            gone = [name for name in names if name not in known and name not in without]
            if gone:
                notes.append(f"{file} names {len(gone)} tiles that are not there: {some(gone)}")
    both = sorted({region for one in lists for other in lists if one < other for region in lists[one] & lists[other]})
    if both:
        notes.append(f"{' and '.join(lists)} divide the regions {some(both)}: whole regions are held out here instead")
    return notes


def _by_stem(folder: Path, suffixes: tuple[str, ...]) -> dict[str, Path]:
    if not folder.is_dir():
        return {}
    files = sorted(file for file in folder.iterdir() if file.suffix.lower() in suffixes)
    found: dict[str, Path] = {}
    for file in files:
        if file.stem in found:
            raise UserError(f"{found[file.stem]} and {file} have one name: remove one of them.")
        found[file.stem] = file
    return found

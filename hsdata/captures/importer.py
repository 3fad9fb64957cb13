"""Other people's captures into the project's layout: cubes on the band grid, and the inputs made from them."""

from __future__ import annotations

import contextlib
import hashlib
import math
import os
import re
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from hsdata import formats, layout
from hsdata.camera.camera import STANDARD_OBSERVER, Camera
from hsdata.captures import provenance
from hsdata.captures.provenance import ImportedSample
from hsdata.captures.reflectance import Reflectance, Scaling, Window, converted, known_bands, scaling, used_bands
from hsdata.cube import BAND_GRID, Cube
from hsdata.formats import READERS, hdf5, image, is_url, mosaic, numpy, wavelengths
from hsdata.formats.capture import Capture
from hsengine.base import locks
from hsengine.base.errors import UserError
from hsengine.base.files import explaining, file_hash, remove_scratch

# A gap between bands that an interpolation had better not bridge unseen, in nm.
_GAP = 30.0
_MOST_CATEGORIES = 9999
# ENVI data are named by their headers, and tables beside captures are no captures.
_IN_FOLDERS = (".hdr", ".mat", ".tif", ".tiff", ".npy", ".npz", ".h5", ".hdf5", ".zarr")


@dataclass(frozen=True)
class Options:
    """How captures become samples.

    Attributes:
        tracks: tracks to make inputs for.
        split: the split that the samples go to.
        category: number of the category in their ids.
        scale: stored number that means reflectance 1; see `hsdata.captures.reflectance.scaling`.
        percentile: percentile of the capture's numbers that means reflectance 1.
        white: file of a white reference.
        dark: file of a dark reference.
        resample: `linear`, or `gaussian` for bands of a sensor of `fwhm`.
        fwhm: full width at half maximum of the Gaussian response in nm.
        extrapolate: hold the end values where the band grid reaches beyond the capture.
        variable: name of the image in files with several arrays.
        wavelengths: file with a list of wavelengths.
        axes: order of the image's axes, where the file does not tell.
        mask: name of the mask of valid pixels, or a file (.npy or a picture) that holds one.
        camera: table of spectral sensitivities; None for the standard observer.
        tile: side of the squares in pixels that a capture is cut into; None keeps it whole.
        group: the group of all samples; by default each capture is a group of its own.
    """

    tracks: tuple[layout.Track, ...] = (1, 2)
    split: str = "train"
    category: int = 1
    scale: float | None = None
    percentile: float | None = None
    white: str | None = None
    dark: str | None = None
    resample: Literal["linear", "gaussian"] = "linear"
    fwhm: float = 10.0
    extrapolate: bool = False
    variable: str | None = None
    wavelengths: str | None = None
    axes: str | None = None
    mask: str | None = None
    camera: str | None = None
    tile: int | None = None
    group: str | None = None

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if isinstance(value, float) and not math.isfinite(value):
                raise UserError(f"{name} must be a finite number, not {value}.")
        if self.split not in layout.SPLITS:
            raise UserError(f"There is no split '{self.split}': choose one of {', '.join(layout.SPLITS)}.")
        if not self.tracks or not set(self.tracks) <= set(layout.SCALE):
            raise UserError(f"The tracks are {' and '.join(map(str, layout.SCALE))}, not {self.tracks}.")
        if not 1 <= self.category <= _MOST_CATEGORIES:
            raise UserError(f"Categories are numbered from 1 to {_MOST_CATEGORIES}, not {self.category}.")
        if self.resample not in ("linear", "gaussian"):
            raise UserError(f"Bands are resampled by 'linear' or 'gaussian', not '{self.resample}'.")
        if self.fwhm <= 0:
            raise UserError(f"The full width at half maximum must be above 0 nm, not {self.fwhm:g}.")
        if self.tile is not None and (self.tile < 8 or self.tile % 2):
            raise UserError(f"A tile has an even number of pixels a side, at least 8, not {self.tile}.")


@dataclass
class Imported:
    """What an import made."""

    root: Path
    samples: list[ImportedSample] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        lines = [f"imported {len(self.samples)} samples into {self.root}"]
        source = ""
        for sample in self.samples:
            if sample.source != source:
                source = sample.source
                lines.append(f"  {source}")
                lines.append(f"    reflectance 1 is {sample.scale}")
                lines += [f"    {note}" for note in sample.notes.split("; ") if note]
            counts = (
                (sample.negative, "of the capture's numbers below 0"),
                (sample.below, "values below 0 set to 0 after resampling"),
                (sample.above, "values above 1 kept"),
                (sample.invalid, "pixels without data, masked and 0"),
            )
            place = f"{sample.height} x {sample.width} pixels at ({sample.top}, {sample.left})"
            lines.append(f"    {sample.id}: {place}" + "".join(f", {count} {what}" for count, what in counts if count))
        lines += [f"  {text}" for text in self.skipped]
        return "\n".join(lines)


def import_cubes(
    sources: Sequence[str | os.PathLike[str]], to: str | os.PathLike[str], options: Options | None = None
) -> Imported:
    """Bring captures into the layout of a data folder.

    A capture that has been imported before, with the same options, is left as it is; so is the finished part
    of an import that was interrupted. Another writer of the folder is waited for.

    Args:
        sources: files, Zarr stores, or folders of these.
        to: the data folder; made where it does not exist.
        options: how captures become samples.

    Returns:
        The samples, also recorded in `imports.csv` of the folder; their groups stand in `groups.csv`.

    Raises:
        UserError: a source cannot be read, does not reach over the band grid, or leaves something to be
            decided that no option decides.
    """
    options = options or Options()
    root = Path(to)
    with explaining(root):
        root.mkdir(parents=True, exist_ok=True)
    try:
        with locks.alone_in(root, wait=True):
            remove_scratch(root)
            provenance.groups(root)
            return _imported(sources, root, options)
    finally:
        # Only an import that made nothing leaves it empty.
        with contextlib.suppress(OSError):
            root.rmdir()


def _imported(sources: Sequence[str | os.PathLike[str]], root: Path, options: Options) -> Imported:
    _check_sharing(root, options)
    camera = STANDARD_OBSERVER if options.camera is None else Camera.from_csv(options.camera)
    listed = None if options.wavelengths is None else wavelengths.read_list(options.wavelengths)
    references = {
        name: None if path is None else formats.load(path, wavelengths=listed)
        for name, path in (("white", options.white), ("dark", options.dark))
    }
    done = Imported(root)
    records = {sample.key: sample for sample in provenance.read(root)}
    for source in _expanded(sources):
        opened = _opened(source, options, listed)
        scale = scaling(opened, scale=options.scale, percentile=options.percentile, **references)
        windows, notes = _windows(opened, options)
        notes = [*opened.notes, *notes, *_band_notes(opened, scale, options)]
        content = _content(source, options)
        for window in tqdm(windows, desc=Path(source).name, unit="sample", disable=None, leave=False):
            key = hashlib.blake2b(f"{content} {window}".encode(), digest_size=16).hexdigest()
            known = records.get(key)
            if known is not None and all(path.is_file() for path in _places(root, known.id, options).values()):
                done.skipped.append(f"{source} is imported already, as {known.id}")
                continue
            part = converted(
                opened,
                scale,
                window,
                resample=options.resample,
                fwhm=options.fwhm,
                extrapolate=options.extrapolate,
            )
            if part.invalid == window[2] * window[3]:
                done.skipped.append(f"{source}: the tile at {window[:2]} has no pixel with data")
                continue
            name = known.id if known else _next_id(root, options.category, records.values())
            sample = _sample(name, source, window, scale, part, notes, key, options)
            # Recorded first: after an interruption the same number is filled, not another one begun.
            records[key] = sample
            provenance.write(root, records.values())
            provenance.write_group(root, name, options.group or Path(source).stem)
            _write_sample(root, name, part.cube, camera, options)
            done.samples.append(sample)
    return done


def _expanded(sources: Sequence[str | os.PathLike[str]]) -> list[str]:
    """Files and stores, folders replaced by those that they hold."""
    found: list[str] = []
    for name in map(str, sources):
        source = Path(name)
        if not is_url(name) and source.is_dir() and source.suffix.lower() not in READERS:
            inside = [
                path
                for path in sorted(source.iterdir())
                if path.suffix.lower() in _IN_FOLDERS and "wavelength" not in path.stem.lower()
            ]
            if not inside:
                raise UserError(f"{source} holds no capture; known are {', '.join(sorted(READERS))}.")
            found += map(str, inside)
        else:
            found.append(name)
    if not found:
        raise UserError("Name at least one capture to import.")
    return found


def _opened(source: str, options: Options, listed: NDArray[np.float64] | None) -> Capture:
    mask_file = Path(options.mask) if options.mask and Path(options.mask).is_file() else None
    opened = formats.load(
        source,
        variable=options.variable,
        wavelengths=listed,
        axes=options.axes,
        mask=None if mask_file else options.mask,
    )
    if mask_file is None:
        return opened
    mask = numpy.mapped(mask_file) != 0 if mask_file.suffix.lower() == ".npy" else image.read(mask_file).max(axis=0) > 0
    if mask.shape != opened.shape[1:]:
        raise UserError(f"The mask {mask_file} has shape {mask.shape}, {source} has {opened.shape[1:]} pixels.")
    return replace(opened, mask=mask)


def _windows(opened: Capture, options: Options) -> tuple[list[Window], list[str]]:
    """The windows that a capture is cut into, of even height and width, and what is lost."""
    _, height, width = opened.shape
    side = options.tile
    if side is None:
        even = (height // 2 * 2, width // 2 * 2)
        if min(even) == 0:
            raise UserError(f"{opened.source} has {height} x {width} pixels: at least 2 x 2 are needed.")
        lost = [text for text, odd in (("the last line", height % 2), ("the last column", width % 2)) if odd]
        return [(0, 0, *even)], [f"cut to an even size: {' and '.join(lost)} left out"] if lost else []
    if side > min(height, width):
        raise UserError(f"{opened.source} has {height} x {width} pixels: no tile of {side} fits; choose a smaller one.")
    rows, columns = height // side, width // side
    windows = [(row * side, column * side, side, side) for row in range(rows) for column in range(columns)]
    rest = height * width - len(windows) * side * side
    return windows, [f"{rest} pixels beyond the last whole tiles left out"] if rest else []


def _band_notes(opened: Capture, scale: Scaling, options: Options) -> list[str]:
    centres = opened.centres()
    used = used_bands(opened, scale)
    notes = []
    known = centres[known_bands(opened)]
    if len(known) < len(centres):
        notes.append(
            f"{len(centres) - len(known)} of {len(centres)} bands left out, whose wavelengths are not finite numbers "
            "above 0"
        )
    if (np.diff(known) <= 0).any():
        notes.append("wavelengths put in order")
    double = len(known) - len(np.unique(known))
    if double:
        notes.append(f"{double} bands averaged with others of the same wavelength")
    if opened.good is not None and not opened.good.all():
        notes.append(f"{int((~opened.good).sum())} bands that the file calls bad left out")
    gaps = np.diff(centres[used])
    if len(gaps) and gaps.max() > _GAP:
        at = int(gaps.argmax())
        notes.append(f"bridged a gap in the bands from {centres[used][at]:g} to {centres[used][at + 1]:g} nm")
    if centres[used].min() > BAND_GRID[0] or centres[used].max() < BAND_GRID[-1]:
        notes.append(f"held the end values beyond {centres[used].min():g} to {centres[used].max():g} nm")
    notes.append(
        f"{len(known)} bands to {len(BAND_GRID)}, {options.resample}"
        + (f" of {options.fwhm:g} nm" if options.resample == "gaussian" else "")
    )
    return notes


def _content(source: str, options: Options) -> str:
    """What identifies an import: the bytes of all its files and every option but for the place."""
    named = [options.white, options.dark, options.wavelengths, options.camera]
    named += [options.mask] if options.mask and Path(options.mask).is_file() else []
    digest = hashlib.blake2b(digest_size=16)
    digest.update(source.encode() if is_url(source) else b"")
    for path in [source, *filter(None, named)]:
        for file in formats.files(path):
            digest.update(file_hash(file).encode())
    decisive = {name: value for name, value in asdict(options).items() if name not in ("tracks", "group")}
    digest.update(repr(sorted(decisive.items())).encode())
    return digest.hexdigest()


def _sample(
    name: str,
    source: str,
    window: Window,
    scale: Scaling,
    part: Reflectance,
    notes: list[str],
    key: str,
    options: Options,
) -> ImportedSample:
    return ImportedSample(
        name,
        options.split,
        source,
        *window,
        scale=scale.text,
        negative=part.negative,
        below=part.below,
        above=part.above,
        invalid=part.invalid,
        notes="; ".join(notes),
        key=key,
    )


def _next_id(root: Path, category: int, records: Iterable[ImportedSample]) -> str:
    """The first free number of the category, over all splits and tracks."""
    pattern = re.compile(rf"^Category-{category}_[A-Za-z]+_(\d+)$")
    names = {sample.id for sample in records}
    for track in layout.SCALE:
        for split in layout.SPLITS:
            folder = layout.split_folder(root, track, split)
            for modality in (layout.INPUT_MODALITY[track], layout.CUBES):
                names |= {path.stem for path in layout.files_of(folder, modality)}
    numbers = [int(found.group(1)) for found in map(pattern.match, names) if found]
    return f"Category-{category}_a_{max(numbers, default=-1) + 1:04d}"


def _places(root: Path, name: str, options: Options) -> dict[tuple[int, str], Path]:
    """The files of a sample, by track and modality; what the tracks share stands once."""
    places: dict[tuple[int, str], Path] = {}
    suffixes = {layout.CUBES: ".h5", layout.INPUT_MODALITY[1]: ".npy"}
    for track in sorted(options.tracks, reverse=True):
        folder = layout.split_folder(root, track, options.split)
        places[track, layout.INPUT_MODALITY[track]] = folder / layout.INPUT_MODALITY[track]
        for modality in _shared(options):
            place = layout.modality_folder(folder, modality)
            elsewhere = [there for (_, kind), there in places.items() if kind == modality]
            # A folder that one track lacks is found under the other one.
            if not elsewhere or (place.is_dir() and not any(_same(place, there) for there in elsewhere)):
                places[track, modality] = place
    return {at: place / f"{name}{suffixes.get(at[1], '.png')}" for at, place in places.items()}


def _shared(options: Options) -> tuple[str, ...]:
    return (layout.CUBES, layout.RGB_FULL) if options.split in layout.LABELLED_SPLITS else ()


def _same(one: Path, other: Path) -> bool:
    return os.path.realpath(one) == os.path.realpath(other)


def _check_sharing(root: Path, options: Options) -> None:
    """A track that shares its cubes must get an input for each of them."""
    for track in options.tracks if _shared(options) else ():
        for other in sorted(set(layout.SCALE) - set(options.tracks)):
            mine, theirs = (layout.split_folder(root, number, options.split) for number in (track, other))
            cubes = layout.modality_folder(mine, layout.CUBES)
            if theirs.is_dir() and cubes.is_dir() and _same(cubes, layout.modality_folder(theirs, layout.CUBES)):
                raise UserError(
                    f"The tracks {track} and {other} of {root} share the cubes of {options.split}: import for both, "
                    "so that each cube has an input on both."
                )


def _write_sample(root: Path, name: str, cube: Cube, camera: Camera, options: Options) -> None:
    for (_, modality), path in _places(root, name, options).items():
        if modality == layout.CUBES:
            hdf5.write(path, cube)
        elif modality == layout.RGB_FULL:
            image.write(path, camera.rgb_full(cube))
        elif modality == layout.INPUT_MODALITY[1]:
            mosaic.write(path, camera.mosaic(cube))
        else:
            image.write(path, camera.rgb_2(cube))

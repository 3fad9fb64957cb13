"""The challenge's folders: tracks, splits, modalities, sample ids."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from hsengine.base.errors import UserError
from hsengine.base.filling import check_filled

Track = Literal[1, 2]
Input = Literal["track", "rgb_full"]
"""What a model can be given: what its track gives, or the full-size RGB."""
Target = Literal["hsi_61", "rgb_full"]
"""What a model can predict: cubes, or the full-size RGB."""

SPLITS = ("train", "test-public", "test-private")
LABELLED_SPLITS = ("train", "test-public")
SPLIT_ALIASES = {"test-public": ("public-test",), "test-private": ("private-test",)}

CUBES: Final = "hsi_61"
CUBES_ZARR = "hsi_61_zarr"
RGB_FULL: Final = "rgb_full"
INPUT_MODALITY: dict[int, str] = {1: "mosaic", 2: "rgb_2"}


@dataclass(frozen=True)
class Modality:
    """A kind of input.

    Attributes:
        scale: target pixels for each of its pixels along an axis.
        what: in words.
        needs: where it comes from, and who has none.
    """

    scale: int
    what: str
    needs: str


MODALITIES: dict[str, Modality] = {
    "mosaic": Modality(1, "RGGB mosaics (.npy, one plane)", "track 1; every sample has one"),
    "rgb_2": Modality(2, "RGB images of half the cube's size (.png, .jpg)", "track 2; every sample has one"),
    RGB_FULL: Modality(
        1,
        "RGB images of the cube's size (.png, .jpg)",
        "`rgb_full` of the data folder, or else what 'hsdata render' makes of the cubes; a sample without a cube, such "
        "as those of test-private, has none, so that such models are for pre-training and checks, not to submit",
    ),
}
"""Every input that there is, and what it needs."""

# Target pixels for each input pixel along an axis.
SCALE: dict[int, int] = {track: MODALITIES[name].scale for track, name in INPUT_MODALITY.items()}
SUFFIXES: dict[str, tuple[str, ...]] = {
    "mosaic": (".npy",),
    "rgb_2": (".png", ".jpg", ".jpeg"),
    RGB_FULL: (".png", ".jpg", ".jpeg"),
    CUBES: (".h5", ".hdf5"),
    CUBES_ZARR: (".zarr",),
}

_CATEGORY = re.compile(r"^Category-(\d+)_")


def modality_of(track: int, input: Input = "track") -> str:
    """Which of `MODALITIES` a model is given."""
    return INPUT_MODALITY[track] if input == "track" else input


def category_of(sample_id: str) -> int:
    """The category number in an id such as `Category-3_a_0041`; 0 where it names none."""
    found = _CATEGORY.match(sample_id)
    return int(found.group(1)) if found else 0


def split_folder(root: str | os.PathLike[str], track: int, split: str) -> Path:
    """The folder of a split, under its own name or the archive's alias of it."""
    base = Path(root) / f"track{track}"
    names: tuple[str, ...] = (split, *SPLIT_ALIASES.get(split, ()))
    for name in names:
        if (base / name).is_dir():
            return base / name
    return base / split


def canonical_split(name: str) -> str:
    """The split's own name for a folder's name: `public-test` is `test-public`."""
    return next((split for split, aliases in SPLIT_ALIASES.items() if name in aliases), name)


def check_root(root: str | os.PathLike[str], track: int) -> Path:
    """The data folder, once it is known to hold the track.

    Raises:
        UserError: there is no such folder, it holds no `track<N>`, or a run that was to fill it did not end.
    """
    folder = Path(root)
    if "://" in str(root):
        raise UserError(
            f"data.root is {root}, but raw files are listed in a local folder: bring them there with a DVC remote "
            "('dvc import-url', 'dvc pull') or mount them; converted cubes can be read from a URL (docs/scaling.md)."
        )
    if not folder.is_dir():
        raise UserError(
            f"There is no data folder at {folder}: place or link the challenge's data there, "
            f"run 'dvc pull', or make sample data with 'hsdata sample {folder}'."
        )
    check_filled(folder)
    if not (folder / f"track{track}").is_dir():
        present = sorted(p.name for p in folder.iterdir() if p.name.startswith("track"))
        raise UserError(
            f"{folder} holds no folder track{track} (found: {', '.join(present) or 'no track folder'}): "
            f"set 'track' in params.yaml to one that exists, or add the missing folder."
        )
    return folder


def modality_folder(folder: Path, modality: str) -> Path:
    """Where a split's files of one modality are.

    A modality can be shared between the tracks: as a symbolic link, as the small text file that git
    writes in place of one where links are not available, or, since DVC versions no links to folders,
    by being present under the other track alone. The place may not exist.
    """
    place = folder / modality
    if place.is_dir():
        return place
    if place.is_file() and place.stat().st_size < 4096:
        target = folder / place.read_text(encoding="utf-8", errors="replace").strip()
        if target.is_dir():
            return target
    if modality not in INPUT_MODALITY.values():
        for sibling in sorted(folder.parent.parent.glob("track[12]")):
            shared = split_folder(folder.parent.parent, int(sibling.name[5:]), canonical_split(folder.name)) / modality
            if shared.is_dir():
                return shared
    return place


def files_of(folder: Path, modality: str) -> list[Path]:
    """The files of one modality in a split's folder, sorted by name (see `modality_folder`)."""
    suffixes = SUFFIXES[modality]
    place = modality_folder(folder, modality)
    if not place.is_dir():
        return []
    return sorted(p for p in place.iterdir() if p.suffix.lower() in suffixes and not p.name.startswith("."))

"""Captures of other sensors as their files hold them, before they become cubes of reflectance.

What several formats share: which of a file's arrays is the image, which axis holds the bands, where
the wavelengths stand and in which unit.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hsdata.cube import Cube
from hsdata.formats.wavelengths import NAMES, bare_name, in_nm, is_wavelengths
from hsengine.base import reading
from hsengine.base.errors import UserError

AXES = ("height,width,bands", "bands,height,width", "height,bands,width")
"""The orders of axes that a file may use."""


@dataclass(frozen=True, eq=False)
class Capture:
    """An image of a sensor, as stored.

    Attributes:
        values: (bands, height, width) of the stored type; may be a memory map.
        wavelengths: (bands,) float64 in nm, in the file's order; None where the file names none.
        source: the file.
        scale: the stored value that means reflectance 1, where the file declares it.
        mask: (height, width) bool, True where the pixel is valid; None where the file has none.
        good: (bands,) bool, False for bands that the file declares bad; None where it says nothing.
        ignore: the stored value that means "no data", where the file declares one.
        notes: what had to be inferred from the file, in words.
    """

    values: NDArray[Any]
    wavelengths: NDArray[np.float64] | None
    source: str
    scale: float | None = None
    mask: NDArray[np.bool_] | None = None
    good: NDArray[np.bool_] | None = None
    ignore: float | None = None
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.values.ndim != 3 or self.values.dtype.kind not in "fiub":
            raise UserError(
                f"{self.source}: an image of real numbers on 3 axes is needed, "
                f"not {self.values.dtype} of shape {self.values.shape}."
            )
        if self.wavelengths is not None and len(self.wavelengths) != len(self.values):
            raise UserError(
                f"{self.source}: {len(self.values)} bands but {len(self.wavelengths)} wavelengths; give one per band."
            )

    @property
    def shape(self) -> tuple[int, int, int]:
        """(bands, height, width)."""
        return self.values.shape  # type: ignore[return-value]

    def centres(self) -> NDArray[np.float64]:
        """(bands,) wavelengths in nm.

        Raises:
            UserError: the file names none.
        """
        if self.wavelengths is None:
            raise UserError(
                f"{self.source} names no wavelengths for its {len(self.values)} bands: give a list of them "
                "(CSV, text or .npy, in nm), beside the file or with --wavelengths."
            )
        return self.wavelengths

    def valid(self, values: NDArray[Any], top: int = 0, left: int = 0) -> NDArray[np.bool_]:
        """(rows, columns): which pixels of stored values (bands, rows, columns) from (top, left) on hold data."""
        valid = np.ones(values.shape[1:], dtype=np.bool_)
        if self.mask is not None:
            valid &= self.mask[top : top + values.shape[1], left : left + values.shape[2]]
        if values.dtype.kind == "f":
            valid &= np.isfinite(values).all(axis=0)
        if self.ignore is not None and not np.isnan(self.ignore):
            absent = values == self.ignore
            # A dark pixel may be 0 in some bands and yet be measured.
            valid &= ~(absent.all(axis=0) if self.ignore == 0 else absent.any(axis=0))
        return valid

    @classmethod
    def of(cls, cube: Cube) -> Capture:
        """A cube as a capture."""
        return cls(cube.values, cube.wavelengths, cube.source, mask=cube.mask)

    def cube(self) -> Cube:
        """All bands in the file's order; a declared scale is applied, pixels without data are 0 and masked."""
        values = np.array(self.values, dtype=np.float32)
        valid = self.valid(self.values)
        if self.scale is not None:
            values /= np.float32(self.scale)
        if not valid.all():
            values[:, ~valid] = 0.0
        mask = None if self.mask is None and valid.all() else valid
        return Cube(values, self.centres(), self.source, mask)


def assemble(
    arrays: Mapping[str, Any],
    source: str,
    *,
    variable: str | None = None,
    wavelengths: Sequence[float] | NDArray[Any] | None = None,
    axes: str | None = None,
    mask: str | None = None,
) -> Capture:
    """Find image, wavelengths and mask among a file's arrays.

    Args:
        arrays: arrays (NumPy, or h5py datasets, which are read when chosen) by name.
        source: the file, for messages.
        variable: name of the image; found if it is the only array with 3 axes.
        wavelengths: (bands,) in nm or µm; found by name in the file if None.
        axes: one of `AXES`; found by the number of wavelengths if None.
        mask: name of the mask of valid pixels; found by name if None.

    Raises:
        UserError: one of them is missing or ambiguous.
    """
    name = _image(arrays, variable, source)
    image = arrays[name]
    check_declared(image, source)
    notes = []
    if len([key for key in arrays if len(arrays[key].shape) == 3]) > 1 or variable is None:
        notes.append(f"image: '{name}'")
    centres, told = None, None
    if wavelengths is not None:
        centres, told = in_nm(np.asarray(wavelengths, dtype=np.float64).reshape(-1), None)
    else:
        found = _wavelengths(arrays, image, name)
        if found is not None:
            centres, told = in_nm(np.asarray(arrays[found][()], dtype=np.float64).reshape(-1), None)
            notes.append(f"wavelengths: '{found}'")
    notes += [told] if told else []
    values = bands_first(np.asarray(image[()]), None if centres is None else len(centres), axes, source)
    valid = None
    chosen = mask or _mask(arrays, values.shape[1:])
    if chosen is not None:
        if chosen not in arrays:
            raise UserError(f"{source} has no mask '{chosen}'; it holds: {', '.join(sorted(arrays))}.")
        if tuple(arrays[chosen].shape) != values.shape[1:]:
            shape = tuple(arrays[chosen].shape)
            raise UserError(f"{source}: mask '{chosen}' has shape {shape}, the image {values.shape[1:]}.")
        valid = np.asarray(arrays[chosen][()]).astype(np.bool_)
        notes.append(f"mask of valid pixels: '{chosen}'")
    return Capture(values, centres, source, mask=valid, notes=tuple(notes))


def bands_first(values: NDArray[Any], bands: int | None, axes: str | None, source: str) -> NDArray[Any]:
    """The array as (bands, height, width), a view.

    Args:
        values: three axes, in one of the orders of `AXES`.
        bands: number of wavelengths, by which the axis of bands is known.
        axes: the order, where it is known.
        source: the file, for messages.

    Raises:
        UserError: no axis or more than one has that many entries, and `axes` does not say which.
    """
    if axes is not None and axes not in AXES:
        raise UserError(f"axes: '{axes}' is not one of {'; '.join(AXES)}.")
    if axes is None:
        if bands is None:
            raise UserError(
                f"{source} holds an image of shape {values.shape} but no wavelengths, so that its bands cannot be "
                "told from its pixels: give a list of wavelengths with --wavelengths."
            )
        fits = [order for order in AXES if values.shape[order.split(",").index("bands")] == bands]
        if len(fits) != 1:
            which = "more than one axis has" if fits else "no axis has"
            raise UserError(
                f"{source}: the image has shape {values.shape} and there are {bands} wavelengths: {which} that "
                f"length; give the order of the axes with --axes ({'; '.join(AXES)})."
            )
        axes = fits[0]
    return np.moveaxis(values, axes.split(",").index("bands"), 0)


def check_declared(item: Any, source: str, *, whole: bool = True) -> None:
    """Refuse an HDF5 dataset that declares more than its file can hold, before memory is taken for it."""
    import h5py

    if isinstance(item, h5py.Dataset):
        reading.check_size(source, int(item.size or 0) * item.dtype.itemsize, item.id.get_storage_size(), whole=whole)


def hdf5_arrays(file: Any) -> dict[str, Any]:
    """Every numeric dataset of an open HDF5 file by its path; attributes that are vectors count too."""
    import h5py

    arrays: dict[str, Any] = {}

    def visit(name: str, item: Any) -> None:
        if isinstance(item, h5py.Dataset) and item.dtype.kind in "fiub":
            arrays[name] = item
        for key in item.attrs:
            kept = item.attrs.get_id(key)
            # Texts are left alone: reading those of a damaged file may not end.
            if kept.dtype.kind in "fiu" and len(kept.shape) == 1:
                arrays[f"{name}@{key}"] = item.attrs[key]

    visit("", file)
    file.visititems(visit)
    return arrays


def _image(arrays: Mapping[str, Any], variable: str | None, source: str) -> str:
    shapes = {name: tuple(array.shape) for name, array in arrays.items()}
    held = ", ".join(f"{name} {shape}" for name, shape in sorted(shapes.items())) or "no array"
    if variable is not None:
        if variable not in arrays:
            raise UserError(f"{source} has no variable '{variable}'; it holds: {held}.")
        return variable
    images = [name for name, shape in shapes.items() if len(shape) == 3]
    if len(images) > 1:
        # The usual name decides between an image and, say, its ground truth in colour.
        lengths = {len(np.ravel(arrays[name])) for name in shapes if is_wavelengths(name)}
        images = [name for name in images if lengths & set(shapes[name])] or images
    if len(images) == 1:
        return images[0]
    problem = "more than one image" if images else "no image, an array with 3 axes"
    raise UserError(f"{source} holds {problem} ({held}): name one with --variable.")


def _wavelengths(arrays: Mapping[str, Any], image: Any, own: str) -> str | None:
    """The name of the vector of wavelengths, by its name and length."""
    vectors = {
        name: bare_name(name)
        for name, array in arrays.items()
        if name != own and max(array.shape, default=0) == np.prod(array.shape) and max(array.shape) in image.shape
    }
    for wanted in NAMES:
        for name, word in vectors.items():
            if word == wanted:
                return name
    return next((name for name, word in vectors.items() if "wavelength" in word or "lambda" in word), None)


def _mask(arrays: Mapping[str, Any], frame: tuple[int, ...]) -> str | None:
    names = [
        name
        for name, array in arrays.items()
        if tuple(array.shape) == frame and ("mask" in bare_name(name) or bare_name(name).startswith("valid"))
    ]
    return names[0] if len(names) == 1 else None

"""Which objects belong together: one place in the sky, one host galaxy, one image."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

Labels = NDArray[np.int64]
Pairs = NDArray[np.int64]

_ARCSEC = np.pi / 180.0 / 3600.0


def sky_pairs(ra: NDArray[Any], dec: NDArray[Any], arcsec: float) -> Pairs:
    """Pairs of objects closer than `arcsec` on the sky, found in n log n by a k-d tree of unit vectors.

    Args:
        ra: right ascension in degrees, NaN where unknown.
        dec: declination in degrees, NaN where unknown.
        arcsec: the radius.

    Returns:
        Indices (pairs, 2). Objects without a place are in no pair.
    """
    from scipy.spatial import cKDTree

    ra, dec = np.radians(np.asarray(ra, np.float64)), np.radians(np.asarray(dec, np.float64))
    known = np.flatnonzero(np.isfinite(ra) & np.isfinite(dec))
    if len(known) < 2:
        return np.empty((0, 2), np.int64)
    ra, dec = ra[known], dec[known]
    vectors = np.stack([np.cos(dec) * np.cos(ra), np.cos(dec) * np.sin(ra), np.sin(dec)], axis=1)
    # Many objects at one place would be all pairs of each other: one of them stands for the place.
    _, first, place = np.unique(np.round(vectors, 12), axis=0, return_index=True, return_inverse=True)
    place = place.reshape(-1)
    same = np.stack([known[first[place]], known], axis=1)
    chord = 2.0 * np.sin(arcsec * _ARCSEC / 2.0)
    near = cKDTree(vectors[first]).query_pairs(chord, output_type="ndarray")
    return np.concatenate([same[same[:, 0] != same[:, 1]], known[first[near]].reshape(-1, 2)]).astype(np.int64)


def equal_pairs(keys: Iterable[tuple[int, str]]) -> Pairs:
    """Pairs (first, other) of the objects that share a key; empty keys are shared by nobody.

    Args:
        keys: (object, key), any number for an object.
    """
    first: dict[str, int] = {}
    pairs = [(first.setdefault(key, index), index) for index, key in keys if key]
    return np.asarray([pair for pair in pairs if pair[0] != pair[1]], np.int64).reshape(-1, 2)


def components(count: int, pairs: Sequence[Pairs]) -> Labels:
    """Number of the connected component of each of `count` objects, counted from 0 in their order."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    links = np.concatenate([np.empty((0, 2), np.int64), *pairs])
    graph = coo_array((np.ones(len(links), np.int8), (links[:, 0], links[:, 1])), shape=(count, count))
    labels = connected_components(graph, directed=False)[1]
    _, first, inverse = np.unique(labels, return_index=True, return_inverse=True)
    rank = np.empty(len(first), np.int64)
    rank[np.argsort(first)] = np.arange(len(first))
    return rank[inverse.reshape(-1)]

"""The stage `submit`: maps of the whole scenes beside the target's tiles, and of the test tiles."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from hsengine import folder as folders
from hsengine.base import paths
from hsengine.base.files import file_hash, replacing, write_json
from hstasks.images import geotiff
from hstasks.landcover import layout, predict, scoring, split, stages
from hstasks.landcover.params import Params

# Pixels of the largest scene whose seams are measured.
_MEASURED = 600_000


@dataclass(frozen=True)
class Summary:
    """What was mapped."""

    folder: Path
    scenes: int
    tiles: int
    seam: float | None

    def __str__(self) -> str:
        told = "" if self.seam is None else f"; windows differ from a scene taken whole by at most {self.seam:.3f}"
        return f"{self.scenes} scenes and {self.tiles} test tiles mapped{told}\nwrote {self.folder}"


def run(params: Params, *, folder: Path = paths.SUBMISSION) -> Summary:
    """Map `target/scenes` and the test tiles with the stage's model, by images alone.

    Raises:
        UserError: there is no model, it does not suit (see `scoring.suits`), or a scene cannot be read.
    """
    chosen = stages.resolved(params)
    division = split.load()
    source = stages.model(chosen)
    scoring.suits(source, division)
    mapper = predict.opened(
        source, checkpoint=chosen.predict.checkpoint, window=chosen.predict.window, views=chosen.predict.views
    )
    place = Path(chosen.data.root) / layout.TARGET / layout.SCENES
    scenes = predict.scenes_of(place) if place.is_dir() else []
    tiles = [Path(name) for name in split.rows(split.TEST, division)["image"]]
    seam: float | None = None
    with replacing(folder) as scratch:
        for inner, files in (("scenes", scenes), ("tiles", tiles)):
            (scratch / inner).mkdir(parents=True)
            for file in files:
                predict.write(mapper, file, scratch / inner)
        for file in scenes:
            where = geotiff.place(file)
            if where.height * where.width <= _MEASURED:
                seam = max(seam or 0.0, predict.seams(mapper, file))
        record = {
            "model": file_hash(source / folders.file_of(chosen.predict.checkpoint)),
            "stage": chosen.stage,
            "window": mapper.window,
            "views": mapper.views,
            "largest_seam": seam,
        }
        write_json(scratch / "record.json", record)
    return Summary(folder, len(scenes), len(tiles), seam)

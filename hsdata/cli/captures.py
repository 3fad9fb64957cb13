"""The verbs for data from elsewhere: Kaggle's archives, other sensors' captures, other programs' formats."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from hsengine.base.console import positive

app = typer.Typer()

Variable = Annotated[str | None, typer.Option(help="The image's name, in files with several arrays.")]
Wavelengths = Annotated[Path | None, typer.Option(help="A list of wavelengths in nm or µm (CSV, text, .npy).")]
Axes = Annotated[str | None, typer.Option(help="Order of the axes, e.g. 'height,width,bands', if it is ambiguous.")]


@app.command()
def fetch(
    track: Annotated[int, typer.Option(help="1 (mosaics) or 2 (half-size RGB).")],
    to: Annotated[Path, typer.Option(help="The data folder.")] = Path("data"),
    again: Annotated[bool, typer.Option("--again", help="Download even if the track is there.")] = False,
    keep_archive: Annotated[bool, typer.Option("--keep-archive", help="Leave the archive in the folder.")] = False,
    base_url: Annotated[str | None, typer.Option(help="A mirror of Kaggle's interface.", hidden=True)] = None,
) -> None:
    """Download the challenge's archive with your Kaggle account and unpack it; resumes where it was stopped."""
    from hsdata import fetch as stage

    done = stage.fetch(track, to, base_url=base_url or stage.KAGGLE, again=again, keep_archive=keep_archive)
    typer.echo(str(done))


@app.command(name="import")
def import_(
    sources: Annotated[list[str], typer.Argument(metavar="SOURCE...", help="Captures, or folders of them.")],
    to: Annotated[Path, typer.Option(help="The data folder to add to.")],
    track: Annotated[Literal["1", "2", "both"], typer.Option(help="Tracks to make inputs for.")] = "both",
    split: Annotated[str, typer.Option(help="train, test-public or test-private.")] = "train",
    category: Annotated[int, typer.Option(help="The category in the samples' ids.")] = 1,
    scale: Annotated[float | None, typer.Option(callback=positive, help="The number that means reflectance 1.")] = None,
    percentile: Annotated[
        float | None, typer.Option(callback=positive, help="Take this percentile of the numbers for 1.")
    ] = None,
    white: Annotated[str | None, typer.Option(help="A capture of a white reference.")] = None,
    dark: Annotated[str | None, typer.Option(help="A capture with the shutter closed.")] = None,
    resample: Annotated[Literal["linear", "gaussian"], typer.Option(help="How to get to the band grid.")] = "linear",
    fwhm: Annotated[float, typer.Option(callback=positive, help="Width of the Gaussian response in nm.")] = 10.0,
    extrapolate: Annotated[bool, typer.Option("--extrapolate", help="Hold the end values beyond the bands.")] = False,
    variable: Variable = None,
    wavelengths: Wavelengths = None,
    axes: Axes = None,
    mask: Annotated[str | None, typer.Option(help="Mask of valid pixels: a variable, a .npy or a picture.")] = None,
    camera: Annotated[str | None, typer.Option(help="Table of sensitivities: wavelength,r,g,b.")] = None,
    tile: Annotated[int | None, typer.Option(help="Cut captures into squares of this side.")] = None,
    group: Annotated[str | None, typer.Option(help="One group for all; default: one for each capture.")] = None,
) -> None:
    """Bring captures of other sensors into the challenge's layout: cubes on the band grid and their inputs."""
    from hsdata.captures import importer as stage

    options = stage.Options(
        tracks=(1, 2) if track == "both" else (1,) if track == "1" else (2,),
        split=split,
        category=category,
        scale=scale,
        percentile=percentile,
        white=white,
        dark=dark,
        resample=resample,
        fwhm=fwhm,
        extrapolate=extrapolate,
        variable=variable,
        wavelengths=None if wavelengths is None else str(wavelengths),
        axes=axes,
        mask=mask,
        camera=camera,
        tile=tile,
        group=group,
    )
    typer.echo(str(stage.import_cubes(sources, to, options)))


@app.command()
def export(
    sources: Annotated[list[str], typer.Argument(metavar="SOURCE...", help="Cubes of any format.")],
    to: Annotated[Path, typer.Option(help="A folder, or the header (.hdr) of a single image.")],
    interleave: Annotated[Literal["bsq", "bil", "bip"], typer.Option(help="Order of the numbers.")] = "bil",
) -> None:
    """Write cubes as ENVI images, wavelengths in the header."""
    from hsdata.captures import exporter as stage

    for header in stage.export_cubes(sources, to, interleave=interleave):
        typer.echo(f"wrote {header}")


@app.command()
def info(
    paths: Annotated[list[str], typer.Argument(metavar="PATH...", help="Files or stores of any format.")],
    variable: Variable = None,
    wavelengths: Wavelengths = None,
    axes: Axes = None,
) -> None:
    """Describe cubes: shape, wavelengths, values, and what is odd about them."""
    from hsdata.captures import info as stage

    for path in paths:
        typer.echo(str(stage.describe(path, variable=variable, wavelengths_file=wavelengths, axes=axes)))


@app.command()
def view(
    files: Annotated[
        list[str], typer.Argument(metavar="FILE...", help="Cubes of any format; alike ones side by side.")
    ],
    out: Annotated[Path, typer.Option(help="The page to write.")] = Path("view.html"),
    variable: Variable = None,
    wavelengths: Wavelengths = None,
    axes: Axes = None,
) -> None:
    """Make a page that shows cubes: pictures, bands, spectra, differences; it opens without network."""
    from hsdata import view as verb
    from hsdata.formats.wavelengths import read_list

    centres = None if wavelengths is None else read_list(wavelengths)
    typer.echo(str(verb.run(files, out, variable=variable, wavelengths=centres, axes=axes)))

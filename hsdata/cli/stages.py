"""The verbs that are stages of the pipeline: each reads `params.yaml` and calls the module of its name."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from hsdata import paths
from hsdata.cli.options import Full, ParamsFile, Scheduler, Workers

app = typer.Typer()
index_app = typer.Typer(help="Who is held out, and whether anything leaks.", invoke_without_command=True)
app.add_typer(index_app, name="index")
smote_app = typer.Typer(help="Synthetic samples: two of one category, mixed.", no_args_is_help=True)
app.add_typer(smote_app, name="smote")


@app.command()
def sample(
    root: Annotated[Path, typer.Argument(help="The folder to make.")] = Path("data"),
    size: Annotated[int, typer.Option(help="Pixels a side of a cube.")] = 64,
    train: Annotated[int, typer.Option(help="Training samples.")] = 24,
    test_public: Annotated[int, typer.Option(help="Public test samples, with cubes.")] = 6,
    test_private: Annotated[int, typer.Option(help="Private test samples, inputs only.")] = 3,
    seed: Annotated[int, typer.Option(help="Another seed makes other scenes.")] = 0,
    compress: Annotated[bool, typer.Option("--compress", help="Write gzip cubes, as the challenge does.")] = False,
    link: Annotated[
        bool, typer.Option("--link", help="Link track 1 to the cubes of track 2; they are found without, too.")
    ] = False,
    workers: Annotated[int, typer.Option(help="Processes; 0 means one a core.")] = 0,
    force: Annotated[bool, typer.Option("--force", help="Write into a folder that is not empty.")] = False,
) -> None:
    """Make a sample data set in the challenge's layout, the same bytes on every machine."""
    from hsdata import sample as stage

    summary = stage.make(
        root,
        size=size,
        train=train,
        test_public=test_public,
        test_private=test_private,
        seed=seed,
        compress=compress,
        link=link,
        workers=workers,
        force=force,
    )
    typer.echo(str(summary))


@app.command()
def verify(
    params: ParamsFile = Path("params.yaml"),
) -> None:
    """Say whether the raw files are those that data.dvc recorded."""
    from hsdata import verify as stage
    from hsdata.params import load_data_params

    difference = stage.verify(load_data_params(params).data.root)
    typer.echo(str(difference))
    if difference:
        raise typer.Exit(1)


@app.command()
def catalog(params: ParamsFile = Path("params.yaml"), workers: Workers = None, scheduler: Scheduler = None) -> None:
    """List every sample: its files, whether they are sound, what they hold."""
    from hsdata import catalog as stage
    from hsdata import verify
    from hsdata.params import load_data_params

    loaded = load_data_params(params)
    for note in verify.require_recorded(loaded.data.root).notes:
        typer.echo(f"note: {note}")
    frame = stage.make(
        loaded.data.root,
        loaded.track,
        workers=loaded.machine.workers if workers is None else workers,
        scheduler=scheduler,
        unsound=loaded.catalog.unsound,
    )
    stage.save(frame, paths.CATALOG)
    typer.echo(stage.describe(frame))
    typer.echo(f"wrote {paths.CATALOG}")


@app.command()
def convert(
    params: ParamsFile = Path("params.yaml"),
    workers: Workers = None,
    scheduler: Scheduler = None,
    full: Full = False,
) -> None:
    """Turn the raw cubes into sharded Zarr arrays that are read by the crop."""
    from hsdata import catalog as catalogs
    from hsdata import convert as stage
    from hsdata.params import load_data_params

    loaded = load_data_params(params)
    summary = stage.run(
        catalogs.load(paths.CATALOG),
        paths.ZARR,
        chunk=loaded.convert.chunk,
        dtype=loaded.convert.dtype,
        workers=loaded.machine.workers if workers is None else workers,
        scheduler=scheduler,
        full=full,
    )
    typer.echo(f"{summary}\nin {paths.ZARR}")


@app.command()
def render(
    params: ParamsFile = Path("params.yaml"),
    workers: Workers = None,
    scheduler: Scheduler = None,
    full: Full = False,
) -> None:
    """Render each cube as a full-size sRGB picture (rgb_full)."""
    from hsdata import catalog as catalogs
    from hsdata import render as stage
    from hsdata.params import load_data_params

    loaded = load_data_params(params)
    summary = stage.run(
        catalogs.load(paths.CATALOG),
        paths.RGB_FULL,
        workers=loaded.machine.workers if workers is None else workers,
        scheduler=scheduler,
        full=full,
    )
    typer.echo(f"{summary}\nin {paths.RGB_FULL}")


@index_app.callback()
def index(context: typer.Context, params: ParamsFile = Path("params.yaml")) -> None:
    """Decide which samples are held out; without a further verb, the same as `make`."""
    if context.invoked_subcommand is None:
        index_make(params)


@index_app.command("make")
def index_make(params: ParamsFile = Path("params.yaml")) -> None:
    """Decide which samples are held out, and write what was decided and why."""
    from hsdata import catalog as catalogs
    from hsdata import index as stage
    from hsdata.params import load_data_params

    loaded = load_data_params(params)
    decision = stage.make(catalogs.load(paths.CATALOG), loaded.index, loaded.seed)
    stage.write(decision, paths.INDEX)
    typer.echo(f"{decision}\nin {paths.INDEX}")


@index_app.command("check")
def index_check(
    index: Annotated[Path, typer.Argument(help="A file of held-out ids, one a line.")] = paths.HELD_OUT,
    plan: Annotated[Path | None, typer.Option(help="The plan of synthetic samples (smote_plan.csv).")] = None,
    catalog: Annotated[Path | None, typer.Option(help="A catalog; tells groups and equal contents.")] = None,
    fix: Annotated[
        Literal["drop-synthetic", "drop-held-out"] | None, typer.Option(help="Write a clean plan or a clean index.")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="The file that --fix writes.")] = None,
) -> None:
    """Say whether what is held out leaks into what is trained on; exit code 1 if it does."""
    from hsdata import index as stage

    found = stage.check(index, plan=plan, catalog=catalog, fix=fix, out=out)
    typer.echo(str(found))
    if not found.clean:
        raise typer.Exit(1)


@smote_app.command("plan")
def smote_plan(
    params: ParamsFile = Path("params.yaml"),
    as_published: Annotated[
        bool, typer.Option("--as-published", help="Fill each split on its own, whatever is held out.")
    ] = False,
    to: Annotated[Path, typer.Option(help="The folder of the labels and the plan.")] = paths.SMOTE_PLANNING,
) -> None:
    """Plan which training samples are mixed; nothing held out takes part."""
    from hsdata import catalog as catalogs
    from hsdata import index as indexes
    from hsdata import smote as stage
    from hsdata.params import load_data_params

    loaded = load_data_params(params).smote
    training = None if as_published else indexes.read(paths.TRAINING)
    balance = "max" if as_published and loaded.balance == "none" else loaded.balance
    planned = stage.planned(catalogs.load(paths.CATALOG), training, seed=loaded.seed, balance=balance)
    planned.write(to)
    typer.echo(f"{planned}\nin {to}")


@smote_app.command("generate")
def smote_generate(
    params: ParamsFile = Path("params.yaml"),
    workers: Workers = None,
    scheduler: Scheduler = None,
    full: Full = False,
    device: Annotated[Literal["cpu", "auto", "cuda"], typer.Option(help="Where cubes are mixed.")] = "cpu",
) -> None:
    """Make the planned synthetic samples; what exists and is intact is kept."""
    from hsdata import catalog as catalogs
    from hsdata import smote as stage
    from hsdata.mixing import pairs
    from hsdata.params import load_data_params

    loaded = load_data_params(params)
    summary = stage.generate(
        pairs.read(paths.SMOTE_PLAN),
        catalogs.load(paths.CATALOG),
        paths.SMOTE,
        track=loaded.track,
        normalize=loaded.smote.normalize,
        rgb=loaded.smote.rgb,
        size=loaded.smote.size,
        preview=loaded.smote.preview,
        chunk=loaded.convert.chunk,
        dtype=loaded.convert.dtype,
        device=device,
        workers=loaded.machine.workers if workers is None else workers,
        scheduler=scheduler,
        full=full,
    )
    typer.echo(f"{summary}\nin {paths.SMOTE}")

"""The verbs that are stages of the pipeline: each reads `params.yaml` and calls `run` of the module of its name."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from hsdata import paths
from hsdata.cli.options import PARAMS, Full, ParamsFile, Scheduler, Workers
from hsdata.params import load_data_params

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
    workers: Annotated[int, typer.Option(min=0, help="Processes; 0 means one a core.")] = 0,
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
def verify(params: ParamsFile = PARAMS) -> None:
    """Say whether the raw files are those that data.dvc recorded."""
    from hsdata import verify as stage

    difference = stage.run(load_data_params(params))
    typer.echo(str(difference))
    if difference:
        raise typer.Exit(1)


@app.command()
def catalog(params: ParamsFile = PARAMS, workers: Workers = None, scheduler: Scheduler = None) -> None:
    """List every sample: its files, whether they are sound, what they hold."""
    from hsdata import catalog as stage

    typer.echo(str(stage.run(load_data_params(params), workers=workers, scheduler=scheduler)))


@app.command()
def convert(
    params: ParamsFile = PARAMS, workers: Workers = None, scheduler: Scheduler = None, full: Full = False
) -> None:
    """Turn the raw cubes into sharded Zarr arrays that are read by the crop."""
    from hsdata import convert as stage

    summary = stage.run(load_data_params(params), workers=workers, scheduler=scheduler, full=full)
    typer.echo(f"{summary}\nin {paths.ZARR}")


@app.command()
def render(
    params: ParamsFile = PARAMS, workers: Workers = None, scheduler: Scheduler = None, full: Full = False
) -> None:
    """Render each cube as a full-size sRGB picture (rgb_full)."""
    from hsdata import render as stage

    summary = stage.run(load_data_params(params), workers=workers, scheduler=scheduler, full=full)
    typer.echo(f"{summary}\nin {paths.RENDERED}")


@index_app.callback()
def index(context: typer.Context, params: ParamsFile = PARAMS) -> None:
    """Decide which samples are held out; without a further verb, the same as `make`."""
    if context.invoked_subcommand is None:
        index_make(params)


@index_app.command("make")
def index_make(params: ParamsFile = PARAMS) -> None:
    """Decide which samples are held out, and write what was decided and why."""
    from hsdata import index as stage

    typer.echo(f"{stage.run(load_data_params(params))}\nin {paths.INDEX}")


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
    params: ParamsFile = PARAMS,
    as_published: Annotated[
        bool, typer.Option("--as-published", help="Fill each split on its own, whatever is held out.")
    ] = False,
    to: Annotated[Path, typer.Option(help="The folder of the labels and the plan.")] = paths.SMOTE_PLANNING,
) -> None:
    """Plan which training samples are mixed; nothing held out takes part."""
    from hsdata import smote as stage

    typer.echo(f"{stage.run_plan(load_data_params(params), as_published=as_published, to=to)}\nin {to}")


@smote_app.command("generate")
def smote_generate(
    params: ParamsFile = PARAMS,
    workers: Workers = None,
    scheduler: Scheduler = None,
    full: Full = False,
    device: Annotated[Literal["cpu", "auto", "cuda"], typer.Option(help="Where cubes are mixed.")] = "cpu",
) -> None:
    """Make the planned synthetic samples; what exists and is intact is kept."""
    from hsdata import smote as stage

    loaded = load_data_params(params)
    summary = stage.run(loaded, workers=workers, scheduler=scheduler, full=full, device=device)
    typer.echo(f"{summary}\nin {paths.SMOTE}")

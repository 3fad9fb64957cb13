"""The command line of the model side: one verb a stage, each in the module of its name."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer
from typer.core import TyperGroup

from hsdata import paths
from hsengine.base import console

if TYPE_CHECKING:
    from rich.table import Table

app = typer.Typer(
    help="Models that reconstruct hyperspectral cubes: train, score, predict, submit.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)

ParamsFile = Annotated[Path, typer.Option("--params", help="The parameter file.")]


@app.command()
def new(folder: Annotated[Path, typer.Argument(help="The folder to make; it may exist if it is empty.")]) -> None:
    """Make a project folder of your own: pipeline, parameters, recipes and studies, with git and DVC."""
    from hsmodels import new as verb

    typer.echo(verb.run(folder))


@app.command()
def code() -> None:
    """Note what code each stage runs through, so that an edit reruns the stages that follow from it."""
    from hsmodels import code as stage

    typer.echo(stage.run())


@app.command()
def train(params: ParamsFile = Path("params.yaml")) -> None:
    """Train the model that params.yaml names."""
    from hsmodels import train as stage
    from hsmodels.params import load_params

    typer.echo(str(stage.run(load_params(params), params_file=params)))


@app.command()
def evaluate(params: ParamsFile = Path("params.yaml")) -> None:
    """Score the trained model on the held-out samples."""
    from hsmodels import evaluate as stage
    from hsmodels.params import load_params

    typer.echo(str(stage.run(load_params(params))))


@app.command()
def submit(params: ParamsFile = Path("params.yaml")) -> None:
    """Predict test-private and pack both submission archives."""
    from hsmodels import submit as stage
    from hsmodels.params import load_params

    typer.echo(str(stage.run(load_params(params))))


@app.command()
def predict(
    input: Annotated[Path, typer.Option(help="A folder of inputs (.png, .jpg or .npy), or one file.")],
    output: Annotated[Path, typer.Option(help="The folder for the cubes.")],
    model: Annotated[
        list[Path], typer.Option(help="A folder that training wrote; given several times, an ensemble.")
    ] = [paths.MODEL],  # noqa: B006
    format: Annotated[Literal["h5", "zarr", "npz", "npy"], typer.Option(help="Of the cubes.")] = "h5",
    weights: Annotated[Path | None, typer.Option(help="An ensemble's weights, as evaluate wrote them.")] = None,
    checkpoint: Annotated[Literal["best", "last"] | None, typer.Option(help="Default: as trained.")] = None,
    tile: Annotated[
        int | None, typer.Option(help="Side of a tile in input pixels, a multiple of 8; 0: whole images.")
    ] = None,
    overlap: Annotated[int | None, typer.Option(help="Input pixels that tiles share.")] = None,
    tta: Annotated[bool | None, typer.Option(help="Average over flips and turns.")] = None,
    floor: Annotated[float | None, typer.Option(help="Least reflectance of a prediction.")] = None,
    precision: Annotated[Literal["no", "bf16", "fp16"] | None, typer.Option(help="Of the arithmetic.")] = None,
    device: Annotated[str | None, typer.Option(help="cpu or cuda; a GPU if there is one by default.")] = None,
) -> None:
    """Predict cubes for any folder of inputs; no pipeline is needed."""
    from hsmodels import predict as stage

    done = stage.run(
        input,
        output,
        model,
        format=format,
        weights=weights,
        checkpoint=checkpoint,
        tile=tile,
        overlap=overlap,
        tta=tta,
        floor=floor,
        precision=precision,
        device=device,
    )
    typer.echo(str(done))


@app.command()
def summary() -> None:
    """Show the last evaluation as a table, and where to look next."""
    from hsmodels import summary as scores

    _print(scores.table())
    typer.echo(scores.NEXT)


@app.command("import-checkpoint")
def import_checkpoint(
    file: Annotated[Path, typer.Argument(help="A published .tar, .pt, .pth or .safetensors file.")],
    to: Annotated[Path, typer.Option(help="The model folder to write.")],
    model: Annotated[str | None, typer.Option(help="The model, where several fit.")] = None,
) -> None:
    """Bring a published checkpoint into a model folder; no code in it is run."""
    from hsmodels import zoo

    record = zoo.import_to(file, to, model)
    typer.echo(f"{record['model']['name']} for track {record['track']} in {to}")


@app.command()
def info(folder: Annotated[Path, typer.Argument(help="A folder that training wrote.")] = paths.MODEL) -> None:
    """Print the record of a trained model: parameters, data, code, versions, checkpoints."""
    import json

    from hsmodels import checkpoint

    config = checkpoint.record(folder)
    wavelengths = config.pop("wavelengths", None)
    # On one line, and last: it is the longest and of least interest.
    shown = json.dumps(config, indent=2)
    typer.echo(shown if wavelengths is None else f'{shown[:-2]},\n  "wavelengths": {json.dumps(wavelengths)}\n}}')


recipe_app = typer.Typer(help="Named sets of parameters.", no_args_is_help=True)
app.add_typer(recipe_app, name="recipe")


@recipe_app.command("list")
def recipe_list() -> None:
    """Name the recipes and what they are for."""
    from hsengine.study import recipe

    for name in recipe.names():
        typer.echo(f"{name:28}{recipe.read(name).purpose}")


@recipe_app.command("show")
def recipe_show(name: str) -> None:
    """Print what a recipe sets."""
    from hsengine.study import recipe

    typer.echo(recipe.read(name).text, nl=False)


@recipe_app.command("apply")
def recipe_apply(name: str, params: ParamsFile = Path("params.yaml")) -> None:
    """Set a recipe's values in params.yaml; comments stay. Run it with 'dvc exp run'."""
    from hsengine.study import recipe

    changes = recipe.apply(name, params)
    typer.echo("\n".join(changes) or f"{params} holds the values of '{name}' already")


class _Runs(TyperGroup):
    """`hsmodels study FILE` is short for `hsmodels study run FILE`."""

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        return super().resolve_command(ctx, args if args[0] in self.commands else ["run", *args])


study_app = typer.Typer(cls=_Runs, help="Many experiments as one: docs/studies.md.", no_args_is_help=True)
app.add_typer(study_app, name="study")
StudyFile = Annotated[Path, typer.Argument(metavar="FILE", help="The study, such as studies/models.yaml.")]


@study_app.command("run")
def study_run(
    file: StudyFile,
    jobs: Annotated[int, typer.Option("--jobs", "-j", min=1, help="Experiments that run at once.")] = 1,
    params: ParamsFile = Path("params.yaml"),
) -> None:
    """Run those experiments of a study that have not run, each a DVC experiment."""
    from hsengine.study import verbs

    outcome = verbs.run(file, params, jobs=jobs, say=typer.echo)
    study_show(file, params=params)
    outcome.check()


@study_app.command("show")
def study_show(
    file: StudyFile,
    markdown: Annotated[bool, typer.Option("--markdown", help="Print Markdown.")] = False,
    picture: Annotated[Path | None, typer.Option(help="Draw the course of the measure into this PNG file.")] = None,
    params: ParamsFile = Path("params.yaml"),
) -> None:
    """Show what a study found: mean and spread of each variant, against a baseline."""
    from hsengine.study import verbs

    shown = verbs.show(file, params, picture=picture)
    if markdown:
        typer.echo(shown.markdown())
    else:
        _print(shown.table)
        for remark in shown.remarks:
            typer.echo(remark)
    if picture is not None:
        typer.echo(f"wrote {picture}", err=True)


@study_app.command("best")
def study_best(file: StudyFile, params: ParamsFile = Path("params.yaml")) -> None:
    """Set the values of a study's best variant in params.yaml; comments stay."""
    from hsengine.study import verbs

    typer.echo("\n".join(verbs.best(file, params)))


def _print(table: Table) -> None:
    """A table in the width of the terminal; as wide as it is where a file or a program reads it."""
    from rich.console import Console

    screen = Console()
    if not screen.is_terminal:
        whole = screen.options.update(width=10_000)
        screen.width = max(screen.width, screen.measure(table, options=whole).maximum)
    screen.print(table)


def main() -> None:
    """Run the command line."""
    console.run(app)

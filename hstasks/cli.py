"""The command line of the image tasks: one verb a stage, each in the module that the challenge names for it."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Literal

import typer
from typer.core import TyperGroup

from hsengine.base import console, paths
from hsengine.base.errors import UserError

app = typer.Typer(
    help="Challenges of images on one engine; params.yaml says which one: salt, landcover, lenses or biomass.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)

ParamsFile = Annotated[Path, typer.Option("--params", help="The parameter file.")]
PARAMS = Path("params.yaml")

_STAGES = {
    "catalog": "List every sample: its files, whether they are sound, what they hold.",
    "convert": "Turn many small files into one store that is read fast.",
    "mosaic": "Find which tiles were neighbours.",
    "split": "Decide which samples are held out; leaks are refused.",
    "replicate": "Copy the training samples that hold rare classes.",
    "relabel": "Bring another data set's labels to this one's classes.",
    "train": "Train the model that params.yaml names.",
    "pseudo": "Take confident predictions as labels of samples that have none.",
    "folds": "Train and evaluate every fold, and score their predictions pooled.",
    "stack": "Weigh several trained models by their out-of-fold predictions.",
    "baselines": "Score the closed forms out of fold, under every kind of folds.",
    "evaluate": "Score the trained model on the held-out samples.",
    "aggregate": "Rank all checkpoints that were evaluated.",
    "test": "Score the last model on the test samples, once.",
    "submit": "Predict the test samples and write the submission.",
    "report": "Write the page that shows the result, outputs/report.html.",
    "leak": "Show what a random split flatters, with the same model.",
}
"""The verbs that read nothing but `params.yaml`, in the order of the pipelines."""


def _stage(verb: str) -> Callable[[Path], None]:
    def command(params: ParamsFile = PARAMS) -> None:
        from hstasks import challenge

        found, loaded = challenge.load(params)
        typer.echo(str(found.run(verb)(loaded)))

    return command


def _staged(verb: str) -> Callable[[Path, str | None], None]:
    def command(
        params: ParamsFile = PARAMS,
        stage: Annotated[str | None, typer.Option(help="One of 'stages', where the challenge has several.")] = None,
    ) -> None:
        from hstasks import challenge

        found, loaded = challenge.load(params)
        given = {} if stage is None else {"stage": stage}
        typer.echo(str(found.run(verb)(loaded, **given)))

    return command


_STAGED = ("train", "evaluate")
"""Verbs that a challenge may have several of: one for each of its stages."""

for _verb, _help in _STAGES.items():
    app.command(name=_verb, help=_help)(_staged(_verb) if _verb in _STAGED else _stage(_verb))


@app.command()
def new(
    name: Annotated[str, typer.Argument(help="The challenge: salt, landcover, lenses or biomass.")],
    folder: Annotated[Path, typer.Argument(help="The folder to make; it may exist if it is empty.")],
) -> None:
    """Make a challenge's folder of your own: pipeline, parameters, recipes and studies, with git and DVC."""
    from hstasks import new as verb

    typer.echo(verb.run(name, folder))


@app.command()
def code(params: ParamsFile = PARAMS) -> None:
    """Note what code each stage runs through, so that an edit reruns the stages that follow from it."""
    from hstasks import challenge
    from hstasks import code as stage

    typer.echo(stage.run(challenge.of(params)))


@app.command()
def sample(
    root: Annotated[Path, typer.Argument(help="The folder to make.")] = Path("data"),
    seed: Annotated[int, typer.Option(help="Another seed makes other data.")] = 0,
    force: Annotated[bool, typer.Option("--force", help="Write into a folder that is not empty.")] = False,
    params: ParamsFile = PARAMS,
) -> None:
    """Make sample data in the challenge's own layout, the same bytes on every machine."""
    from hstasks import challenge

    typer.echo(str(challenge.of(params).run("sample")(root, seed=seed, force=force)))


@app.command()
def fetch(
    to: Annotated[Path, typer.Option(help="The data folder.")] = Path("data"),
    again: Annotated[bool, typer.Option("--again", help="Download even if the data are there.")] = False,
    params: ParamsFile = PARAMS,
) -> None:
    """Download the competition's files with your Kaggle account and unpack them."""
    from hstasks import challenge

    typer.echo(str(challenge.of(params).run("fetch")(to, again=again)))


@app.command()
def leaderboard(
    top: Annotated[int, typer.Option(min=1, help="How many teams.")] = 10,
    params: ParamsFile = PARAMS,
) -> None:
    """Show the competition's board with your Kaggle account, and the local scores beside it."""
    from hstasks import challenge

    typer.echo(str(challenge.of(params).run("leaderboard")(top)))


@app.command()
def predict(
    input: Annotated[Path, typer.Option(help="A folder of images, or one file.")],
    output: Annotated[Path, typer.Option(help="Where the predictions go.")],
    model: Annotated[
        list[Path],
        typer.Option(help="A trained model's folder or address, or an exported file; several times, an ensemble."),
    ] = [paths.MODEL],  # noqa: B006
    sha256: Annotated[str | None, typer.Option(help="Of the weights, where the address does not say it.")] = None,
    table: Annotated[Path | None, typer.Option(help="What is known of the images beside them (CSV).")] = None,
    checkpoint: Annotated[
        Literal["best", "last"] | None, typer.Option(help="Which weights; by default what the challenge is scored by.")
    ] = None,
    device: Annotated[str | None, typer.Option(help="cpu or cuda; a GPU if there is one by default.")] = None,
) -> None:
    """Predict any folder of images with a trained model; no pipeline is needed."""
    from hsengine import folder, sources
    from hstasks import challenge

    model = sources.locals_of(model, sha256)
    name = folder.record(model[0]).get(challenge.KEY)
    if name is None:
        raise UserError(f"{model[0]} is a model of no challenge of images: it was trained by another program.")
    run = challenge.named(name).run("predict")
    given: dict[str, Any] = {} if table is None else {"table": table}
    if given and "table" not in inspect.signature(run).parameters:
        raise UserError(f"--table: the models of '{name}' use nothing but the images.")
    given |= {} if checkpoint is None else {"checkpoint": checkpoint}
    typer.echo(str(run(input, output, model, device=device, **given)))


@app.command()
def export(
    model: Annotated[Path, typer.Argument(help="A folder that training wrote.")] = paths.MODEL,
    to: Annotated[
        Path | None,
        typer.Option(help="The file, .onnx, .pt or .pt2; default: outputs/model.onnx, ... A .json is beside."),
    ] = None,
    format: Annotated[Literal["onnx", "torchscript", "torch-export"], typer.Option(help="Of the file.")] = "onnx",
    opset: Annotated[int | None, typer.Option(help="Of ONNX; 20 by default.")] = None,
    half: Annotated[bool, typer.Option("--half", help="Half precision inside; its error is stated.")] = False,
    checkpoint: Annotated[Literal["best", "last"], typer.Option(help="Which weights.")] = "best",
    input: Annotated[Path | None, typer.Option(help="Real images to compare on; default: the project's.")] = None,
    table: Annotated[Path | None, typer.Option(help="What is known of them beside (CSV).")] = None,
) -> None:
    """Write a model as ONNX, TorchScript or torch.export, once its results are proven equal."""
    from hstasks import export as verb

    typer.echo(str(verb.run(model, to, format, opset=opset, half=half, which=checkpoint, input=input, table=table)))


@app.command(name="import-checkpoint")
def import_checkpoint(
    checkpoint: Annotated[Path, typer.Argument(help="A published best.pt or last.pt.")],
    to: Annotated[Path, typer.Option(help="The model's folder to write.")] = paths.MODEL,
    params: ParamsFile = PARAMS,
) -> None:
    """Make a published checkpoint a model's folder; nothing pickled is executed."""
    from hstasks import challenge

    found, loaded = challenge.load(params)
    section = loaded.preprocess.published if "import-checkpoint" in found.tools else None
    typer.echo(str(found.run("import-checkpoint")(checkpoint, to, section=section)))


@app.command()
def compare(
    tables: Annotated[list[Path], typer.Argument(help="Two or more tables with a row a sample, or their folders.")],
    measure: Annotated[str | None, typer.Option(help="The column; the challenge's own by default.")] = None,
    group: Annotated[str | None, typer.Option(help="A column: samples that belong together.")] = None,
    less: Annotated[bool, typer.Option("--less", help="Less of the measure is better.")] = False,
    to: Annotated[Path, typer.Option(help="The folder for the page and its numbers.")] = paths.OUTPUTS / "comparison",
    params: ParamsFile = PARAMS,
) -> None:
    """Compare what evaluate wrote of several models: differences, how sure they are, which samples decide."""
    from hstasks import challenge
    from hstasks import compare as verb

    wanted = measure or challenge.of(params).project.measure
    typer.echo(str(verb.run(tables, wanted, group=group, direction="min" if less else "max", folder=to)))


@app.command()
def summary() -> None:
    """Show the last evaluation as a table, and where to look next."""
    from hstasks import summary as scores

    console.show(scores.table())
    if paths.REPORT.is_file():
        typer.echo(scores.NEXT)


@app.command()
def info(model: Annotated[Path, typer.Argument(help="A trained model's folder or address.")] = paths.MODEL) -> None:
    """Print the record of a trained model: parameters, data, code, versions, checkpoints."""
    import json

    from hsengine import folder, sources

    typer.echo(json.dumps(folder.record(sources.local(model)), indent=2))


class _OfChallenge(TyperGroup):
    """Commands that the project of the current folder brings along; it is read when one of them is asked for."""

    def _group(self) -> Any:
        from hsengine.study import cli
        from hstasks import challenge

        makers = {"recipe": cli.recipes, "study": cli.studies}
        return typer.main.get_command(makers[str(self.name)](challenge.of(PARAMS).project))

    def list_commands(self, ctx: Any) -> list[str]:
        return list(self._group().list_commands(ctx))

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        return self._group().get_command(ctx, cmd_name)

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        return self._group().resolve_command(ctx, args)


for _name, _help in (("recipe", "Named sets of parameters."), ("study", "Many experiments as one.")):
    app.add_typer(typer.Typer(cls=_OfChallenge, help=_help, no_args_is_help=True), name=_name)


def main() -> None:
    """Run the command line."""
    console.run(app)

"""The command line of the model side: one verb a stage, each in the module of its name."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from hsdata import paths
from hsengine.base import console
from hsengine.study.cli import ParamsFile, recipes, studies
from hsmodels.project import PROJECT

app = typer.Typer(
    help="Models that reconstruct hyperspectral cubes: train, score, predict, submit.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)


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
def report(params: ParamsFile = Path("params.yaml")) -> None:
    """Make the page that shows the result: scores beside others, curves, costs, cubes to look into."""
    from hsmodels import report as stage
    from hsmodels.params import load_params

    typer.echo(str(stage.run(load_params(params), params_file=params)))


@app.command()
def predict(
    input: Annotated[Path, typer.Option(help="A folder of inputs (.png, .jpg or .npy), or one file.")],
    output: Annotated[Path, typer.Option(help="The folder for the cubes.")],
    model: Annotated[
        list[Path],
        typer.Option(help="A trained model's folder or address, or an exported file; several times, an ensemble."),
    ] = [paths.MODEL],  # noqa: B006
    sha256: Annotated[str | None, typer.Option(help="Of the weights, where the address does not say it.")] = None,
    format: Annotated[Literal["h5", "zarr", "npz", "npy"], typer.Option(help="Of the cubes.")] = "h5",
    weights: Annotated[Path | None, typer.Option(help="An ensemble's weights, as evaluate wrote them.")] = None,
    checkpoint: Annotated[Literal["best", "last"] | None, typer.Option(help="Default: as trained.")] = None,
    tile: Annotated[
        int | None, typer.Option(help="Side of a tile in input pixels, a multiple of 8; 0: whole images.")
    ] = None,
    overlap: Annotated[int | None, typer.Option(help="Input pixels that tiles share.")] = None,
    tta: Annotated[bool | None, typer.Option(help="Average over flips and turns.")] = None,
    floor: Annotated[
        float | None, typer.Option(callback=console.finite, help="Least reflectance of a prediction.")
    ] = None,
    precision: Annotated[Literal["no", "bf16", "fp16"] | None, typer.Option(help="Of the arithmetic.")] = None,
    device: Annotated[str | None, typer.Option(help="cpu or cuda; a GPU if there is one by default.")] = None,
) -> None:
    """Predict cubes for any folder of inputs; no pipeline is needed."""
    from hsmodels import predict as stage

    done = stage.run(
        input,
        output,
        model,
        sha256=sha256,
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
def compare(
    models: Annotated[list[Path], typer.Argument(help="Two or more models, or folders of predicted cubes.")],
    to: Annotated[Path, typer.Option(help="The folder for the page and its numbers.")] = paths.OUTPUTS / "comparison",
    params: ParamsFile = Path("params.yaml"),
) -> None:
    """Compare models and predictions on the held-out samples: differences, how sure they are, which samples decide."""
    from hsmodels import compare as verb
    from hsmodels.params import load_params

    typer.echo(str(verb.run(load_params(params), models, folder=to)))


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
    checkpoint: Annotated[Literal["best", "last"] | None, typer.Option(help="Default: as trained.")] = None,
    input: Annotated[Path | None, typer.Option(help="Real inputs to compare on; default: the project's.")] = None,
) -> None:
    """Write a model as ONNX, TorchScript or torch.export, once its results are proven equal."""
    from hsmodels import export as verb

    typer.echo(str(verb.run(model, to, format, opset=opset, half=half, which=checkpoint, input=input)))


@app.command()
def bundle(
    to: Annotated[Path, typer.Option(help="The folder to write, or a file ending in .zip.")],
    model: Annotated[
        list[Path] | None, typer.Argument(help="Folders that training wrote; several are an ensemble.")
    ] = None,
    checkpoint: Annotated[Literal["best", "last"] | None, typer.Option(help="Default: as trained.")] = None,
    weights: Annotated[Path | None, typer.Option(help="An ensemble's weights, as evaluate wrote them.")] = None,
) -> None:
    """Pack a model with inference.py, weights and requirements: it runs anywhere, without this project."""
    from hsmodels import bundle as verb

    typer.echo(str(verb.run(model or [paths.MODEL], to, which=checkpoint, weights=weights)))


@app.command()
def summary() -> None:
    """Show the last evaluation as a table, and where to look next."""
    from hsmodels import summary as scores

    console.show(scores.table())
    typer.echo(scores.NEXT)


@app.command("import-checkpoint")
def import_checkpoint(
    file: Annotated[Path, typer.Argument(help="A published .tar, .pt, .pth or .safetensors file.")],
    to: Annotated[Path, typer.Option(help="The model folder to write.")],
    model: Annotated[str | None, typer.Option(help="The model, where several fit.")] = None,
) -> None:
    """Bring a published checkpoint into a model folder; no code in it is run."""
    from hsmodels import import_checkpoint as verb

    typer.echo(str(verb.run(file, to, model)))


@app.command()
def info(model: Annotated[Path, typer.Argument(help="A trained model's folder or address.")] = paths.MODEL) -> None:
    """Print the record of a trained model: parameters, data, code, versions, checkpoints."""
    from hsmodels import info as verb

    typer.echo(verb.run(model))


app.add_typer(recipes(PROJECT), name="recipe")
app.add_typer(studies(PROJECT), name="study")


def main() -> None:
    """Run the command line."""
    console.run(app)

"""The command line of the model side: one verb a stage, each in the module of its name."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from hsdata import console, paths

app = typer.Typer(
    help="Models that reconstruct hyperspectral cubes: train, score, predict, submit.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)

ParamsFile = Annotated[Path, typer.Option("--params", help="The parameter file.")]


@app.command()
def train(params: ParamsFile = Path("params.yaml")) -> None:
    """Train the model that params.yaml names."""
    from hsmodels import train as stage
    from hsmodels.params import load_params

    stage.run(load_params(params), params_file=params)


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
    model: Annotated[Path, typer.Option(help="A folder that training wrote.")] = paths.MODEL,
) -> None:
    """Predict cubes for any folder of inputs; no pipeline is needed."""
    from hsmodels import predict as stage

    typer.echo(str(stage.run(input, output, model)))


def main() -> None:
    """Run the command line."""
    console.run(app)

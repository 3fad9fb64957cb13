"""The commands `recipe` and `study` of any project's command line."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from hsengine.base import console
from hsengine.project import Project

ParamsFile = Annotated[Path, typer.Option("--params", help="The parameter file.")]
StudyFile = Annotated[Path, typer.Argument(metavar="FILE", help="The study, such as studies/models.yaml.")]


def recipes(project: Project) -> typer.Typer:
    """The command `recipe` of a project."""
    app = typer.Typer(help="Named sets of parameters.", no_args_is_help=True)

    @app.command("list")
    def list_() -> None:
        """Name the recipes and what they are for."""
        from hsengine.study import recipe

        for name in recipe.names(project.recipes):
            typer.echo(f"{name:28}{recipe.read(project, name).purpose}")

    @app.command()
    def show(name: str) -> None:
        """Print what a recipe sets."""
        from hsengine.study import recipe

        typer.echo(str(recipe.read(project, name)), nl=False)

    @app.command()
    def apply(name: str, params: ParamsFile = Path("params.yaml")) -> None:
        """Set a recipe's values in params.yaml; comments stay. Run it with 'dvc exp run'."""
        from hsengine.study import recipe

        changes = recipe.apply(project, name, params)
        typer.echo("\n".join(changes) or f"{params} holds the values of '{name}' already")

    return app


class _Runs(TyperGroup):
    """`study FILE` is short for `study run FILE`."""

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        return super().resolve_command(ctx, args if args[0] in self.commands else ["run", *args])


def studies(project: Project) -> typer.Typer:
    """The command `study` of a project."""
    app = typer.Typer(cls=_Runs, help="Many experiments as one: docs/studies.md.", no_args_is_help=True)

    @app.command()
    def run(
        file: StudyFile,
        jobs: Annotated[int, typer.Option("--jobs", "-j", min=1, help="Experiments that run at once.")] = 1,
        params: ParamsFile = Path("params.yaml"),
    ) -> None:
        """Run those experiments of a study that have not run, each a DVC experiment."""
        from hsengine.study import verbs

        outcome = verbs.run(project, file, params, jobs=jobs, say=typer.echo)
        show(file, params=params)
        outcome.check()

    @app.command()
    def show(
        file: StudyFile,
        markdown: Annotated[bool, typer.Option("--markdown", help="Print Markdown.")] = False,
        picture: Annotated[Path | None, typer.Option(help="Draw the course of the measure into this PNG file.")] = None,
        params: ParamsFile = Path("params.yaml"),
    ) -> None:
        """Show what a study found: mean and spread of each variant, against a baseline."""
        from hsengine.study import verbs

        shown = verbs.show(project, file, params, picture=picture)
        if markdown:
            typer.echo(shown.markdown())
        else:
            console.show(shown.table)
            for remark in shown.remarks:
                typer.echo(remark)
        if picture is not None:
            typer.echo(f"wrote {picture}", err=True)

    @app.command()
    def best(file: StudyFile, params: ParamsFile = Path("params.yaml")) -> None:
        """Set the values of a study's best variant in params.yaml; comments stay."""
        from hsengine.study import verbs

        typer.echo("\n".join(verbs.best(project, file, params)))

    @app.command()
    def pack(
        file: StudyFile,
        to: Annotated[Path | None, typer.Option(help="The folder to write; outputs/<study> by default.")] = None,
        picture: Annotated[str, typer.Option(help="The name of the picture's file.")] = "curves.png",
        params: ParamsFile = Path("params.yaml"),
    ) -> None:
        """Gather each variant's best model, the table and the picture, as folders and as models.zip and results.zip."""
        from hsengine.study import verbs

        typer.echo("\n".join(verbs.pack(project, file, params, to, picture=picture)))

    return app

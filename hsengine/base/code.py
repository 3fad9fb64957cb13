"""What code a result follows from: a module, all that it imports inside the project, and the hash of that.

A hash is of what the sources do: comments, docstrings and formatting do not change it, nor does the version of Python.
What is found while running, and so cannot be seen in a source, the source declares in `__loads__`: the modules
that it imports by a computed name (`"package.*"` for all of a package), and the files of the package that it reads
(`"package/folder/file.csv"`); an empty one says that what it imports decides no result.
"""

from __future__ import annotations

import ast
import contextlib
import functools
import hashlib
import importlib.util
import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from hsengine.base.errors import UserError
from hsengine.base.files import clear_beside, write_text
from hsengine.base.paths import state_folder
from hsengine.base.reading import parsed_json

PACKAGES = ("hsengine", "hsdata", "hsmodels", "hstasks")
"""The packages of the project; what else is imported is a library."""

DECLARATION = "__loads__"
_IMPORTERS = ("import_module", "iter_modules", "__import__")
_KEPT = 4000


def closure(module: str) -> dict[str, Path]:
    """The project's modules that a module runs through, itself and imports within functions among them.

    The `__init__` of each package above them counts, since it is run; what it imports counts where a name is taken
    from it, `from package import name`, and `name` is no module.

    Args:
        module: its dotted name.

    Returns:
        name -> file, in order of the names; files that are declared have their place (`package/folder/file`) as name.

    Raises:
        ValueError: there is no such module, or one of them imports by a computed name and does not declare which.
    """
    with _remembered() as sources:
        return _closure(module, sources)


def code_hash(modules: Iterable[str]) -> str:
    """The hash of the closures of some modules, in hexadecimal.

    Raises:
        ValueError: see `closure`.
    """
    return _digest(listing(modules))


def listing(modules: Iterable[str]) -> str:
    """The closures of some modules as text, a line for each: its name and the hash of its code.

    Raises:
        ValueError: see `closure`.
    """
    with _remembered() as sources:
        return _listing(modules, sources)


def write(stages: Mapping[str, Sequence[str]], folder: str | os.PathLike[str]) -> list[str]:
    """Write for each stage the `listing` of its modules, a file that DVC can depend on.

    A file that says so already is left alone; those of other stages go.

    Args:
        stages: stage -> the modules from which everything is imported that decides its result.
        folder: where; a file is named after its stage.

    Returns:
        The stages whose code is not as the folder had it, in order.
    """
    place = Path(folder)
    changed = []
    clear_beside(place / "any")
    with _remembered() as sources:
        for stage, modules in stages.items():
            text, file = _listing(modules, sources), place / stage
            if not file.is_file() or file.read_text(encoding="utf-8", errors="replace") != text:
                write_text(file, text)
                changed.append(stage)
    for leftover in [file for file in place.iterdir() if file.is_file() and file.name not in stages]:
        leftover.unlink()
    return changed


def source_of(module: str) -> Path | None:
    """The file of a module of the project; None for any other name."""
    top, *rest = module.split(".")
    if top not in PACKAGES:
        return None
    spec = importlib.util.find_spec(top)
    for folder in (spec.submodule_search_locations or ()) if spec else ():
        place = Path(folder, *rest)
        for file in (place / "__init__.py", place.with_suffix(".py")):
            if file.is_file() and (rest or file.name == "__init__.py"):
                return file
    return None


def file_digest(file: Path) -> str:
    """The hash of a declared file: that of its bytes."""
    return _digest(file.read_bytes())


def canonical(node: ast.AST) -> str:
    """What a piece of syntax does, as text: without places, docstrings and other strings that stand alone."""
    return "".join(_written(node))


def declared(tree: ast.Module) -> list[str] | None:
    """What a source says in `__loads__`; None where it says nothing, which is not the same as an empty one."""
    for statement in tree.body:
        if isinstance(statement, ast.Assign) and any(_is_name(target, DECLARATION) for target in statement.targets):
            return [str(entry) for entry in ast.literal_eval(statement.value)]
    return None


def imports_by_computed_name(tree: ast.AST) -> bool:
    """Whether modules are imported whose names do not stand in the source."""
    for node in ast.walk(tree):
        called = node.func if isinstance(node, ast.Call) else None
        name = called.attr if isinstance(called, ast.Attribute) else called.id if isinstance(called, ast.Name) else ""
        if isinstance(node, ast.Call) and name in _IMPORTERS and not (node.args and _is_text(node.args[0])):
            return True
    return False


def imports(tree: ast.AST, module: str, *, package: bool) -> Iterator[tuple[str, str, str | None]]:
    """Every import in a piece of syntax that is run, not only read by type checkers.

    Args:
        tree: the syntax.
        module: whose it is, for relative imports.
        package: whether that is the `__init__` of a package.

    Yields:
        The name that is bound, the module, and the name taken from it; None where that is the module itself.
    """
    waiting: list[ast.AST] = [tree]
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.asname or alias.name.partition(".")[0], alias.name, None
        elif isinstance(node, ast.ImportFrom):
            parts = module.split(".")
            above = parts[: len(parts) - node.level + package] if node.level else []
            origin = ".".join([*above, *([node.module] if node.module else [])])
            for alias in node.names:
                yield alias.asname or alias.name, origin, alias.name
        elif isinstance(node, ast.If) and "TYPE_CHECKING" in (getattr(node.test, key, "") for key in ("id", "attr")):
            waiting += node.orelse
        else:
            if isinstance(node, ast.Call) and node.args and _is_text(node.args[0]):
                called = getattr(node.func, "attr", getattr(node.func, "id", ""))
                if called in _IMPORTERS:
                    yield "", node.args[0].value, None  # type: ignore[attr-defined]
            waiting += ast.iter_child_nodes(node)


@dataclass(frozen=True)
class _Source:
    """What is remembered of a file's content: the hash of its code, its imports, what it declares."""

    digest: str
    imports: list[tuple[str, str | None]]
    loads: list[str]


class _Sources:
    """Sources read in earlier calls, by the hash of their content: parsing them is what takes time."""

    def __init__(self, known: dict[str, list[object]]) -> None:
        self._known = known
        self._read: dict[str, _Source] = {}
        self.used: dict[str, list[object]] = {}
        self.new = False
        # Looked up once a session: a source can be new, or edited, in the next.
        self.file = functools.cache(source_of)

    def read(self, module: str, file: Path) -> _Source:
        if module not in self._read:
            self._read[module] = self._found(module, file)
        return self._read[module]

    def _found(self, module: str, file: Path) -> _Source:
        content = file.read_bytes()
        key = _digest(content, module)
        entry = self.used.get(key) or self._known.get(key)
        if entry is None:
            self.new = True
            entry = self._parsed(module, file, content)
        self.used[key] = entry
        digest, found, loads = entry
        return _Source(str(digest), [(origin, name) for origin, name in found], list(loads))  # type: ignore[attr-defined, call-overload]

    @staticmethod
    def _parsed(module: str, file: Path, content: bytes) -> list[object]:
        if file.suffix != ".py":
            return [file_digest(file), [], []]
        tree = ast.parse(content, str(file))
        loads = declared(tree)
        if loads is None and imports_by_computed_name(tree):
            raise ValueError(f"{file} imports modules by a computed name: say in {DECLARATION} which they can be.")
        found = imports(tree, module, package=file.name == "__init__.py")
        inside = {(origin, name) for _, origin, name in found if origin.partition(".")[0] in PACKAGES}
        return [_digest(canonical(tree)), sorted(inside, key=str), loads or []]


@contextlib.contextmanager
def _remembered() -> Iterator[_Sources]:
    place = state_folder() / "code.json"
    known: dict[str, list[object]] = {}
    with contextlib.suppress(UserError, ValueError, TypeError):
        known = dict(parsed_json(place, "what is known of modules"))
    sources = _Sources(known)
    yield sources
    if sources.new:
        kept = known if len(known) < _KEPT else {}
        # It only saves time: where it cannot be written, the next call parses again.
        with contextlib.suppress(OSError, UserError):
            write_text(place, json.dumps(kept | sources.used))


def _closure(module: str, sources: _Sources) -> dict[str, Path]:
    found: dict[str, Path] = {}
    followed: set[str] = set()
    waiting = [module]
    while waiting:
        name = waiting.pop()
        file = sources.file(name)
        if name in followed or (file is None and name != module):
            continue
        if file is None:
            raise ValueError(f"There is no module {module} in {', '.join(PACKAGES)}.")
        followed.add(name)
        found[name] = file
        found.update(_above(name, sources))
        source = sources.read(name, file)
        for origin, taken in source.imports:
            inner = f"{origin}.{taken}"
            waiting.append(inner if taken is not None and sources.file(inner) else origin)
        for entry in source.loads:
            modules, files = loaded(entry)
            waiting += modules
            found.update(files)
    return dict(sorted(found.items()))


def _above(module: str, sources: _Sources) -> dict[str, Path]:
    parts = module.split(".")
    names = [".".join(parts[:length]) for length in range(1, len(parts))]
    return {name: file for name in names if (file := sources.file(name)) is not None}


def loaded(entry: str) -> tuple[list[str], dict[str, Path]]:
    """The modules, or the files by their places, that an entry of `__loads__` means.

    Raises:
        ValueError: there is none.
    """
    package, _, last = entry.rpartition(".")
    top, _, rest = entry.partition("/")
    init = source_of(top if rest else package if last == "*" else entry)
    if rest and init is not None and (init.parent / rest).is_file():
        return [], {entry: init.parent / rest}
    if init is None or rest:
        raise ValueError(f"{DECLARATION} names {entry}, which does not exist.")
    if last != "*":
        return [entry], {}
    inside = sorted(file for file in init.parent.glob("*.py") if file != init)
    return [package, *(f"{package}.{file.stem}" for file in inside)], {}


def _listing(modules: Iterable[str], sources: _Sources) -> str:
    found: dict[str, Path] = {}
    for module in modules:
        found.update(_closure(module, sources))
    return "".join(f"{name} {sources.read(name, file).digest}\n" for name, file in sorted(found.items()))


def _digest(content: str | bytes, salt: str = "") -> str:
    data = content.encode() if isinstance(content, str) else content
    return hashlib.blake2b(salt.encode() + b"\0" + data, digest_size=16).hexdigest()


def _written(value: object) -> Iterator[str]:
    if isinstance(value, ast.AST):
        yield f"{type(value).__name__}("
        for name, part in ast.iter_fields(value):
            # Fields that newer versions of Python add are empty in code that older ones understand.
            if part is not None and part != [] and name not in ("ctx", "kind", "type_ignores", "type_comment"):
                yield f"{name}="
                yield from _written(part)
        yield ")"
    elif isinstance(value, list):
        yield "["
        for entry in value:
            if not (isinstance(entry, ast.Expr) and _is_text(entry.value)):
                yield from _written(entry)
        yield "]"
    else:
        yield repr(value)


def _is_text(node: ast.AST) -> bool:
    return isinstance(node, ast.Constant) and isinstance(node.value, str)


def _is_name(node: ast.AST, name: str) -> bool:
    return isinstance(node, ast.Name) and node.id == name

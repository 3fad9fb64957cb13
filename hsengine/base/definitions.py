"""What one function runs through: the definitions that it reaches by name, and the hash of those.

Narrower than the closure of its module (`hsengine.base.code`), for what is too expensive to be made again whenever
a neighbour is edited: of each module only the functions, classes and values count that are reached, and what the
module does when it is imported.
"""

from __future__ import annotations

import ast
import functools
import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from hsengine.base import code

_Import = tuple[str, str | None]
_SCOPES = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)


@functools.cache
def function_hash(function: Callable[..., Any]) -> str:
    """The hash of what a function runs through, in hexadecimal; computed once in a process.

    Raises:
        ValueError: see `reached`.
    """
    lines = [f"{name} {text}\n" for name, text in reached(function.__module__, function.__qualname__).items()]
    return hashlib.blake2b("".join(lines).encode(), digest_size=16).hexdigest()


def reached(module: str, name: str) -> dict[str, str]:
    """The definitions that a definition of a module runs through, itself among them.

    A name that stands for a module is followed to the attribute that is taken; where the module itself is handed on,
    and where modules are imported by a computed name, all of their closure counts. Methods are not told apart.

    Args:
        module: its dotted name.
        name: a function, class or value at its top level.

    Returns:
        `module:name`, or for a whole module or file its name -> what it does, in order of the names.

    Raises:
        ValueError: the module has no such name.
    """
    search = _Search()
    search.follow(module, name)
    if f"{module}:{name}" not in search.found:
        raise ValueError(f"{module} defines no '{name}'.")
    return dict(sorted(search.found.items()))


@dataclass(frozen=True)
class _Module:
    """A source by what its top level binds.

    Attributes:
        bound: name -> the statements that bind it.
        imported: name -> where it is imported from.
        loose: statements that bind nothing, and so are run for what they do.
        loads: what it declares.
    """

    bound: dict[str, list[ast.stmt]]
    imported: dict[str, _Import]
    loose: list[ast.stmt]
    loads: list[str]


class _Search:
    def __init__(self) -> None:
        self.found: dict[str, str] = {}
        self._modules: dict[str, _Module] = {}
        self._seen: set[tuple[str, str]] = set()
        self._file = functools.cache(code.source_of)

    def follow(self, module: str, name: str) -> None:
        """Add a definition and all that it reaches."""
        waiting = [(module, name)]
        while waiting:
            place = waiting.pop()
            if place in self._seen or self._file(place[0]) is None:
                continue
            self._seen.add(place)
            waiting += self._step(*place)

    def _step(self, module: str, name: str) -> Iterator[tuple[str, str]]:
        if self._file(f"{module}.{name}"):
            self._whole(f"{module}.{name}")
            return
        if module not in self._modules:
            self._modules[module] = source = self._read(module)
            for entry in source.loads:
                _, files = code.loaded(entry)
                self.found.update({place: code.file_digest(file) for place, file in files.items()})
            for statement in source.loose:
                key = f"{module}:"
                self.found[key] = self.found.get(key, "") + code.canonical(statement)
                yield from self._used(module, statement)
        source = self._modules[module]
        if name in source.imported:
            origin, taken = source.imported[name]
            yield from [(origin, taken)] if taken is not None else []
            if taken is None:
                self._whole(origin)
        if name in source.bound:
            self.found[f"{module}:{name}"] = "".join(map(code.canonical, source.bound[name]))
            for statement in source.bound[name]:
                yield from self._used(module, statement)

    def _used(self, module: str, statement: ast.stmt) -> Iterator[tuple[str, str]]:
        """Names that a statement of a module reads, as the modules and their attributes that they stand for."""
        source = self._modules[module]
        local = self._imported(statement, module)
        if source.loads and code.imports_by_computed_name(statement):
            for entry in source.loads:
                for whole in code.loaded(entry)[0]:
                    self._whole(whole)
        of_modules: set[ast.AST] = set()
        for node in ast.walk(statement):
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
                origin = self._module_of(local.get(node.value.id) or source.imported.get(node.value.id))
                if origin is not None:
                    of_modules.add(node.value)
                    yield origin, node.attr
        for node in ast.walk(statement):
            if isinstance(node, ast.Name) and node not in of_modules:
                origin, taken = local.get(node.id, (module, node.id))
                yield (origin, taken) if taken is not None else (module, node.id)

    def _whole(self, module: str) -> None:
        if module not in self.found and self._file(module) is not None:
            lines = code.listing([module]).splitlines()
            self.found.update({name: digest for name, _, digest in (line.partition(" ") for line in lines)})

    def _module_of(self, imported: _Import | None) -> str | None:
        """The module of the project that an import binds a name to; None where it binds something of one."""
        if imported is None:
            return None
        origin, taken = imported
        name = origin if taken is None else f"{origin}.{taken}"
        return name if self._file(name) is not None else None

    def _read(self, module: str) -> _Module:
        file = self._file(module)
        tree = ast.parse(file.read_bytes() if file else b"")
        bound: dict[str, list[ast.stmt]] = {}
        loose = []
        for statement in tree.body:
            names = set() if isinstance(statement, ast.Import | ast.ImportFrom) else set(_binds(statement))
            for name in names:
                bound.setdefault(name, []).append(statement)
            if not names and not isinstance(statement, ast.Import | ast.ImportFrom) and not _stands_alone(statement):
                loose.append(statement)
        top = ast.Module([part for part in tree.body if not isinstance(part, _SCOPES)], [])
        return _Module(bound, self._imported(top, module), loose, code.declared(tree) or [])

    def _imported(self, tree: ast.AST, module: str) -> dict[str, _Import]:
        file = self._file(module)
        package = file is not None and file.name == "__init__.py"
        return {name: (origin, taken) for name, origin, taken in code.imports(tree, module, package=package) if name}


def _binds(statement: ast.stmt) -> Iterator[str]:
    """Names that a statement of the top level binds, or changes: `TABLE["key"] = value` changes TABLE."""
    waiting: list[ast.AST] = [statement]
    while waiting:
        node = waiting.pop()
        if isinstance(node, _SCOPES):
            yield node.name
            continue
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.id
        if isinstance(node, ast.Attribute | ast.Subscript) and isinstance(node.ctx, ast.Store):
            yield from (part.id for part in ast.walk(node.value) if isinstance(part, ast.Name))
        waiting += ast.iter_child_nodes(node)


def _stands_alone(statement: ast.stmt) -> bool:
    """Whether it does nothing: a docstring, or an import for type checkers."""
    if isinstance(statement, ast.If):
        return "TYPE_CHECKING" in (getattr(statement.test, key, "") for key in ("id", "attr"))
    return isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant)

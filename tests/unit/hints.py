"""Every hint in the source: what a GaplessError or a finding of doctor advises, with {} where it puts something in."""

from __future__ import annotations

import ast
from collections import defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TypeGuard

import gapless

SOURCE = Path(gapless.__file__).parent
HINT = 3  # its place among the arguments, of GaplessError and Finding alike
NAMES = {"hint", "advice"}  # of what is one, and of a function that returns one

Function = ast.FunctionDef | ast.AsyncFunctionDef
Functions = Mapping[str, list[tuple[Function, ast.Module]]]  # with the modules that they are in


def hints() -> dict[str, set[str]]:
    """Each hint, with the modules that have it."""
    modules = {path: ast.parse(path.read_text("utf-8")) for path in sorted(SOURCE.rglob("*.py"))}
    functions = defaultdict[str, list[tuple[Function, ast.Module]]](list)
    for module in modules.values():
        for node in ast.walk(module):
            if _is_function(node):
                functions[node.name].append((node, module))
    found = defaultdict[str, set[str]](set)
    for path, module in modules.items():
        for text in _Reader(module, functions).all():
            found[text].add(str(path.relative_to(SOURCE)))
    return found


def _is_function(node: ast.AST) -> TypeGuard[Function]:
    return isinstance(node, Function)


def _scoped(node: ast.AST, scope: ast.AST) -> Iterator[tuple[ast.AST, ast.AST]]:
    """Each node below `node`, with the function (or the module) that it is in."""
    for child in ast.iter_child_nodes(node):
        yield child, scope
        yield from _scoped(child, child if _is_function(child) else scope)


def _name(call: ast.Call) -> str:
    return ast.unparse(call.func).rpartition(".")[2]


def _place(call: ast.Call, functions: Functions) -> int | None:
    """Where among its arguments a call has a hint; None where it has none."""
    name = _name(call)
    if name.endswith("Error") or name == "Finding":
        return HINT
    for function, _module in functions.get(name, ()):
        parameters = [one.arg for one in function.args.args]
        if "hint" in parameters:
            return parameters.index("hint")
    return None


def _returns_hints(function: ast.AST) -> tuple[bool, int | None]:
    """Whether a function returns hints, and as which part: by its name, or what a module's judges say second."""
    if not _is_function(function) or function.returns is None:
        return False, None
    judges = ast.unparse(function.returns) == "tuple[str, str]" and function.name.startswith("_")
    return judges or function.name.removeprefix("_") in NAMES, 1 if judges else None


class _Reader:
    """Finds what an expression may be as text, in one module; `functions` are those of all modules."""

    def __init__(self, module: ast.Module, functions: Functions) -> None:
        self.module = module
        self.functions = functions
        self._looking = set[tuple[str, int]]()  # for what is assigned to these names: an assignment may name itself

    def all(self) -> Iterator[str]:
        """Every hint of the module."""
        for node, scope in _scoped(self.module, self.module):
            if isinstance(node, ast.Call) and (place := _place(node, self.functions)) is not None:
                given = {word.arg: word.value for word in node.keywords}
                yield from self.texts(given.get("hint") or next(iter(node.args[place:]), None), scope)
            returns, part = _returns_hints(scope)
            if returns and isinstance(node, ast.Return):
                yield from self.texts(node.value, scope, part)

    def texts(  # noqa: C901 -- one case for each form
        self, node: ast.AST | None, scope: ast.AST, index: int | None = None
    ) -> Iterator[str]:
        """The texts of `node`, or of its part `index` where it is several."""
        match node:
            case ast.Constant(value=str(text)) if text.strip():
                yield text
            case ast.JoinedStr(values=parts):
                yield "".join(str(part.value) if isinstance(part, ast.Constant) else "{}" for part in parts)
            case ast.IfExp(body=one, orelse=other) | ast.BinOp(left=one, right=other):
                for each in (one, other):
                    yield from self.texts(each, scope, index)
            case ast.BoolOp(values=values):
                for each in values:
                    yield from self.texts(each, scope, index)
            case ast.Tuple(elts=parts) if index is not None:
                yield from self.texts(parts[index], scope)
            case ast.Dict(values=values):
                for each in values:
                    yield from self.texts(each, scope)
            case ast.Subscript(value=value) | ast.Call(func=ast.Attribute(attr="get", value=value)):
                yield from self.texts(value, scope)
            case ast.Lambda(body=body):
                yield from self.texts(body, scope)
            case ast.Name(id=name):
                yield from self._assigned(name, scope)
                yield from self._returned(node, index)
            case ast.Call() | ast.Attribute():
                yield from self._returned(node, index)

    def _returned(self, node: ast.Call | ast.Attribute | ast.Name, index: int | None) -> Iterator[str]:
        """What a function of the module, or somebody's property, returns; what is called so is one already."""
        name = ast.unparse(node).partition("(")[0].rpartition(".")[2]
        for function, module in self.functions.get(name, ()) if name not in NAMES else ():
            if module is self.module or isinstance(node, ast.Attribute):
                for each in ast.walk(function):
                    if isinstance(each, ast.Return):
                        yield from self.texts(each.value, function, index)

    def _assigned(self, name: str, scope: ast.AST) -> Iterator[str]:
        """What is assigned to the name in the function, else in the module."""
        for where in (scope, self.module):
            key = (name, id(where))
            if key in self._looking:
                continue
            self._looking.add(key)
            found = [text for node in ast.walk(where) for text in self._of_assignment(node, name, where)]
            self._looking.discard(key)
            yield from found
            if found:
                return

    def _of_assignment(self, node: ast.AST, name: str, scope: ast.AST) -> Iterator[str]:
        match node:
            case ast.Assign(targets=[ast.Name(id=target), *_], value=value) if target == name:
                yield from self.texts(value, scope)
            case ast.AugAssign(target=ast.Name(id=target), value=value) if target == name:
                yield from self.texts(value, scope)
            case ast.Assign(targets=targets, value=value):
                for target in targets:
                    yield from self._of_several(target, name, [value], scope)
            case ast.For(target=target, iter=ast.Name(id=many) | ast.Call(func=ast.Attribute(value=ast.Name(id=many)))):
                for each in ast.walk(self.module):
                    if isinstance(each, ast.Assign) and ast.unparse(each.targets[0]) == many:
                        yield from self._of_several(target, name, _rows(each.value), scope)

    def _of_several(self, target: ast.AST, name: str, values: list[ast.expr], scope: ast.AST) -> Iterator[str]:
        """What the name gets of an assignment to several."""
        if isinstance(target, ast.Name) and target.id == name:
            for value in values:
                yield from self.texts(value, scope)
        elif isinstance(target, ast.Tuple):
            for place, one in enumerate(target.elts):
                if isinstance(one, ast.Name) and one.id == name:
                    for value in values:
                        yield from self.texts(value, scope, place)


def _rows(value: ast.expr) -> list[ast.expr]:
    """What a loop over `value` takes, one after the other."""
    match value:
        case ast.Tuple(elts=rows) | ast.List(elts=rows):
            return rows
        case ast.Dict(keys=keys, values=values):
            return [ast.Tuple(elts=[key, each]) for key, each in zip(keys, values, strict=True) if key]
    return []

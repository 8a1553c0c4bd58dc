"""Digest of the code behind a stage, so that editing a module reruns what it changes and nothing else.

Snakemake sees scripts, shell text and parameters, not the modules that a command imports. Each rule therefore
carries the digest of the project's own modules that its stage imports, transitively, package `__init__`s and data
files included. Comments, docstrings and formatting do not count.
"""

import ast
import hashlib
from functools import cache
from pathlib import Path

PACKAGE = Path(__file__).parent
DATA_SUFFIXES = {".j2", ".css", ".js"}
"""Package data that a stage reads; they count for every module of their folder."""


def code_digest(*roots: str) -> str:
    """Digest of the modules that `roots` import, transitively.

    Args:
        roots: module names such as `terraprobe.chips.cut`.

    Returns:
        12 hexadecimal digits.
    """
    modules = sorted(closure(*roots))
    content = "".join(f"{name}\n{_module_digest(name)}\n" for name in modules)
    return hashlib.sha256(content.encode()).hexdigest()[:12]


def closure(*roots: str) -> set[str]:
    """Names of the project's modules that importing `roots` can load, `roots` and parent packages included."""
    found: set[str] = set()
    todo = list(roots)
    while todo:
        name = todo.pop()
        if name in found or _path(name) is None:
            continue
        found.add(name)
        todo.extend(_imports(name))
        if "." in name:
            todo.append(name.rpartition(".")[0])
    return found


def _path(module: str) -> Path | None:
    """File of one of the project's modules, None for any other name."""
    head, *rest = module.split(".")
    if head != PACKAGE.name:
        return None
    place = PACKAGE.joinpath(*rest)
    for candidate in (place / "__init__.py", place.with_suffix(".py") if rest else place / "__init__.py"):
        if candidate.is_file():
            return candidate
    return None


@cache
def _tree(module: str) -> ast.Module:
    path = _path(module)
    if path is None:
        raise ValueError(f"{module} is not a module of {PACKAGE.name}")
    return ast.parse(path.read_text())


@cache
def _imports(module: str) -> tuple[str, ...]:
    """Every module that `module` imports, at the top or inside functions, not those for type checking alone."""
    names: list[str] = []
    todo: list[ast.AST] = [_tree(module)]
    while todo:
        node = todo.pop()
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test):
            todo.extend(node.orelse)
            continue
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            if node.level:
                raise ValueError(f"{module} line {node.lineno}: relative import; name the module in full")
            names += [node.module or "", *(f"{node.module}.{alias.name}" for alias in node.names)]
        todo.extend(ast.iter_child_nodes(node))
    return tuple(names)


@cache
def _module_digest(module: str) -> str:
    tree = ast.parse(ast.unparse(_tree(module)))
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            node.body = [line for line in node.body if not _is_text(line)] or [ast.Pass()]
    digest = hashlib.sha256(ast.dump(tree).encode())
    path = _path(module)
    if path is not None and path.name != "__init__.py":
        for data in sorted(f for f in path.parent.iterdir() if f.suffix in DATA_SUFFIXES):
            digest.update(data.name.encode() + data.read_bytes())
    return digest.hexdigest()


def _is_text(node: ast.stmt) -> bool:
    """Whether a statement is a bare string: a docstring, or one below an attribute."""
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)

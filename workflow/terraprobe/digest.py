"""Digest of the code behind a stage, so that editing a module reruns what it changes and nothing else.

Snakemake sees scripts, shell text and parameters, not the modules that a command imports. Each rule therefore
carries the digest of the project's own modules that its stage imports, transitively, package `__init__`s and data
files included. Comments, docstrings and formatting do not count.
"""

import ast
import hashlib
import json
import os
from contextlib import suppress
from dataclasses import asdict, dataclass
from functools import cache
from importlib.util import cache_from_source
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
    content = "".join(f"{name}\n{_read(name).digest}\n" for name in modules)
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
        todo.extend(_read(name).imports)
        if "." in name:
            todo.append(name.rpartition(".")[0])
    return found


@dataclass(frozen=True)
class _Module:
    """What one module adds to a digest.

    Attributes:
        key: digest of its text, the data beside it and this file.
        imports: every module of the project that it imports, at the top or inside functions, not those for type
            checking alone; names inside modules may be among them.
        digest: of what it does.
    """

    key: str
    imports: list[str]
    digest: str


@cache
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
def _read(module: str) -> _Module:
    path = _path(module)
    if path is None:
        raise ValueError(f"{module} is not a module of {PACKAGE.name}")
    text, data = path.read_bytes(), _data(path)
    key = hashlib.sha256(Path(__file__).read_bytes() + text + data).hexdigest()
    kept = Path(cache_from_source(str(path))).with_suffix(".digest")
    with suppress(OSError, ValueError, TypeError):
        found = _Module(**json.loads(kept.read_text()))
        if found.key == key:
            return found
    tree = ast.parse(text)
    found = _Module(key, _imports(module, tree), hashlib.sha256(_dump(tree) + data).hexdigest())
    with suppress(OSError):  # nothing but time is lost where the package cannot be written
        kept.parent.mkdir(exist_ok=True)
        temporary = kept.with_suffix(f".{os.getpid()}")
        temporary.write_text(json.dumps(asdict(found)))
        temporary.replace(kept)
    return found


def _data(path: Path) -> bytes:
    """Names and contents of the package data that count for a module."""
    if path.name == "__init__.py":
        return b""
    files = sorted(f for f in path.parent.iterdir() if f.suffix in DATA_SUFFIXES)
    return b"".join(file.name.encode() + file.read_bytes() for file in files)


def _imports(module: str, tree: ast.Module) -> list[str]:
    names: list[str] = []
    todo: list[ast.AST] = [tree]
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
    return [name for name in names if name.partition(".")[0] == PACKAGE.name]


def _dump(tree: ast.Module) -> bytes:
    """The code alone."""
    tree = ast.parse(ast.unparse(tree))
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            node.body = [line for line in node.body if not _is_text(line)] or [ast.Pass()]
    return ast.dump(tree).encode()


def _is_text(node: ast.stmt) -> bool:
    """Whether a statement is a bare string: a docstring, or one below an attribute."""
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)

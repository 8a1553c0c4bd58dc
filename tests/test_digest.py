"""The digest of a stage's code moves with what the code does, and with nothing else."""

import subprocess
import sys

import pytest

from terraprobe import digest
from terraprobe.cli import STAGES, stage_module
from terraprobe.methods import METHODS

ROOT = "pack.stage"
FILES = {
    "__init__.py": '"""A package."""\n',
    "stage.py": "from typing import TYPE_CHECKING\n"
    "from pack.deep.maths import area\n"
    "if TYPE_CHECKING:\n    from pack import only_types\n"
    'def run(a):\n    """Run."""\n    from pack import late\n    return late.twice(area(a))\n',
    "late.py": "def twice(a):\n    return 2 * a\n",
    "only_types.py": "class A:\n    pass\n",
    "unused.py": "X = 1\n",
    "deep/__init__.py": "import pack.deep.start\n",
    "deep/start.py": "READY = True\n",
    "deep/maths.py": "import math as m, numpy\nfrom pack.deep import units as u\n"
    "def area(r):\n    return m.pi * r**2 * u.METRE\n",
    "deep/units.py": "METRE = 1.0\n",
}


@pytest.fixture
def package(tmp_path, monkeypatch):
    """A throw-away package that takes the place of the project's own."""
    folder = tmp_path / "pack"
    for name, text in FILES.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    monkeypatch.setattr(digest, "PACKAGE", folder)
    forget()
    yield folder
    forget()


def forget():
    """Forget what was read: the caches last for one process, in which files do not change."""
    for cached in (digest._path, digest._read):
        cached.cache_clear()


def fresh(*roots):
    forget()
    return digest.code_digest(*(roots or (ROOT,)))


def test_closure_is_transitive_and_knows_parents_and_late_imports(package):
    modules = {"pack", "pack.stage", "pack.late", "pack.deep", "pack.deep.start", "pack.deep.maths", "pack.deep.units"}
    assert digest.closure(ROOT) == modules


def test_closure_of_several_roots(package):
    assert digest.closure("pack.unused", "pack.late") == {"pack", "pack.unused", "pack.late"}


def test_a_cycle_ends(package):
    (package / "late.py").write_text("def twice(a):\n    from pack import stage\n    return 2 * a\n")
    assert "pack.late" in digest.closure(ROOT)


def test_the_branch_after_type_checking_counts(package):
    (package / "late.py").write_text(
        "from typing import TYPE_CHECKING\n"
        "if TYPE_CHECKING:\n    import pack.only_types\nelse:\n    import pack.unused\n"
    )
    assert "pack.unused" in digest.closure(ROOT)
    assert "pack.only_types" not in digest.closure(ROOT)


def test_a_relative_import_is_refused(package):
    (package / "late.py").write_text("from . import unused\n")
    with pytest.raises(ValueError, match=r"pack\.late line 1: relative import"):
        digest.closure(ROOT)


@pytest.mark.parametrize(
    "text",
    [
        "# a reason\ndef twice(a):\n    return 2 * a\n",
        '"""Doubles."""\n\ndef twice(a):\n    """Twice."""\n    return 2 * a  # why\n',
        "def twice(\n    a,\n):\n    return (2\n        * a)\n",
        "\n\n\ndef twice(a): return 2 * a",
    ],
)
def test_comments_docstrings_and_format_do_not_count(package, text):
    before = fresh()
    (package / "late.py").write_text(text)
    assert fresh() == before


def test_a_docstring_instead_of_a_body_does_not_count(package):
    (package / "late.py").write_text("class A:\n    pass\n")
    before = fresh()
    (package / "late.py").write_text('class A:\n    """Nothing."""\n')
    assert fresh() == before


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("late.py", "def twice(a):\n    return 3 * a\n"),
        ("late.py", "def twice(a, b=0):\n    return 2 * a\n"),
        ("late.py", "FACTOR = 2\ndef twice(a):\n    return 2 * a\n"),
        ("deep/units.py", "METRE = 2.0\n"),
        ("deep/units.py", "METRE = 1\n"),
        ("deep/units.py", "METRE = '1.0'\n"),
        ("deep/start.py", "READY = False\n"),
        ("__init__.py", "VERSION = 1\n"),
    ],
)
def test_code_counts_wherever_it_stands(package, name, text):
    before = fresh()
    (package / name).write_text(text)
    assert fresh() != before


def test_modules_that_are_not_loaded_do_not_count(package):
    before = fresh()
    (package / "unused.py").write_text("X = 2\n")
    (package / "only_types.py").write_text("class A:\n    x: int\n")
    assert fresh() == before


def test_data_beside_a_module_count_for_it(package):
    before, other = fresh(), fresh("pack.unused")
    (package / "deep" / "page.css").write_text("body {}")
    assert fresh() != before
    assert fresh("pack.unused") == other


def test_what_was_found_is_kept_for_the_next_process(package, monkeypatch):
    before = fresh()
    with monkeypatch.context() as patched:
        patched.setattr(digest, "_dump", lambda tree: pytest.fail("parsed again"))
        assert fresh() == before
    for kept in package.rglob("*.digest"):
        kept.write_text(kept.read_text()[:20])
    assert fresh() == before  # what is broken is made anew


def test_a_package_that_cannot_be_written_has_its_digest(package, monkeypatch):
    before = fresh()
    for kept in package.rglob("*.digest"):
        kept.unlink()
    monkeypatch.setattr(digest.Path, "write_text", lambda *_: (_ for _ in ()).throw(PermissionError))
    assert fresh() == before
    assert not list(package.rglob("*.digest"))


def test_a_digest_is_short_and_stable(package):
    assert len(fresh()) == 12
    assert fresh() == fresh()


@pytest.mark.parametrize("module", sorted({stage_module(verb) for verb in STAGES}))
def test_the_closure_of_a_stage_holds_what_it_loads(module):
    code = (
        "import importlib, sys\nimportlib.import_module(sys.argv[1])\n"
        "print(*sorted(m for m in sys.modules if m.partition('.')[0] == 'terraprobe'))"
    )
    done = subprocess.run([sys.executable, "-c", code, module], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert set(done.stdout.split()) <= digest.closure(module)


@pytest.mark.parametrize("module", sorted({stage_module(verb) for verb in STAGES}))
def test_no_stage_carries_the_command_line_or_every_method(module):
    # Their digests would rerun everything after any edit; a rule adds the one method that its encoder names.
    closure = digest.closure(module)
    assert "terraprobe.cli" not in closure
    assert not closure & set(METHODS.values())

"""What the project says it needs, what is locked, and what conda users get are one thing."""

import re
import subprocess
import sys
import tomllib

import pytest
import yaml

IMPORT_NAMES = {
    "asf-search": "asf_search",
    "earthengine-api": "ee",
    "netcdf4": "netCDF4",
    "pytest-xdist": "xdist",
    "pyyaml": "yaml",
    "scikit-learn": "sklearn",
}
CONDA_NAMES = {"asf-search": "asf_search", "matplotlib": "matplotlib-base", "torch": "pytorch"}
"""Where conda-forge's name of a package is another than the Python package index's."""

NO_MODULE = {"pandas-stubs", "scipy-stubs", "types-pyyaml"}
"""Types for mypy alone."""


@pytest.fixture(scope="module")
def project(repository):
    return tomllib.loads((repository / "pyproject.toml").read_text())["project"]


def name_of(requirement: str) -> str:
    return re.match(r"[A-Za-z0-9._-]+", requirement)[0].lower().replace("_", "-")


def test_every_dependency_imports(project):
    declared = [*project["dependencies"], *project["optional-dependencies"]["dev"]]
    names = [name_of(r) for r in declared]
    modules = [IMPORT_NAMES.get(n, n.replace("-", "_")) for n in names if n not in NO_MODULE]
    code = "import importlib, sys\nfor name in sys.argv[1:]: importlib.import_module(name)"
    done = subprocess.run([sys.executable, "-c", code, *modules], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("file", ["requirements.lock", "envs/bench.lock", "envs/uv.lock"])
def test_a_lock_has_exact_versions_and_hashes_and_no_address(repository, file):
    text = (repository / file).read_text()
    assert "://" not in text
    assert not re.search(r"^\s*--?(index|extra-index|find-links|trusted|i\b|f\b)", text, re.MULTILINE)
    requirements = re.sub(r"\\\n", " ", re.sub(r"^\s*#.*\n", "", text, flags=re.MULTILINE)).strip().splitlines()
    assert requirements
    for line in requirements:
        assert re.match(r"[a-z0-9][a-z0-9._-]*(\[[a-z,]+\])?==\S+", line), line
        assert re.search(r"--hash=sha256:[0-9a-f]{64}\b", line), line


def test_the_lock_holds_every_dependency(project, repository):
    locked = set(re.findall(r"^([a-z0-9._-]+)==", (repository / "requirements.lock").read_text(), re.MULTILINE))
    declared = {name_of(r) for r in [*project["dependencies"], *project["optional-dependencies"]["dev"]]}
    assert declared <= locked


def test_peers_of_the_store_are_locked_apart(project, repository):
    """`make run` installs `requirements.lock`; where both locks hold a package, it is the same version."""
    locks = ("requirements.lock", "envs/bench.lock")
    main, bench = (
        set(re.findall(r"^([a-z0-9._-]+)==(\S+)", (repository / f).read_text(), re.MULTILINE)) for f in locks
    )
    peers = {name_of(requirement) for requirement in project["optional-dependencies"]["bench"]}
    names = {name for name, _ in main}
    assert not peers & names
    assert peers <= {name for name, _ in bench}
    assert {pin for pin in bench if pin[0] in names} <= main


def test_the_conda_twin_asks_for_the_same(project, repository):
    twin = yaml.safe_load((repository / "envs/terraprobe.yaml").read_text())["dependencies"]
    bounds = dict(entry.split(" ", 1) for entry in twin)
    assert bounds.pop("python") == project["requires-python"]
    declared = {}
    for requirement in project["dependencies"]:
        name = name_of(requirement)
        bound = re.sub(r"^[A-Za-z0-9._-]+(\[[a-z,]+\])?", "", requirement)
        declared[CONDA_NAMES.get(name, name)] = bound
    assert bounds == declared

"""One cluster and one local run for all cases."""

import shutil
import tempfile
import time
from pathlib import Path

import pytest
from cluster import Cluster
from study import run_here, write_study


@pytest.fixture(scope="session")
def cluster():
    """The private cluster, up."""
    folder = Path(tempfile.mkdtemp(prefix="slurm-"))  # its sockets need a short path
    private = Cluster(folder)
    started = time.monotonic()
    try:
        private.start()
        print(f"\ncluster: up after {time.monotonic() - started:.0f} s")
        yield private
    finally:
        private.stop()
        shutil.rmtree(folder)


@pytest.fixture(scope="session")
def local(tmp_path_factory):
    """The study as one machine without SLURM makes it."""
    folder = tmp_path_factory.mktemp("local")
    write_study(folder / "study.yaml")
    started = time.monotonic()
    run_here(folder)
    print(f"\nlocal run: {time.monotonic() - started:.0f} s")
    return folder


@pytest.fixture(autouse=True)
def told(request):
    """The name of each case and its time, in the log of a run with `-s`."""
    started = time.monotonic()
    yield
    print(f"\ncase {request.node.name.removeprefix('test_').replace('_', ' ')}: {time.monotonic() - started:.0f} s")

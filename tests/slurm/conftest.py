"""One cluster and one local run for all cases, which run at the same time."""

import shutil
import signal
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from cases import CASES
from cluster import Cluster, ClusterError
from study import Submitted, run_here, write_study


@pytest.fixture(scope="session")
def cluster():
    """The private cluster, up."""
    folder = Path(tempfile.mkdtemp(prefix="slurm-"))  # its sockets need a short path
    private = Cluster(folder)
    started = time.monotonic()
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # then too it is taken down
    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        private.start()
        print(f"\ncluster: up after {time.monotonic() - started:.0f} s")
        yield private
    except ClusterError as error:
        pytest.exit(f"no SLURM cluster here: {error}", returncode=1)
    finally:
        private.stop()
        shutil.rmtree(folder)


@pytest.fixture(scope="session")
def outcomes(cluster, tmp_path_factory):
    """Name of each case to what will be its remarks and seconds."""
    here = tmp_path_factory.mktemp("local")
    write_study(here / "study.yaml")
    pool = ThreadPoolExecutor(len(CASES) + 1)
    local = pool.submit(_timed, run_here, here)

    def finished():
        local.result()
        return here

    begun = {"the local run": local}
    for case, work in CASES.items():
        begun[case] = pool.submit(_timed, work, cluster, finished, tmp_path_factory.mktemp(work.__name__))
    yield begun
    pool.shutdown(wait=False, cancel_futures=True)
    Submitted.end_all()


def _timed(work, *arguments):
    started = time.monotonic()
    remarks = work(*arguments)
    return remarks, time.monotonic() - started

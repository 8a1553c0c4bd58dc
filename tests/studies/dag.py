"""Run the mini study in a folder of its own."""

import hashlib
import shutil
import subprocess
import sys
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
MINI = Path(__file__).with_name("mini.yaml")
NOT_COMPARED = ("logs/", "benchmarks/", "cost.json", "/report/cost/", "/state-")
"""Wall times and hosts: outside every digest. Training state: what a killed run left to go on from."""


def without_network() -> list[str]:
    """What a command is put behind to have no network, not even a loopback; nothing where that is not permitted."""
    for options in (["--net"], ["--map-root-user", "--net"]):
        if not subprocess.run(["unshare", *options, "true"], capture_output=True, check=False).returncode:
            return ["unshare", *options]
    return []


OFFLINE = without_network() if shutil.which("unshare") else []
"""Mini studies run so: only rules that carry `network` may need one, and few studies have any."""


def command(folder: Path, *arguments: str, study: Path = MINI) -> list[str]:
    """Snakemake on a study, with results below `folder`."""
    base = [sys.executable, "-m", "snakemake", "--snakefile", str(REPOSITORY / "Snakefile"), "--cores", "2"]
    return [*base, "--directory", str(folder), "--configfile", str(study), *arguments]


def snakemake(
    folder: Path, *arguments: str, study: Path = MINI, network: bool = False
) -> subprocess.CompletedProcess[str]:
    """Run it to the end, with the network where the study fetches from a server; stdout and stderr together."""
    return subprocess.run(
        [*([] if network else OFFLINE), *command(folder, *arguments, study=study)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
        timeout=900,
    )


def contents(folder: Path) -> dict[str, str]:
    """SHA-256 of every result that two equal runs must share."""
    results = folder / "results" / "mini"
    files = [f for f in sorted(results.rglob("*")) if f.is_file()]
    names = {str(f.relative_to(results)): f for f in files}
    kept = {name: f for name, f in names.items() if not any(part in f"/{name}" for part in NOT_COMPARED)}
    return {name: hashlib.sha256(f.read_bytes()).hexdigest() for name, f in kept.items()}

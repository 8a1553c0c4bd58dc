"""terraprobe: acquire -> collections -> chips -> pretrain -> embed -> evaluate -> report.

snakemake --cores all                                     the quickstart (config.yaml)
snakemake --cores all --configfile studies/<paper>.yaml   a paper's study
"""

import os
import signal
import sys
from pathlib import Path

from snakemake.utils import min_version

min_version("9.0")
# A SLURM job is warned of its time limit by this signal: the training process answers it, Snakemake must live on.
signal.signal(signal.SIGUSR1, signal.SIG_IGN)
# The jobs run this checkout's package by the Python that runs this Snakemake, activated by hand or not (a conda
# environment of their own comes first on PATH). Waiting threads must not spin: with two trainings on two cores
# that costs a factor of ten.
PACKAGE = str(Path(workflow.basedir, "workflow"))
sys.path.insert(0, PACKAGE)
os.environ.update(
    PATH=os.pathsep.join([str(Path(sys.executable).parent), *os.get_exec_path()]),
    PYTHONPATH=PACKAGE,
)
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
# Freed memory stays with its process (glibc): an embedding otherwise spends a sixth of its CPU time on fresh pages.
os.environ.setdefault("MALLOC_MMAP_THRESHOLD_", str(32 * 2**20))
os.environ.setdefault("MALLOC_TRIM_THRESHOLD_", str(4 * 10**9))

# `--configfile` is merged over a `configfile:`, so a study would inherit the quickstart's entries.
if not workflow.config_settings.configfiles:

    configfile: "config.yaml"


include: "workflow/rules/common.smk"
include: "workflow/rules/acquire.smk"
include: "workflow/rules/area.smk"
include: "workflow/rules/collections.smk"
include: "workflow/rules/chips.smk"
include: "workflow/rules/pretrain.smk"
include: "workflow/rules/embed.smk"
include: "workflow/rules/evaluate.smk"
include: "workflow/rules/classify.smk"
include: "workflow/rules/reconstruct.smk"
include: "workflow/rules/segment.smk"
include: "workflow/rules/probe.smk"
include: "workflow/rules/report.smk"


rule all:
    """The report, and with it everything that it stands on."""
    default_target: True
    input:
        f"{ROOT}/report/index.html",
        restart_files(),


onstart:
    check_credentials()
    if workflow.local_exec:
        # The limit of jobs a second (for clusters; here cores are the limit) makes Snakemake look for work once more a
        # second for every job that has finished: after a hundred of them that alone takes half a core.
        workflow.scheduler.job_rate_limiter = None
    if STUDY.study == "quickstart":
        say("terraprobe: quickstart = demonstration on real Sentinel-2 scenes and a simulated Earth;")
        say("the papers = --configfile studies/<paper>.yaml")
    say(f"study {STUDY.study}: results land in {ROOT}")
    for name, reasons in STUDY.left_out.items():
        for reason in reasons:
            say(f"not run: {name}: {reason}")


onsuccess:
    shell("python -m terraprobe times {ROOT} >&2")
    if Path(ROOT, "report/index.html").exists():
        say(f"Report: {ROOT}/report/index.html")


onerror:
    say("A stage failed: its own words are above and in its log. Mend the cause and run the same command again:")
    say("what is finished stays finished, and a training that was cut off goes on from its last checkpoint.")

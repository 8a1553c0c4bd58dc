"""A private SLURM cluster on one machine: two nodes with fake GPUs, and a third to be preempted on.

Nodes have more CPUs than the machine: jobs wait more than they compute, and all cases run at the same time.
"""

import getpass
import os
import shutil
import socket
import stat
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

PACKAGES = ("slurmctld", "slurmd", "slurm-client", "munge")
NODES = ("127.0.0.1", "127.0.0.2", "127.0.0.3")
"""Names that the processes of a training find one another by, as they do on a cluster."""

GPUS = 8
"""Of a node."""

PORT = 26817
DEFAULT_CONF = Path("/etc/slurm/slurm.conf")
"""The executor's job step takes SLURM_CONF away from the step inside it, which looks here then."""

CREDENTIAL_SECONDS = 30
"""A requeued job waits so long until its old credential is void; SLURM's default is two minutes."""

CONF = """\
ClusterName=test
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={port}
SlurmUser={user}
SlurmdUser={user}
AuthType=auth/munge
AuthInfo=socket={folder}/munge.sock,cred_expire={credential}
CredType=cred/munge
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool-%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd-%n.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd-%n.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
MpiDefault=none
SwitchType=switch/none
ReturnToService=2
SlurmdParameters=config_overrides
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
DefMemPerCPU=500
GresTypes=gpu
SchedulerParameters=bf_interval=2,batch_sched_delay=0,sched_interval=2
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
MinJobAge=3600
KillWait=10
InactiveLimit=0
PropagateResourceLimits=NONE
AccountingStorageType=accounting_storage/none
JobAcctGatherType=jobacct_gather/none
NodeName={nodes} NodeHostname={host} Port=[{first}-{last}] CPUs=32 RealMemory=200000 Gres=gpu:{gpus}
PartitionName=cpu Nodes={first_two} Default=YES MaxTime=2-0 PriorityTier=1
PartitionName=gpu Nodes={first_two} MaxTime=2-0 PriorityTier=1
PartitionName=spot Nodes={third} MaxTime=2-0 PriorityTier=1 PreemptMode=REQUEUE GraceTime=0
PartitionName=urgent Nodes={third} MaxTime=2-0 PriorityTier=10 PreemptMode=OFF
"""


class ClusterError(Exception):
    """The cluster does not start; the text says which part, and what it said."""


@dataclass(frozen=True)
class Job:
    """One SLURM job, as `squeue` tells of it.

    Attributes:
        id: number; that of a requeued job stays.
        partition: that it was sent to.
        node: that it runs or ran on, empty before.
        state: such as `RUNNING`.
        rules: comment that the profile gives it: a rule, or a group.
    """

    id: int
    partition: str
    node: str
    state: str
    rules: str


class Cluster:
    """Start it, ask it, stop it.

    Args:
        folder: an empty folder with a short path.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.conf = folder / "slurm.conf"
        self.linked = False

    def start(self) -> None:
        """Install what is missing, write the configuration, start all daemons and run one job.

        Raises:
            ClusterError: this is not root, there is another cluster here, or a daemon does not start.
        """
        if os.geteuid() != 0:
            raise ClusterError(f"slurmd starts jobs as root alone; this is {getpass.getuser()}")
        if DEFAULT_CONF.exists():
            raise ClusterError(f"{DEFAULT_CONF.resolve()} exists: this machine belongs to another cluster")
        DEFAULT_CONF.unlink(missing_ok=True)  # a link to nowhere is what a killed run leaves
        install()
        self._configure()
        os.environ["SLURM_CONF"] = str(self.conf)
        run("munged", "--force", *(f"--{k}={self.folder}/{v}" for k, v in MUNGED.items()))
        self._wait("munged", ["munge", "-S", f"{self.folder}/munge.sock", "-n"])
        run("slurmctld")
        self._wait("slurmctld", ["scontrol", "ping"])
        for node in NODES:
            run("slurmd", "-N", node)
        idle = ("sinfo", "-h", "-N", "-t", "idle", "-o", "%N")
        until(lambda: set(run(*idle).split()) == set(NODES), 60, "nodes")
        run("srun", "-n1", "-t1", "true")

    def stop(self) -> None:
        """End all jobs and the daemons that `start` started, by their process ids."""
        if (self.folder / "slurmctld.pid").exists():
            self.cancel()
        for pid_file in sorted(self.folder.glob("*.pid"), reverse=True):
            name = pid_file.stem.partition("-")[0]
            pid = int(pid_file.read_text())
            comm = Path(f"/proc/{pid}/comm")
            if comm.exists() and comm.read_text().strip() == name:
                os.kill(pid, 15)
                until(lambda comm=comm: not comm.exists(), 15, f"{name} to end")
        if self.linked:
            DEFAULT_CONF.unlink()
        os.environ.pop("SLURM_CONF", None)

    def jobs(self, folder: Path | None = None) -> list[Job]:
        """All jobs, also finished ones, that were submitted in a folder; without one those of all."""
        lines = [line.split("|") for line in run("squeue", "-h", "-t", "all", "-o", "%Z|%A|%P|%N|%T|%k").splitlines()]
        return [Job(int(line[1]), *line[2:]) for line in lines if folder is None or Path(line[0]) == folder]

    def training(self, folder: Path) -> Job:
        """The training job of a folder that runs."""
        return next(j for j in self.jobs(folder) if j.state == "RUNNING" and "rule_pretrain_encoder" in j.rules)

    def cancel(self, folder: Path | None = None) -> None:
        """Cancel the jobs of a folder, without one all, and wait until they are gone."""

        def left() -> list[Job]:
            return [job for job in self.jobs(folder) if job.state in {"PENDING", "RUNNING", "COMPLETING"}]

        if jobs := left():
            run("scancel", *(str(job.id) for job in jobs))
        until(lambda: not left(), 120, "cancelled jobs to end")

    def _configure(self) -> None:
        (self.folder / "state").mkdir()
        (self.folder / "munge.key").write_bytes(os.urandom(1024))
        (self.folder / "munge.key").chmod(0o400)
        self.folder.chmod(0o755)
        host = socket.gethostname().partition(".")[0]
        self.conf.write_text(
            CONF.format(
                host=host, port=PORT, user=getpass.getuser(), folder=self.folder, credential=CREDENTIAL_SECONDS,
                nodes=",".join(NODES), first_two=",".join(NODES[:2]), third=NODES[2], first=PORT + 1,
                last=PORT + len(NODES), gpus=GPUS,
            )
        )  # fmt: skip
        (self.folder / "cgroup.conf").write_text("CgroupAutomount=no\n")
        (self.folder / "gres.conf").write_text(f"NodeName={','.join(NODES)} Name=gpu {self._gpus()}\n")
        DEFAULT_CONF.parent.mkdir(exist_ok=True)
        DEFAULT_CONF.symlink_to(self.conf)
        self.linked = True

    def _gpus(self) -> str:
        """Fake GPUs: character devices, for SLURM to set CUDA_VISIBLE_DEVICES; a bare count where they are refused."""
        try:
            for number in range(GPUS):
                os.mknod(self.folder / f"gpu{number}", 0o666 | stat.S_IFCHR, os.makedev(1, 3))
        except PermissionError:
            return f"Count={GPUS}"
        return f"File={self.folder}/gpu[0-{GPUS - 1}]"

    def _wait(self, what: str, command: list[str]) -> None:
        deadline = time.monotonic() + 60
        while (done := subprocess.run(command, capture_output=True, text=True, check=False)).returncode:
            if time.monotonic() > deadline:
                logs = "\n".join(f"{p.name}: {p.read_text()[-500:]}" for p in self.folder.glob("*.log"))
                raise ClusterError(f"{what} does not start: {done.stderr}\n{logs}")
            time.sleep(0.2)


MUNGED = {"key-file": "munge.key", "socket": "munge.sock", "pid-file": "munged.pid", "log-file": "munged.log",
          "seed-file": "munge.seed"}  # fmt: skip


def install() -> None:
    """Install Debian's packages where a daemon is missing.

    Raises:
        ClusterError: it cannot.
    """
    if all(shutil.which(name) for name in ("slurmctld", "slurmd", "squeue", "munged")):
        return
    if not shutil.which("apt-get"):
        raise ClusterError(f"SLURM is missing, and so is apt-get. Install {', '.join(PACKAGES)}.")
    # A package may start its daemon; this file, where it is Debian's to ask, forbids it.
    policy = Path("/usr/sbin/policy-rc.d")
    made = not policy.exists()
    if made:
        policy.write_text("#!/bin/sh\nexit 101\n")
        policy.chmod(0o755)
    try:
        run("apt-get", "update", "-q")
        run("apt-get", "install", "-y", "-q", "--no-install-recommends", *PACKAGES)
    except ClusterError as error:
        raise ClusterError(
            f"SLURM is missing and cannot be installed. Install {', '.join(PACKAGES)}. {error}"
        ) from None
    finally:
        if made:
            policy.unlink()


def run(*command: str) -> str:
    """Stdout of a command.

    Raises:
        ClusterError: it fails.
    """
    env = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
    done = subprocess.run(
        command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False, env=env, timeout=300
    )
    if done.returncode:
        raise ClusterError(f"{' '.join(command)}: {done.stdout[-500:]}{done.stderr[-1000:]}")
    return done.stdout


def until(true, seconds: float, what: str) -> None:
    """Wait for something to become true.

    Raises:
        ClusterError: it does not.
    """
    deadline = time.monotonic() + seconds
    while not true():
        if time.monotonic() > deadline:
            raise ClusterError(f"waited {seconds} s for {what}")
        time.sleep(0.1)

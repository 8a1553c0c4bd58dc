"""A private SLURM cluster on one machine: two nodes, each with two CPUs and two fake GPUs; its files in one folder."""

import getpass
import os
import shutil
import socket
import stat
import subprocess
import time
from pathlib import Path

PACKAGES = ("slurmctld", "slurmd", "slurm-client", "munge")
NODES = ("n1", "n2")
PORT = 26817
DEFAULT_CONF = Path("/etc/slurm/slurm.conf")
"""The executor's job step takes SLURM_CONF away from the step inside it, which looks here then."""

CREDENTIAL_SECONDS = 15
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
MinJobAge=300
KillWait=10
InactiveLimit=0
PropagateResourceLimits=NONE
AccountingStorageType=accounting_storage/none
JobAcctGatherType=jobacct_gather/none
NodeName={nodes} NodeHostname={host} NodeAddr=127.0.0.1 Port=[{first}-{last}] CPUs=2 RealMemory=16000 Gres=gpu:2
PartitionName=cpu Nodes=ALL Default=YES MaxTime=2-0 PriorityTier=1
PartitionName=gpu Nodes=ALL MaxTime=2-0 PriorityTier=1
PartitionName=transfer Nodes=ALL MaxTime=2-0 PriorityTier=1
PartitionName=spot Nodes=ALL MaxTime=2-0 PriorityTier=1 PreemptMode=REQUEUE GraceTime=0
PartitionName=urgent Nodes=ALL MaxTime=2-0 PriorityTier=10 PreemptMode=OFF
"""


class ClusterError(Exception):
    """The cluster does not start; the text says which part, and what it said."""


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
            raise ClusterError(f"{DEFAULT_CONF} exists: this machine belongs to another cluster")
        install()
        self._configure()
        os.environ["SLURM_CONF"] = str(self.conf)
        run("munged", "--force", *(f"--{k}={self.folder}/{v}" for k, v in MUNGED.items()))
        self._wait("munged", ["munge", "-S", f"{self.folder}/munge.sock", "-n"])
        run("slurmctld")
        self._wait("slurmctld", ["scontrol", "ping"])
        for node in NODES:
            run("slurmd", "-N", node)
        until(
            lambda: run("sinfo", "-h", "-N", "-p", "cpu", "-t", "idle", "-o", "%N").split() == list(NODES), 60, "nodes"
        )
        run("srun", "-n1", "-t1", "true")

    def stop(self) -> None:
        """End all jobs and the daemons that `start` started, by their process ids."""
        if (self.folder / "slurmctld.pid").exists():
            self.cancel_all()
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

    def jobs(self, state: str = "PENDING,RUNNING,COMPLETING") -> list[str]:
        """Ids of the jobs in the queue."""
        return run("squeue", "-h", "-o", "%A", "-t", state).split()

    def training(self) -> str:
        """Id of the training job that runs, empty where none does."""
        lines = run("squeue", "-h", "-t", "RUNNING", "-o", "%A %k").splitlines()
        return next((line.split()[0] for line in lines if "rule_pretrain_encoder" in line), "")

    def node_of(self, job: str) -> str:
        """Node that a job runs on."""
        return run("squeue", "-h", "-j", job, "-o", "%N").strip()

    def cancel_all(self) -> None:
        """Cancel every job and wait until they are gone."""
        if jobs := self.jobs():
            run("scancel", *jobs)
        until(lambda: not self.jobs(), 40, "cancelled jobs to end")

    def _configure(self) -> None:
        (self.folder / "state").mkdir()
        (self.folder / "munge.key").write_bytes(os.urandom(1024))
        (self.folder / "munge.key").chmod(0o400)
        self.folder.chmod(0o755)
        host = socket.gethostname().partition(".")[0]
        self.conf.write_text(
            CONF.format(
                host=host, port=PORT, user=getpass.getuser(), folder=self.folder, credential=CREDENTIAL_SECONDS,
                nodes=f"n[1-{len(NODES)}]", first=PORT + 1, last=PORT + len(NODES),
            )
        )  # fmt: skip
        (self.folder / "cgroup.conf").write_text("CgroupAutomount=no\n")
        (self.folder / "gres.conf").write_text(f"NodeName=n[1-{len(NODES)}] Name=gpu {self._gpus()}\n")
        DEFAULT_CONF.parent.mkdir(exist_ok=True)
        DEFAULT_CONF.symlink_to(self.conf)
        self.linked = True

    def _gpus(self) -> str:
        """Fake GPUs: character devices, for SLURM to set CUDA_VISIBLE_DEVICES; a bare count where they are refused."""
        try:
            for number in range(2):
                os.mknod(self.folder / f"gpu{number}", 0o666 | stat.S_IFCHR, os.makedev(1, 3))
        except PermissionError:
            return "Count=2"
        return f"File={self.folder}/gpu[0-1]"

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
    """Install Debian's packages where a daemon is missing."""
    if all(shutil.which(name) for name in ("slurmctld", "slurmd", "squeue", "munged")):
        return
    if not shutil.which("apt-get"):
        raise ClusterError(f"SLURM is missing and so is apt-get; install {', '.join(PACKAGES)}")
    # A package may start its daemon; this file, where it is Debian's to ask, forbids it.
    policy = Path("/usr/sbin/policy-rc.d")
    made = not policy.exists()
    if made:
        policy.write_text("#!/bin/sh\nexit 101\n")
        policy.chmod(0o755)
    try:
        run("apt-get", "update", "-q")
        run("apt-get", "install", "-y", "-q", "--no-install-recommends", *PACKAGES)
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

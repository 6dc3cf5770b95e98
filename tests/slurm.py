"""A real SLURM of two nodes on this machine, in a folder of its own: munge, slurmctld and a slurmd per node."""

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch")
CONFIGURATION = """
ClusterName=test
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={ports[0]}
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool-%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd-%n.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd-%n.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
MpiDefault=none
ReturnToService=2
SlurmdTimeout=10
KillWait=30
MinJobAge=300
NodeName=n1,n2 NodeHostname={host} NodeAddr=127.0.0.1 Port={ports[1]},{ports[2]} CPUs=1 State=UNKNOWN
PartitionName=all Nodes=n1,n2 Default=YES MaxTime=INFINITE State=UP
"""


def missing() -> str:
    """Why there is no SLURM here; empty if there is one."""
    lacking = [name for name in PROGRAMS if shutil.which(name, path=_path()) is None]
    if lacking:
        return f"no {', '.join(lacking)} here: apt install slurmctld slurmd slurm-client munge"
    return "" if os.geteuid() == 0 else "only root can start SLURM's programs"


def wait_until(true: Callable[[], bool], seconds: float) -> None:
    """Wait until something is the case."""
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.2)


class Cluster:
    """What tests do to it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.environment = {"SLURM_CONF": str(folder / "slurm.conf"), "PATH": _path()}

    def run(self, *command: str) -> str:
        """A command of SLURM's, and what it says."""
        environment = {**os.environ, **self.environment}
        return subprocess.run(command, check=True, capture_output=True, text=True, env=environment).stdout

    def job(self, state: str = "RUNNING", seconds: float = 120) -> str:
        """The number of a job that is in this state, or comes to be in it."""
        found: list[str] = []

        def there() -> bool:
            found[:] = self.run("squeue", "--noheader", "--format=%A", f"--states={state}").split()
            return bool(found)

        wait_until(there, seconds)
        return found[0]


@contextmanager
def cluster(folder: Path) -> Iterator[Cluster]:
    """Start it, and end it with all that it runs."""
    made, host = Cluster(folder), socket.gethostname().partition(".")[0]
    for name in ("state", "spool-n1", "spool-n2"):
        (folder / name).mkdir(parents=True)
    (folder / "slurm.conf").write_text(CONFIGURATION.format(host=host, folder=folder, ports=_free_ports(3)))
    (folder / "munge.key").write_bytes(os.urandom(128))
    (folder / "munge.key").chmod(0o400)
    folder.chmod(0o755)
    own = [f"--{what}-file={folder}/munge.{what}" for what in ("key", "pid", "log", "seed")]
    munge = ["munged", "--foreground", "--force", f"--socket={folder}/munge.socket", *own]
    daemons = [munge, ["slurmctld", "-D"], ["slurmd", "-D", "-N", "n1"], ["slurmd", "-D", "-N", "n2"]]
    started = []
    with (folder / "daemons.log").open("wb") as log:
        try:
            for daemon in daemons:
                environment = {**os.environ, **made.environment}
                started.append(subprocess.Popen(daemon, env=environment, stdout=log, stderr=log))
                time.sleep(1)
            _wait_for_nodes(made)
            yield made
        finally:
            subprocess.run(["scancel", "--full", "--user=root"], env={**os.environ, **made.environment}, check=False)
            for process in reversed(started):
                process.terminate()
            for process in reversed(started):
                process.wait(30)


def _wait_for_nodes(made: Cluster) -> None:
    wait_until(lambda: made.run("sinfo", "--noheader", "--format=%t").split() == ["idle"], 60)


def _path() -> str:
    return f"{os.environ['PATH']}:/usr/sbin:/sbin"


def _free_ports(count: int) -> list[int]:
    sockets = [socket.socket() for _ in range(count)]
    for each in sockets:
        each.bind(("127.0.0.1", 0))
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports

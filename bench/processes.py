"""What a second process costs: `python -m bench.processes [SPEC]`.

A spec's teacher is trained for a few iterations in one process of one thread, in one of two threads, and in two
processes of one thread each, in turn, on this machine's processor.
"""

import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from sfddm.data.prepare import prepare
from sfddm.runtime.processes import is_main, process_group
from sfddm.spec.read import load_spec
from sfddm.spec.teacher import Trained

WARM, TIMED, ROUNDS = 5, 30, 3
WAYS = {"one process, one thread": (1, 1), "one process, two threads": (1, 2), "two processes, one thread each": (2, 1)}


def main(name: str) -> None:
    """Print the milliseconds of an iteration."""
    with tempfile.TemporaryDirectory() as folder:
        prepare(load_spec(name).data, Path(folder))
        found: dict[str, list[float]] = {way: [] for way in WAYS}
        for _ in range(ROUNDS):
            for way, (processes, threads) in WAYS.items():
                found[way].append(_measure(name, folder, processes, threads))
    base = statistics.median(found["one process, one thread"])
    for way, seconds in found.items():
        middle = statistics.median(seconds)
        print(f"{name}, {way}: {middle * 1e3:.0f} ms an iteration, {base / middle:.2f} times as fast as one thread")


def _measure(name: str, folder: str, processes: int, threads: int) -> float:
    launcher = ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}", f"--log-dir={folder}"]
    command = [sys.executable, *launcher, "-m", "bench.processes", name, folder]
    environment = {**os.environ, "OMP_NUM_THREADS": str(threads), "SFDDM_DEVICE": "cpu"}
    return float(subprocess.run(command, check=True, env=environment, stdout=subprocess.PIPE, text=True).stdout)


def train(name: str, folder: Path) -> None:
    """What each process does: some iterations; the first one prints the median of their seconds."""
    import torch

    from sfddm.data import store
    from sfddm.networks.contract import Contract
    from sfddm.networks.denoiser import build, unet_config
    from sfddm.training.loop import begin, iterate
    from sfddm.training.teacher import denoising_loss

    teacher, split = load_spec(name).teacher, store.read(folder, "train")
    source = teacher.source
    if not isinstance(source, Trained):
        raise SystemExit(f"the teacher of {name} isn't trained here: name a spec whose teacher is")
    settings = source.training
    contract = Contract(
        timesteps=teacher.timesteps, noise_schedule=teacher.noise_schedule, prediction=teacher.prediction
    )
    with process_group():
        network = build(unet_config(source.network, split.images.shape[1:]), contract, 0).to(torch.device("cpu"))
        loss = denoising_loss(network, teacher.prediction, split, 0, settings.batch_size)
        state, seconds = begin(network, settings), []
        for step in range(WARM + TIMED):
            started = time.perf_counter()
            iterate(state, loss, step, settings.learning_rate, settings)
            seconds.append(time.perf_counter() - started)
    if is_main():
        print(statistics.median(seconds[WARM:]))


if __name__ == "__main__":
    given = sys.argv[1:3]
    if len(given) == 2:
        train(given[0], Path(given[1]))
    else:
        main(given[0] if given else "digits")

"""How fast networks train and sample here: `python -m bench`, with `--quick`, `--networks`, `--rounds`, `--json FILE`.

One table: images and forward-equivalents a second (a forward pass of one image is 1, forward and backward 3), the share
of what a plain product of matrices reaches in the same precision, memory on a GPU, and the ratio to the plain loop
(fp32, eager, contiguous) of the same run. Sampling stands beside the bare network calls that it can't do without.
`--quick` leaves out what is compiled, which takes minutes, but for what GPUs' specs ask for where there is one.
"""

import argparse
import statistics
from pathlib import Path
from typing import Any

from sfddm.runtime.machine import calm_threads

calm_threads()  # before torch is imported

import torch  # noqa: E402
from rich.box import SIMPLE_HEAD  # noqa: E402
from rich.console import Console  # noqa: E402
from rich.table import Table  # noqa: E402

from bench.speed import Line, Subject, measure, multiplication, sampling, training  # noqa: E402
from sfddm.runtime.files import write_json  # noqa: E402
from sfddm.runtime.machine import device  # noqa: E402
from sfddm.runtime.memory import peak_memory_mb  # noqa: E402
from sfddm.spec.read import load_spec  # noqa: E402
from sfddm.spec.teacher import Trained, UNet2D  # noqa: E402

CIFAR = UNet2D(
    kind="unet2d", channels=(128, 256, 256, 256), attention=(False, True, False, False), middle_attention=True,
    head_channels=64, layers_per_block=2, norm_groups=32,
)  # fmt: skip
LAYOUTS = ("contiguous", "channels_last")
PRECISIONS = {"fp32": torch.float32, "bf16": torch.bfloat16}
COLUMNS = ("network", "what", "batch", "img/s", "fwd-eq/s", "of matmul", "MB", "ratio")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=str(__doc__))
    parser.add_argument("--quick", action="store_true", help="nothing is compiled but what GPUs' specs ask for")
    parser.add_argument("--networks", default="digits,cifar")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", type=Path, help="where the same figures go as JSON")
    given = parser.parse_args()
    rows = [row for name in given.networks.split(",") for row in measured(subject(name), not given.quick, given.rounds)]
    where = {
        "device": torch.cuda.get_device_name() if device().type == "cuda" else "cpu",
        "threads": torch.get_num_threads(), "torch": torch.__version__, "rounds": given.rounds,
        "peak_memory_mb": peak_memory_mb(device().type),
    }  # fmt: skip
    show(rows, where)
    if given.json:
        write_json(given.json, {"where": where, "lines": rows})


def subject(name: str) -> Subject:
    """One of the two networks, with batches that fit the device."""
    small = device().type == "cpu"
    if name == "digits":
        spec = load_spec("digits")
        source = spec.teacher.source
        assert isinstance(source, Trained)
        return Subject(name=name, network=source.network, shape=spec.data.shape, batch=128, repeats=5 if small else 50)
    if name == "cifar":
        batch, repeats = (8, 1) if small else (128, 5)
        return Subject(name=name, network=CIFAR, shape=(3, 32, 32), batch=batch, repeats=repeats)
    raise SystemExit(f"no network {name!r}: expected digits or cifar")


def measured(subject: Subject, compiled: bool, rounds: int) -> list[dict[str, Any]]:
    """The rows of one network."""
    trainings = [
        training(subject, precision=precision, memory_format=layout, compile=compile)
        for compile in ((False, True) if compiled else (False,))
        for precision in PRECISIONS
        for layout in LAYOUTS
    ]
    if not compiled and device().type == "cuda":
        trainings.append(training(subject, precision="bf16", memory_format="channels_last", compile=True))
    size = 1024 if device().type == "cpu" else 8192
    limits = {name: multiplication(subject, dtype, size) for name, dtype in PRECISIONS.items()}
    bare, drawn = sampling(subject)
    measure([*limits.values(), *trainings, bare, drawn], rounds)
    reached = {name: limit.forward_equivalents / limit.median for name, limit in limits.items()}
    return [
        *(row(line, trainings[0], reached[line.what.partition(",")[0]]) for line in trainings),
        *(row(line, bare, reached["fp32"]) for line in (bare, drawn)),
    ]


def row(line: Line, base: Line, limit: float) -> dict[str, Any]:
    """What is said of one line: rates, and how much faster than `base` it is."""
    rate = line.images / line.median
    images = line.images / base.images
    times = [other / own for own, other in zip(line.seconds, base.seconds, strict=True)]  # of one round each
    equivalents = line.forward_equivalents / line.median
    return {
        "network": line.subject.name, "what": line.what, "batch": line.subject.batch, "images_per_second": rate,
        "forward_equivalents_per_second": equivalents, "of_matrix_product": equivalents / limit,
        "peak_memory_mb": max(line.memory_mb, default=None), "ratio": images * statistics.median(times),
        "seconds": line.seconds,
    }  # fmt: skip


def show(rows: list[dict[str, Any]], where: dict[str, Any]) -> None:
    """The table."""
    table = Table(box=SIMPLE_HEAD)
    for column in COLUMNS:
        table.add_column(column, justify="left" if column in ("network", "what") else "right")
    for found in rows:
        memory = found["peak_memory_mb"]
        table.add_row(
            found["network"], found["what"], str(found["batch"]), f"{found['images_per_second']:.1f}",
            f"{found['forward_equivalents_per_second']:.1f}", f"{found['of_matrix_product']:.0%}",
            f"{memory:.0f}" if memory else "", f"{found['ratio']:.2f}",
        )  # fmt: skip
    console = Console(width=110)
    console.print(table)
    console.print(
        f"{where['device']}, {where['threads']} threads, torch {where['torch']}, medians of {where['rounds']} rounds; "
        f"at most {where['peak_memory_mb']:.0f} MiB."
    )


if __name__ == "__main__":
    main()

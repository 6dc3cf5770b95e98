"""What an iteration of a training waits for on a GPU, by torch's own word: `python -m bench.waits`. Nothing is wanted.

The network is that of CIFAR-10, in each precision; the places in the code are named.
"""

import warnings
from collections import Counter
from pathlib import Path

import torch

from bench.__main__ import PRECISIONS, subject
from bench.speed import training
from sfddm.runtime.machine import device


def main() -> None:
    """Count and print."""
    if device().type != "cuda":
        raise SystemExit("no GPU: on a CPU nothing waits")
    asked = subject("cifar")
    for precision in PRECISIONS:
        line = training(asked, precision=precision)
        line.run()
        torch.cuda.synchronize()
        torch.cuda.set_sync_debug_mode("warn")
        with warnings.catch_warnings(record=True) as given:
            warnings.simplefilter("always")
            line.run()
        torch.cuda.set_sync_debug_mode("default")
        places = Counter(f"{Path(each.filename).name}:{each.lineno}" for each in given if "sync" in str(each.message))
        found = ", ".join(f"{place} {count} times" for place, count in places.items())
        print(f"{line.what}: {asked.repeats} iterations wait for {found or 'nothing'}")


if __name__ == "__main__":
    main()

"""Data: read the set from its source and store its splits."""

from sfddm.data.prepare import prepare
from sfddm.pipeline.paths import Paths
from sfddm.runtime.files import atomic_folder
from sfddm.spec.read import load_spec
from stages.harness import main


def data(spec_name: str) -> None:
    """Write `runs/SPEC/data`."""
    spec = load_spec(spec_name)
    with atomic_folder(Paths(spec.name).data) as folder:
        prepare(spec.data, folder)


if __name__ == "__main__":
    main(data, "spec")

"""What to do after a comparison. What is done already is left out, and so is what would be refused."""

from collections.abc import Iterator

from sfddm.pipeline.git import head, uncommitted
from sfddm.pipeline.promotions import PROMOTIONS, read_history
from sfddm.registry.gates import gates
from sfddm.registry.promote import DEPENDS_ON
from sfddm.report.table import Table
from sfddm.spec.experiment import Spec


def next_steps(spec: Spec, table: Table) -> Iterator[tuple[str, str]]:
    """Commands, each with what it does; nothing where no student is registered.

    Raises:
        UserError: promotions.json is damaged.
    """
    rows = [row for entry in table.entries for row in entry.rows if row.run.student in spec.registry.students]
    if not rows:
        return
    champion = read_history().holders().get((spec.registry.model, "champion"))
    failed = {row.run.name: [gate.name for gate in gates(spec, row, champion) if not gate.passed] for row in rows}
    # Few steps are where training pays most.
    row = min(rows, key=lambda row: (len(failed[row.run.name]), row.metrics["nfe"]))
    name = row.run.name
    yield f"sfddm ui {spec.name}", "open the comparison in MLflow"
    yield f"sfddm sample {name} --out samples.png", "draw images from a student"
    if left := _uncommitted(spec):
        yield f"git add {' '.join(left)} && git commit -m Results", "keep the results"
    if failed[name]:
        nearest = f"no student passes the gates; this one fails {' and '.join(failed[name])}"
        yield f"sfddm promote {name} --dry-run", nearest
    elif champion and champion.content_key == row.content_key:
        yield f"sfddm export {name} out --format onnx", f"use the champion of {spec.registry.model} elsewhere"
    else:
        yield f"sfddm promote {name}", f"make it the champion of {spec.registry.model}"


def _uncommitted(spec: Spec) -> list[str]:
    """What a promotion depends on, as far as it is in no commit yet: files and folders of the repository's root."""
    wanted = [*DEPENDS_ON, f"specs/{spec.name}.yaml", str(PROMOTIONS)]
    found = uncommitted(wanted) if head() else [f"specs/{spec.name}.yaml", "params.yaml", "code.yaml", "dvc.lock"]
    return sorted({file.partition("/")[0] for file in found})

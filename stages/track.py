"""Track: bring every run of a spec into MLflow, and register the students that the spec marks."""

from sfddm.pipeline.paths import Paths
from sfddm.pipeline.rows import load_rows
from sfddm.runtime.files import write_json
from sfddm.spec.read import load_spec
from sfddm.tracking.server import connect
from sfddm.tracking.sync import sync_spec
from stages.harness import main


def track(spec_name: str) -> None:
    """Write `runs/SPEC/tracked.json`: the content key of every run in MLflow. Safe to repeat."""
    spec = load_spec(spec_name)
    rows = load_rows(spec)
    sync_spec(connect(), spec, rows)
    tracked = {row.run.name: row.content_key for row in rows}
    write_json(Paths(spec.name).root / "tracked.json", tracked)


if __name__ == "__main__":
    main(track, "spec")

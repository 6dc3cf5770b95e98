"""A student's stored figures against the gates of its spec."""

from collections.abc import Iterator, Mapping
from typing import Any

from attrs import evolve

from sfddm.evaluation.statistics import BLOCKS, SHARED, difference, why_not
from sfddm.pipeline.promotions import Gate, Promotion
from sfddm.pipeline.rows import Row, load_row
from sfddm.spec.evaluation import Against
from sfddm.spec.experiment import Run, Spec

COMPARED = "frechet_distance"
INCOMPARABLE = "does not compare"
FIGURES = (
    *SHARED, COMPARED, BLOCKS[COMPARED], "teacher_frechet_distance", "agreement", "mse_to_teacher", "nfe", "weights"
)  # fmt: skip
"""Of `metrics.json`, what is remembered of a promoted student; the next one is compared with it."""


def gates(spec: Spec, row: Row, champion: Promotion | None) -> Iterator[Gate]:
    """Every gate of the spec's section `promotion`; `champion` is None where that comparison is not asked.

    Raises:
        UserError: a `ddim` student with as many steps has not been evaluated.
    """
    wanted, metrics = spec.promotion, row.metrics
    ratio = metrics[COMPARED] / metrics["teacher_frechet_distance"]
    yield _gate("samples", f"{metrics['samples']}", f"at least {wanted.samples}", metrics["samples"] >= wanted.samples)
    yield _gate("distance_ratio", f"{ratio:.3f}", f"at most {wanted.distance_ratio}", ratio <= wanted.distance_ratio)
    agreement, speed_up = metrics["agreement"], row.timing["speed_up"]
    yield _gate("agreement", f"{agreement:.4f}", f"at least {wanted.agreement}", agreement >= wanted.agreement)
    yield _gate("speed_up", f"{speed_up:.1f}", f"at least {wanted.speed_up}", speed_up >= wanted.speed_up)
    if wanted.against_ddim != "any":
        yield _against_ddim(spec, row, wanted.against_ddim)
    if wanted.against_champion != "any" and champion is not None:
        if champion.content_key == row.content_key:
            return
        gate = _against("against_champion", metrics, champion.run, champion.figures, wanted.against_champion)
        remedy = f"; if that no longer counts: sfddm demote models:/{champion.model}@champion"
        yield gate if gate.figure != INCOMPARABLE else evolve(gate, bound=gate.bound + remedy)


def _gate(name: str, figure: str, bound: str, passed: bool) -> Gate:
    return Gate(name=name, figure=figure, bound=bound, passed=passed)


def _against_ddim(spec: Spec, row: Row, wanted: Against) -> Gate:
    """Against the free row with the lowest distance, because that is what a user would take instead."""
    rows = [load_row(spec, run) for run in _free_runs(spec, row.run)]
    if not rows:
        steps = len(spec.levels(row.run.student))
        return _gate("against_ddim", "nothing to compare", f"{wanted}: add a ddim student of {steps} steps", False)
    best = min(rows, key=lambda free: float(free.metrics[COMPARED]))
    return _against("against_ddim", row.metrics, best.run.student, best.metrics, wanted)


def _free_runs(spec: Spec, run: Run) -> list[Run]:
    """The runs of the teacher itself under DDIM with as many steps."""
    steps = len(spec.levels(run.student))
    return [other for other in spec.runs() if other.method == "ddim" and len(spec.levels(other.student)) == steps]


def _against(name: str, own: Mapping[str, Any], rival: str, rivals: Mapping[str, Any], wanted: Against) -> Gate:
    """The paired difference of the distances, own less the rival's."""
    bound = f"{wanted.replace('-', ' ')} than {rival}"
    reasons = why_not(rivals, own)
    found = difference(rivals, own, COMPARED)
    if reasons or found is None:
        return _gate(name, INCOMPARABLE, f"{bound}: {'; '.join(reasons) or 'no blocks'}", False)
    worst = found.estimate + found.half_width if wanted == "better" else found.estimate - found.half_width
    figure = f"{found.estimate:+.4f} ± {found.half_width:.4f}"
    return _gate(name, figure, bound, worst < 0 if wanted == "better" else worst <= 0)

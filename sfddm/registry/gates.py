"""A student's stored metrics against the gates of its spec. What scorers say counts only where all of them agree.

Those whose distances are wrong by the evaluation's notes are not asked; where that leaves none, distances pass no gate.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from attrs import evolve

from sfddm.evaluation.metrics import (
    CONDITIONS,
    JACKKNIFE,
    JUDGED_CONDITIONS,
    PANEL,
    SCORERS,
    SUMMARY,
    UNUSABLE,
    panel,
    part,
    usable,
    usable_first,
)
from sfddm.evaluation.statistics import Difference, difference, margin_of, measured, paired_difference, why_not
from sfddm.pipeline.promotions import Gate, Promotion
from sfddm.pipeline.rows import Row, load_row
from sfddm.report.table import DISTANCE, TEACHERS, teacher_at_floor
from sfddm.spec.evaluation import Against
from sfddm.spec.experiment import Spec
from sfddm.spec.students import Free

INCOMPARABLE, UNKNOWN = "does not compare", "unknown"
REMEMBERED = (*CONDITIONS, *SUMMARY, "weights")
REMEMBERED_OF_SCORERS = (*JUDGED_CONDITIONS, DISTANCE, JACKKNIFE[DISTANCE], TEACHERS)
"""Keys of metrics.json that promotions.json keeps of a promoted student; the next one is compared with it."""


def remembered(metrics: Mapping[str, Any]) -> dict[str, Any]:
    """What promotions.json keeps of a student's metrics.json."""
    scorers = {name: {key: part(metrics, name)[key] for key in REMEMBERED_OF_SCORERS} for name in panel(metrics)}
    return {**{key: metrics[key] for key in REMEMBERED}, PANEL: usable_first(metrics), SCORERS: scorers}


def gates(spec: Spec, row: Row, champion: Promotion | None) -> Iterator[Gate]:
    """Every gate of the spec's section `promotion`; `champion` is None where that comparison is not wanted.

    Raises:
        UserError: a free sampler with at most as many steps has not been evaluated.
    """
    wanted, metrics = spec.promotion, row.metrics
    yield _at_least("samples", "{}", metrics["samples"], wanted.samples)
    yield _agreement(metrics, wanted.agreement)
    yield _at_least("speed_up", "{:.1f}", row.timing["speed_up"], wanted.speed_up)
    if wanted.against_teacher != "any":
        margin = spec.evaluation.margin if wanted.against_teacher == "as-good" else None
        yield _against_teacher(metrics, margin)
    if wanted.against_free != "any":
        yield _against_free(spec, row, wanted.against_free)
    if wanted.against_champion != "any" and champion is not None:
        if champion.content_key == row.content_key:
            return
        rivals = dict.fromkeys(usable(metrics), (champion.run, champion.figures))
        gate = _against("against_champion", metrics, rivals, wanted.against_champion)
        remedy = f"; if that no longer counts: sfddm demote models:/{champion.model}@champion"
        yield gate if gate.figure != INCOMPARABLE else evolve(gate, bound=gate.bound + remedy)


def _at_least(name: str, form: str, value: float, wanted: float) -> Gate:
    """The gate of a value that has a lower bound."""
    return Gate(name, form.format(value), f"at least {wanted}", value >= wanted)


def _agreement(metrics: Mapping[str, Any], wanted: float) -> Gate:
    """The lowest agreement that a scorer with classes sees."""
    seen = [part(metrics, name)["agreement"] for name in panel(metrics) if "agreement" in part(metrics, name)]
    if not seen:
        return Gate("agreement", UNKNOWN, f"at least {wanted}: no scorer has classes", wanted == 0)
    return _at_least("agreement", "{:.4f}", min(seen), wanted)


def _against_teacher(metrics: Mapping[str, Any], margin: float | None) -> Gate:
    """The difference from the teacher's own images: below a share of its distance, or else not shown to be larger."""
    found, passed = {}, []
    for name in usable(metrics):
        own, teachers = measured(metrics, DISTANCE, name), measured(metrics, TEACHERS, name)
        assert own is not None and teachers is not None
        found[name] = paired_difference([own], [teachers])
        allowed = 0.0 if margin is None else margin_of(margin, teachers)
        passed.append(found[name].low <= 0 if margin is None else found[name].high < allowed)
    bound = "not worse than the teacher's" if margin is None else f"less than {margin:.0%} above the teacher's"
    if not found:
        return Gate("against_teacher", UNKNOWN, UNUSABLE, False)
    return Gate("against_teacher", _shown(found), f"{bound} {_teachers(metrics)}", all(passed))


def _teachers(metrics: Mapping[str, Any]) -> str:
    """The teacher's distances, and beside the floors what they would be with as much bias: a student may be as good as
    a teacher that draws noise."""
    names = usable(metrics)
    columns = (
        (part(metrics, name)[TEACHERS] for name in names),
        (teacher_at_floor(metrics, name) for name in names),
        (part(metrics, name)["floor"] for name in names),
    )
    own, biased, floors = (", ".join("–" if of is None else f"{of:.3f}" for of in column) for column in columns)
    return f"{own} (with the floor's bias {biased}; floor {floors})"


def _against_free(spec: Spec, row: Row, wanted: Against) -> Gate:
    """Against the free row of at most as many steps that each scorer likes best: what a user would take instead."""
    runs = [run for run in spec.runs() if isinstance(spec.students[run.student].method, Free)]
    rows = [load_row(spec, run) for run in runs if len(spec.levels(run.student)) <= row.metrics["nfe"]]
    rows = [other for other in rows if other.metrics["nfe"] <= row.metrics["nfe"]]
    if not rows:
        steps = row.metrics["nfe"]
        return Gate(
            "against_free", "nothing to compare", f"{wanted}: add a free student of at most {steps} steps", False
        )
    rivals = {}
    for name in usable(row.metrics):
        best = min(rows, key=lambda free: float(part(free.metrics, name).get(DISTANCE, float("inf"))))
        rivals[name] = best.run.student, best.metrics
    return _against("against_free", row.metrics, rivals, wanted)


def _against(
    gate: str, own: Mapping[str, Any], rivals: Mapping[str, tuple[str, Mapping[str, Any]]], wanted: Against
) -> Gate:
    """The paired differences of the distances, own less each scorer's rival's."""
    if not rivals:
        return Gate(gate, UNKNOWN, UNUSABLE, False)
    names = " or ".join(dict.fromkeys(name for name, _ in rivals.values()))
    bound = f"{wanted.replace('-', ' ')} than {names}"
    reasons = dict.fromkeys(reason for scorer, (_, rival) in rivals.items() for reason in _why_not(rival, own, scorer))
    if reasons:
        return Gate(gate, INCOMPARABLE, f"{bound}: {'; '.join(reasons)}", False)
    found: dict[str, Difference] = {}
    for scorer, (_, rival) in rivals.items():
        above = difference(own, rival, DISTANCE, scorer)
        assert above is not None, "_why_not finds figures without errors"
        found[scorer] = above
    passed = [of.high < 0 if wanted == "better" else of.low <= 0 for of in found.values()]
    return Gate(gate, _shown(found), bound, all(passed))


def _why_not(rival: Mapping[str, Any], own: Mapping[str, Any], scorer: str) -> list[str]:
    """Why a gate can't compare the two. A student must not pass because a scorer that the rival had is left out."""
    panels = [", ".join(sorted(panel(metrics))) for metrics in (rival, own)]
    if panels[0] != panels[1]:
        return [f"other scorers ({' | '.join(panels)})"]
    both = measured(rival, DISTANCE, scorer) and measured(own, DISTANCE, scorer)
    unknown = [] if both else [f"{scorer}: unknown errors"]
    return why_not(rival, own, scorer) or unknown


def _shown(found: Mapping[str, Difference]) -> str:
    return ", ".join(f"{scorer} {of.estimate:+.3f} ± {of.half_width:.3f}" for scorer, of in found.items())

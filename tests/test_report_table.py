"""The comparison's rows, columns and sentences, from figures that are known: every seed counts, not the first alone."""

from typing import Any

import pytest

from sfddm.evaluation.metrics import COST, QUALITY, TEACHER
from sfddm.evaluation.statistics import Difference
from sfddm.pipeline.rows import Row
from sfddm.report.columns import COLUMNS, TERMINAL, Column, explanations
from sfddm.report.summary import COLUMNS as COSTS
from sfddm.report.summary import cost_rows, headline, resampled
from sfddm.report.table import Entry, Table, best_trained, entries_of, make_table
from sfddm.spec.students import Resampled
from tests.rows import FREE, OURS, row, spec_of

NOISE = (-0.02, -0.01, 0.0, 0.01, 0.02)


def column(name: str) -> Column:
    return next(column for column in COLUMNS if column.name == name)


def entry(*rows: Row, above_best: Difference | None = None, best: bool = False, free: bool = False) -> Entry:
    return Entry(student="ours", rows=list(rows), above_best=above_best, best=best, free=free)


def seeds(student: str, *distances_: float, **changed: Any) -> list[Row]:
    """A student with a distance a seed; its blocks are .1 above it, and NOISE moves them."""
    return [
        row(student, seed, frechet_distance=each, frechet_blocks=[each + 0.1 + moved for moved in NOISE], **changed)
        for seed, each in enumerate(distances_)
    ]


def groups(*students: list[Row], free: tuple[str, ...] = ()) -> list[list[Entry]]:
    names = [rows[0].run.student for rows in students]
    spec = spec_of({name: FREE if name in free else OURS for name in names})
    return entries_of(spec, [each for rows in students for each in rows])


def test_the_best_is_the_one_with_the_lowest_mean_over_its_seeds() -> None:
    ((first, second),) = groups(seeds("lucky", 0.3, 0.9), seeds("steady", 0.4, 0.42))
    assert (first.student, first.best, first.above_best) == ("steady", True, None)
    assert (second.student, second.best) == ("lucky", False)
    assert second.above_best is not None and second.above_best.estimate == pytest.approx(0.6 - 0.41)
    assert first.distance == pytest.approx(0.41) and second.distance == pytest.approx(0.6)


def test_the_order_of_the_spec_decides_nothing_between_distances() -> None:
    for order in ((0.7, 0.5, 0.6), (0.5, 0.6, 0.7)):
        ((*found,),) = groups(*(seeds(f"at {distance}", distance) for distance in order))
        assert [some.distance for some in found] == [0.5, 0.6, 0.7]
        assert [some.best for some in found] == [True, False, False]


def test_numbers_of_steps_fall_and_each_has_a_best_of_its_own() -> None:
    found = groups(seeds("a", 0.5, nfe=2), seeds("b", 0.4, nfe=16), seeds("c", 0.3, nfe=2), seeds("d", 0.1, nfe=4))
    assert [[some.student for some in group] for group in found] == [["b"], ["d"], ["c", "a"]]
    assert [some.best for group in found for some in group] == [False, False, True, False], "none beside it, no best"
    assert [some.above_best is None for group in found for some in group] == [True, True, True, False]


def test_a_difference_is_how_far_above_the_best_a_row_is_with_all_seeds_of_both() -> None:
    ((_, second),) = groups(seeds("a", 0.25, 0.35), seeds("b", 0.5, 0.7))
    # Blocks differ by .3 in all of them; means of two seeds each vary by .005 / 2 and .02 / 2.
    assert second.above_best is not None and second.above_best.estimate == pytest.approx(0.3)
    assert second.above_best.half_width == pytest.approx(2.776445 * 0.0125**0.5, rel=1e-5)


def test_free_rows_are_told_from_trained_ones() -> None:
    ((first, second),) = groups(seeds("a", 0.3), seeds("b", 0.4), free=("a",))
    assert (first.free, second.free) == (True, False)
    assert best_trained([first, second]) is second and best_trained([first]) is None


def test_a_label_names_the_seeds_where_there_are_several() -> None:
    assert entry(row("ours")).label == "ours"
    assert entry(*seeds("ours", 0.5, 0.6)).label == "ours (2 seeds)"


@pytest.mark.parametrize(
    ("name", "changed", "other", "text", "value"),
    [
        ("T'", {"nfe": 8}, {"nfe": 8}, "8", 8),
        ("ratio", {"frechet_distance": 0.3}, {"frechet_distance": 0.5}, "1.60 x", 1.6),
        ("at floor", {"frechet_distance_at_floor": 0.5}, {"frechet_distance_at_floor": 0.7}, "0.600", 0.6),
        ("KID", {"kernel_distance": 0.01}, {"kernel_distance": 0.0151}, "0.0126", 0.01255),
        ("precision", {"precision": 0.5}, {"precision": 0.75}, "0.625", 0.625),
        ("recall", {"recall": 0.25}, {"recall": 0.75}, "0.500", 0.5),
        ("pixel", {"pixel_distance": 1.0}, {"pixel_distance": 1.5}, "1.250", 1.25),
        ("agrees", {"agreement": 0.5}, {"agreement": 0.75}, "62.5 %", 0.625),
        ("MSE", {"mse_to_teacher": 0.01}, {"mse_to_teacher": 0.02}, "0.0150", 0.015),
        ("PSNR", {"psnr": 20.0}, {"psnr": 21.0}, "20.5", 20.5),
        ("PSNR", {"psnr": 20.0}, {"psnr": None}, "–", None),
        ("SSIM", {"ssim": 0.5}, {"ssim": 1.0}, "0.750", 0.75),
        ("cosine", {"feature_cosine": 0.25}, {"feature_cosine": 0.75}, "0.500", 0.5),
        ("path", {"path_length": 3.0}, {"path_length": 5.0, "teacher_path_length": 1.0}, "3.25 x", 3.25),
        ("s/1000", {"seconds_per_1000_images": 1.5}, {"seconds_per_1000_images": 2.0}, "1.75", 1.75),
        ("latency", {"latency_ms": 1.0}, {"latency_ms": 2.0}, "1.5 ms", 1.5),
        ("speed-up", {"speed_up": 10.0}, {"speed_up": 20.0}, "15 x", 15),
    ],
)
def test_a_column_is_the_mean_over_seeds(
    name: str, changed: dict[str, Any], other: dict[str, Any], text: str, value: float | None
) -> None:
    both = entry(row("ours", 0, **changed), row("ours", 1, **other))
    assert column(name).text(both) == text
    assert column(name).value(both) == (None if value is None else pytest.approx(value))


def test_a_distance_is_its_mean_with_the_lowest_and_the_highest_seed() -> None:
    assert column("distance").text(entry(*seeds("ours", 0.6, 0.4, 0.65))) == "0.550 [0.400, 0.650]"
    assert column("distance").text(entry(*seeds("ours", 0.6, 0.4))) == "0.500 [0.400, 0.600]"
    assert column("distance").text(entry(*seeds("ours", 0.6))) == "0.600"
    assert column("distance").value(entry(*seeds("ours", 0.5, 0.75))) == 0.625


@pytest.mark.parametrize(
    ("above", "best", "text", "value"),
    [
        (None, True, "best", 0.0),
        (None, False, "", None),
        (Difference(estimate=0.25, half_width=0.125), False, "+0.250 ± .125", 0.25),
        (Difference(estimate=10.5, half_width=1.5), False, "+10.500 ± 1.500", 10.5),
        (Difference(estimate=-0.25, half_width=0.125), False, "-0.250 ± .125", -0.25),
        (Difference(estimate=0.125, half_width=0.25), False, "≈", 0.125),
        (Difference(estimate=0.25, half_width=0.25), False, "≈", 0.25),
    ],
)
def test_what_a_row_is_beside_the_best(above: Difference | None, best: bool, text: str, value: float | None) -> None:
    shown = entry(row("ours"), above_best=above, best=best)
    assert column("vs best").text(shown) == text and column("vs best").value(shown) == value


@pytest.mark.parametrize(("total", "text"), [(3000, "3 k"), (2_949_600, "2950 k"), (400, "0 k"), (0, "free")])
def test_a_cost_is_in_thousands(total: int, text: str) -> None:
    cost = {"cache": 0, "training": total, "folds": 1, "total": total}
    shown = entry(row("ours", cost=cost), row("ours", 1, cost={**cost, "total": 7}))
    assert column("cost").text(shown) == text and column("cost").value(shown) == total, "the same for every seed"


def test_columns_are_grouped_and_some_fit_a_terminal() -> None:
    grouped = {group: [column.name for column in COLUMNS if column.group == group] for group in ("", *GROUPS)}
    assert grouped == {"": ["T'"], **GROUPS}
    assert [column.name for column in COLUMNS] == [name for names in grouped.values() for name in names]
    assert [column.name for column in TERMINAL] == ["T'", "distance", "vs best", "ratio", "MSE", "cost"]


GROUPS = {
    QUALITY: ["distance", "vs best", "ratio", "at floor", "KID", "precision", "recall", "pixel"],
    TEACHER: ["agrees", "MSE", "PSNR", "SSIM", "cosine", "path"],
    COST: ["s/1000", "latency", "speed-up", "cost"],
}


def table_of(*students: list[Row]) -> Table:
    rows = [each for rows in students for each in rows]
    return make_table(spec_of({each.run.student: OURS for each in rows}), rows)


def test_notes_have_the_figures_that_all_rows_share() -> None:
    table = table_of(seeds("ours", 0.5))
    notes = explanations(table, COLUMNS)
    assert any("to 1500 real images in the features of classifier-2:0123abcd, n = 5000 " in note for note in notes)
    assert any("with its 95 % interval, from 5 blocks of the same noises" in note for note in notes)
    assert any("distance of only 750 images. As many real ones are at 0.125 from" in note for note in notes)
    assert notes[-1] == "The teacher has 64 levels, and its ddim on 16 of them stands for all."
    without = [column.name for column in COLUMNS if not column.meaning]
    assert without == ["recall", "SSIM", "cosine"] and len(notes) == len(COLUMNS) - 3 + 1
    assert explanations(table, (column("recall"), column("cost"))) == [column("cost").meaning, table.basis]


def test_warnings_are_the_evaluations_own() -> None:
    assert table_of(seeds("ours", 0.5)).warnings == []
    assert table_of(seeds("ours", 0.5, notes=["one", "two"])).warnings == ["Beware: one.", "Beware: two."]


def test_entries_are_all_rows_in_the_tables_order() -> None:
    table = table_of(seeds("a", 0.5, nfe=2), seeds("b", 0.4), seeds("c", 0.3))
    assert [some.student for some in table.entries] == ["c", "b", "a"]
    assert table.shared["frechet_distance"] == 0.5, "some row's, the first"


def test_what_trainings_took_is_that_of_the_longest_and_largest_seed() -> None:
    cost = {"cache": 128_000, "training": 7_500_600, "folds": 3, "total": 7_628_600}
    rows = [
        row("ours", 0, cost=cost, seconds=20.6, peak_memory_mb=499.6, device="cuda"),
        row("ours", 1, cost=cost, seconds=10.0, peak_memory_mb=300.0, device="cpu"),
        row("ours", 2, cost=cost, seconds=10.0, peak_memory_mb=300.0, device="cuda"),
    ]
    spec = spec_of({"ours": OURS, "free": FREE, "other": Resampled(kind="resampled", student="ours")})
    found = cost_rows(spec, [entry(*rows), *(Entry(student=name, rows=[row(name)], above_best=None, best=False,
                                                    free=False) for name in ("free", "other"))])  # fmt: skip
    assert found == [["ours (3 seeds)", "128 k", "7501 k", "7629 k", "3", "21", "500", "cpu, cuda"]]
    assert len(found[0]) == len(COSTS)


def test_students_that_are_sampled_from_others_weights_are_named() -> None:
    others = {name: Resampled(kind="resampled", student="ours") for name in ("two", "four")}
    assert resampled(spec_of({"ours": OURS, **others})) == (
        "Sampled from weights in this table, at no further cost: two (of ours), four (of ours)."
    )
    assert resampled(spec_of({"ours": OURS, "free": FREE})) == ""


def headline_of(*students: list[Row], free: tuple[str, ...] = ()) -> str:
    rows = [each for rows in students for each in rows]
    spec = spec_of({each.run.student: FREE if each.run.student in free else OURS for each in rows})
    return headline(spec, make_table(spec, rows))


def test_a_headline_names_the_student_that_came_nearest_by_all_its_seeds() -> None:
    steady, free = seeds("steady", 0.4, 0.5, nfe=2), seeds("free", 0.1, nfe=16)
    found = headline_of(seeds("lucky", 0.3, 0.9), steady, seeds("wide", 0.7, nfe=8), free, free=("free",))
    assert found == (
        "A 64-step teacher of digits, distilled into 3 students of 2 to 8 steps. The lowest distance to real images is "
        "that of steady, with 2 network evaluations an image: 1.80 times the teacher's own."
    )


def test_a_headline_of_one_number_of_steps_and_of_one_evaluation() -> None:
    found = headline_of(seeds("a", 0.5, nfe=1), seeds("b", 0.6, nfe=1), seeds("free", 0.1, nfe=1), free=("free",))
    assert "distilled into 2 students of 1 step" in found
    assert found.endswith("that of a, with 1 network evaluation an image: 2.00 times the teacher's own.")


def test_a_headline_where_nothing_was_trained() -> None:
    found = headline_of(seeds("a", 0.5), seeds("b", 0.6), free=("a", "b"))
    assert found == "A 64-step teacher of digits, under 2 free samplers."

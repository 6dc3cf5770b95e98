"""The measurements run, and say what they should; how fast anything is is not their test."""

import pytest

from bench.__main__ import measured
from bench.speed import STEPS, Subject
from tests.parts import tiny


def test_every_line_has_rates_and_a_ratio_to_the_plain_loop() -> None:
    spec = tiny()
    subject = Subject(name="tiny", network=spec.teacher.source.network, shape=spec.data.shape, batch=4, repeats=1)
    rows = measured(subject, compiled=False, rounds=1)
    assert [row["what"] for row in rows] == [
        "fp32, eager", "fp32, channels_last, eager", "bf16, eager", "bf16, channels_last, eager",
        f"{STEPS} bare network calls", f"sampling, T' = {STEPS}",
    ]  # fmt: skip
    assert rows[0]["ratio"] == rows[4]["ratio"] == 1
    for row in rows:
        assert row["ratio"] > 0 and len(row["seconds"]) == 1 and row["of_matrix_product"] > 0
        equivalents = 3 if "calls" not in row["what"] and "sampling" not in row["what"] else STEPS
        assert row["forward_equivalents_per_second"] == pytest.approx(equivalents * row["images_per_second"])

"""Descriptions and model cards in MLflow: whole where there is room, cut where there is none; spreads of seeds."""

from sfddm.pipeline.rows import load_rows
from sfddm.spec.students import Free
from sfddm.tracking import cards
from sfddm.tracking.cards import comparison_description, model_card, run_description
from tests.experiment import Experiment


def test_a_long_comparison_loses_rows_and_keeps_how_it_is_made_again(experiment: Experiment) -> None:
    for number in range(200):
        experiment.add(f"ddim-number-{number}", 1 + number % 60, Free(kind="free", solver="ddim"), [1.0 + number])
    text = comparison_description(experiment.spec, load_rows(experiment.spec))
    assert cards.LONGEST_DESCRIPTION - 200 < len(text) <= cards.LONGEST_DESCRIPTION
    assert "| ... |\n" in text and "dvc repro track@tiny report@tiny" in text


def test_a_short_one_is_whole(experiment: Experiment) -> None:
    experiment.add("ddim-t4", 4, Free(kind="free", solver="ddim"), [0.5])
    experiment.add("ours-t4", 4, experiment.ours, [0.25, 0.75])
    rows = load_rows(experiment.spec)
    text = comparison_description(experiment.spec, rows)
    assert "| student | T' | convolutional | pixels | vs best | vs teacher | MSE | cost |" in text
    assert "| ours-t4 (2 seeds) | 4 | 2.00 | 2.00 | ≈ |" in text and "| ... |" not in text
    one = run_description(experiment.spec, rows[1])
    assert one.startswith("**ours-t4**, seed 0 of `specs/tiny.yaml`") and "dvc repro evaluate@tiny-ours-t4-s0" in one


def test_a_card_says_how_far_training_seeds_are_apart_to_every_scorer(experiment: Experiment) -> None:
    experiment.add("ours-t4", 4, experiment.ours, [0.25, 0.75])
    rows = load_rows(experiment.spec)
    outs = {"outs": [{"md5": "0123abcd.dir"}]}
    lock = dict.fromkeys(("data@tiny", "teacher@tiny", "distill@tiny-ours-t4-s0"), outs)
    text = model_card(experiment.spec, rows[0], rows, lock, "run")
    distance = "Frechet distance to real images"
    assert f"| {distance} (convolutional) | 0.25 | 2 training seeds: mean 0.5, 0.25 to 0.75 |" in text
    assert f"| {distance} (pixels) | 2.5 | 2 training seeds: mean 5, 2.5 to 7.5 |" in text
    assert "- pixels: classifier-2:0123abcd; distances are to 1500 held-out images." in text
    assert "class of the teacher's (convolutional)" in text and "class of the teacher's (pixels)" not in text
    assert len(text) < cards.LONGEST_CARD
    alone = model_card(experiment.spec, rows[0], rows[:1], lock, "run")
    assert f"| {distance} (pixels) | 2.5 | ± 0.2 (standard error) |" in alone

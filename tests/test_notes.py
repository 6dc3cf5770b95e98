"""Notes and model cards: whole where there is room, cut where MLflow has none, spreads of what there are several of."""

from sfddm.pipeline.rows import load_rows
from sfddm.spec.students import Free
from sfddm.tracking import cards
from sfddm.tracking.cards import comparison_note, model_card, run_note
from tests.experiment import Experiment


def test_a_long_comparison_loses_rows_and_keeps_how_it_is_made_again(experiment: Experiment) -> None:
    for number in range(200):
        experiment.add(f"ddim-number-{number}", 1 + number % 60, Free(kind="free", solver="ddim"), [1.0 + number])
    text = comparison_note(experiment.spec, load_rows(experiment.spec))
    assert cards.LONGEST_NOTE - 200 < len(text) <= cards.LONGEST_NOTE
    assert "| ... |\n" in text and "dvc repro track@tiny report@tiny" in text


def test_a_short_one_is_whole(experiment: Experiment) -> None:
    experiment.add("ddim-t4", 4, Free(kind="free", solver="ddim"), [0.5])
    experiment.add("ours-t4", 4, experiment.ours, [0.25, 0.75])
    rows = load_rows(experiment.spec)
    text = comparison_note(experiment.spec, rows)
    assert "| ours-t4 (2 seeds) | 4 | 0.500 [0.250, 0.750] |" in text and "| ... |" not in text
    one = run_note(experiment.spec, rows[1])
    assert "| distance | 0.250 |" in one and "dvc repro evaluate@tiny-ours-t4-s0" in one


def test_a_card_says_how_far_training_seeds_are_apart(experiment: Experiment) -> None:
    experiment.add("ours-t4", 4, experiment.ours, [0.25, 0.75])
    rows = load_rows(experiment.spec)
    outs = {"outs": [{"md5": "0123abcd.dir"}]}
    lock = dict.fromkeys(("data@tiny", "teacher@tiny", "distill@tiny-ours-t4-s0"), outs)
    text = model_card(experiment.spec, rows[0], rows, lock, "run")
    assert "| 0.25 | 2 training seeds: mean 0.5, 0.25 to 0.75 |" in text and len(text) < cards.LONGEST
    alone = model_card(experiment.spec, rows[0], rows[:1], lock, "run")
    assert "5 parts of the noises: 0.33 to 0.37 (of fewer images, so larger)" in alone

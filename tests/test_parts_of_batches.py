"""A batch that goes through the network in parts: the whole batch's losses, in the memory of a part."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from attrs import evolve

from sfddm.errors import UserError
from sfddm.methods.job import distill
from sfddm.networks.denoiser import Denoiser
from sfddm.runtime.machine import machine
from sfddm.runtime.processes import each_part, own_rows, own_share
from sfddm.training.checkpoints import Checkpoints
from tests.parts import job, of, points
from tests.ranks import one_of
from tests.together import BATCH, TRAINED

ALWAYS = ("mixed", "distribution")


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[] if name in ALWAYS else pytest.mark.heavy) for name in TRAINED]
)
def test_losses_are_those_of_the_whole_batch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    method = evolve(TRAINED[name], training=evolve(TRAINED[name].training, batch_size=BATCH))
    rows: list[int] = []

    def seen(module: torch.nn.Module, given: tuple[Any, ...]) -> None:
        if isinstance(module, Denoiser) and module.training and torch.is_grad_enabled():
            rows.append(len(given[0]))

    found = {}
    for parts in ("1", "3"):
        monkeypatch.setenv("SFDDM_PARTS", parts)
        described = of(tmp_path, method)
        curve, checkpoints = tmp_path / f"{parts}.jsonl", Checkpoints(tmp_path / "checkpoints" / parts, {})
        handle = torch.nn.modules.module.register_module_forward_pre_hook(seen)
        rows.clear()
        try:
            distill(evolve(described, curve=curve, checkpoints=checkpoints))
        finally:
            handle.remove()
        found[parts] = points(curve)
        assert max(rows) == BATCH // int(parts)
    for whole, summed in zip(found["1"], found["3"], strict=True):
        for point in (whole, summed):
            point.pop("spread", None)  # that of each part, averaged
        assert summed == pytest.approx(whole, abs=1e-5)
    assert found["1"] != found["3"], "sums are added in another order"


def test_every_row_is_in_one_part_of_one_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SFDDM_PARTS", "3")
    taken, shares = [], []
    for rank in range(2):
        one_of(monkeypatch, rank, 2)
        for _ in each_part():
            taken.append(np.arange(20)[4:][own_rows(16, 4)])
            shares.append(own_share(16))
    assert sorted(np.concatenate(taken)) == list(range(4, 20))
    assert [len(rows) for rows in taken] == [3, 3, 2, 2, 3, 3] and sum(shares) == pytest.approx(1)
    assert len(np.arange(16)[own_rows(16)]) == 3, "the first part again"


def test_parts_are_noted_with_the_machine_because_they_change_sums(monkeypatch: pytest.MonkeyPatch) -> None:
    plain = machine(1)
    monkeypatch.setenv("SFDDM_PARTS", "2")
    assert {name for name, value in machine(1).items() if value != plain[name]} == {"SFDDM_PARTS"}


@pytest.mark.parametrize("text", ["0", "-1", "two", "1.5", ""])
def test_a_number_of_parts_that_is_none_is_refused(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setenv("SFDDM_PARTS", text)
    with pytest.raises(UserError, match=r"SFDDM_PARTS is .*: expected a whole number of parts of a batch, 1 or more"):
        own_rows(8)


def test_more_parts_than_images_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SFDDM_PARTS", "100")
    with pytest.raises(UserError, match="64 images of a batch can't be shared by 100 parts of 1 processes"):
        distill(job(tmp_path))

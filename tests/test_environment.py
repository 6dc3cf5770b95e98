"""What the environment decides."""

import pytest
import torch

from sfddm.errors import UserError
from sfddm.runtime.machine import device


def test_the_device_is_the_named_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SFDDM_DEVICE", "cpu")
    assert device() == torch.device("cpu")
    monkeypatch.delenv("SFDDM_DEVICE")
    assert device().type == ("cuda" if torch.cuda.is_available() else "cpu")


def test_an_unknown_device_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SFDDM_DEVICE", "gpu")
    with pytest.raises(UserError, match="expected auto, cpu or cuda"):
        device()


@pytest.mark.skipif(torch.cuda.is_available(), reason="needs a machine without CUDA")
def test_cuda_where_there_is_none_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SFDDM_DEVICE", "cuda")
    with pytest.raises(UserError, match="no CUDA device"):
        device()

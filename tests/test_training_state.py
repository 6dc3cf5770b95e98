"""What a training carries from one iteration to the next, to named tensors and back."""

import torch
from torch import Tensor, nn

from sfddm.training.loop import pack, unpack


def network(seed: int) -> nn.Sequential:
    """Twelve parameters, more than have one digit; some of them in a convolution; and buffers."""
    torch.manual_seed(seed)
    layers = [nn.Linear(2, 2) for _ in range(4)]
    return nn.Sequential(*layers, nn.Unflatten(1, (2, 1, 1)), nn.Conv2d(2, 3, 1), nn.BatchNorm2d(3))


def stepped(of: nn.Sequential, steps: int, optimizer: torch.optim.Optimizer | None = None) -> torch.optim.Optimizer:
    """The optimizer after some steps, on losses that depend on what is trained alone."""
    optimizer = optimizer or torch.optim.Adam(of.parameters(), lr=0.01, fused=True)
    for step in range(steps):
        optimizer.zero_grad()
        of(torch.linspace(-1, 1, 6).view(3, 2) + step).square().sum().backward()
        optimizer.step()
    return optimizer


def same(one: nn.Module, other: nn.Module) -> bool:
    pairs = zip(one.state_dict().values(), other.state_dict().values(), strict=True)
    return all(torch.equal(a, b) for a, b in pairs)


def test_weights_buffers_and_moments_are_named_by_part_and_place() -> None:
    some = nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3))
    optimizer = torch.optim.Adam(some.parameters(), lr=0.01)
    some(torch.ones(2, 2)).sum().backward()
    optimizer.step()
    assert set(pack({"one": some})) == {f"one.{name}" for name in some.state_dict()}
    weights = {f"{part}.{name}" for part in ("one", "two") for name in some.state_dict()}
    moments = {f"optimizer.{place}.{name}" for place in range(4) for name in ("step", "exp_avg", "exp_avg_sq")}
    packed = pack({"one": some, "two": some}, optimizer)
    assert set(packed) == weights | moments
    assert torch.equal(packed["two.0.weight"], some[0].weight) and float(packed["optimizer.2.step"]) == 1
    assert torch.equal(packed["optimizer.1.exp_avg"], optimizer.state[some[0].bias]["exp_avg"])


def test_what_was_unpacked_goes_on_to_the_same_bytes() -> None:
    first, second = network(0), network(1)
    optimizer = stepped(first, 3)
    packed = {name: tensor.clone() for name, tensor in pack({"net": first}, optimizer).items()}
    stepped(first, 2, optimizer)
    other = torch.optim.Adam(second.parameters(), lr=0.01, fused=True)
    unpack(packed, {"net": second}, other)
    stepped(second, 2, other)
    assert same(first, second)


def test_parts_whose_names_begin_alike_are_told_apart() -> None:
    one, two = nn.Linear(2, 1), nn.Linear(2, 1)
    packed: dict[str, Tensor] = pack({"net": one, "network": two})
    first, second = nn.Linear(2, 1), nn.Linear(2, 1)
    unpack(packed, {"net": first, "network": second})
    assert same(first, one) and same(second, two) and not same(first, second)


def test_moments_lie_in_memory_as_their_parameters() -> None:
    """Files hold them without a memory format."""
    first, second = (nn.Conv2d(3, 4, 3).to(memory_format=torch.channels_last) for _ in range(2))
    optimizer = torch.optim.Adam(first.parameters(), lr=0.01, fused=True)
    first(torch.randn(1, 3, 5, 5)).square().sum().backward()
    optimizer.step()
    other = torch.optim.Adam(second.parameters(), lr=0.01, fused=True)
    stored = {name: tensor.contiguous() for name, tensor in pack({"net": first}, optimizer).items()}
    unpack(stored, {"net": second}, other)
    for one, two in zip(optimizer.state.values(), other.state.values(), strict=True):
        for name in ("exp_avg", "exp_avg_sq"):
            assert torch.equal(one[name], two[name]) and one[name].stride() == two[name].stride()
        assert float(two["step"]) == 1

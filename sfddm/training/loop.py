"""The one training loop: teachers, students and scorers all pass through it.

Whatever ends it, a kill included, the next process goes on from the last checkpoint (`sfddm.training.checkpoints`) to
the same bytes: an iteration depends on the state that is kept there and on its own number, and on nothing else.
"""

from collections.abc import Callable, Mapping
from copy import deepcopy
from functools import partial
from typing import Any, Generic, TypeVar, cast

import torch
from attrs import frozen
from torch import Tensor, nn
from torch.optim import Optimizer

from sfddm.randomness import Purpose, generator
from sfddm.runtime.files import parse_json
from sfddm.runtime.machine import PARTS, require_bf16
from sfddm.runtime.memory import memory_errors
from sfddm.runtime.processes import all_reduce_max, all_reduce_sum, each_part, own_rows, own_share
from sfddm.runtime.signals import Interrupted, postponed
from sfddm.spec.training import KEPT, Training
from sfddm.training.checkpoints import Checkpoint, Checkpoints
from sfddm.training.curve import Curve
from sfddm.training.guard import Guard

Losses = dict[str, Tensor]
"""Terms of the loss by name, each a scalar; `loss` is the one that is minimised."""
Network = TypeVar("Network", bound=nn.Module)


@frozen(kw_only=True)
class Companion:
    """A second network, which is trained in the same iterations on a loss of its own."""

    network: nn.Module
    """Changed in place."""
    loss: str
    """The name of its loss among those of an iteration, which may be missing in some; only it depends on the network's
    weights."""
    learning_rate: float
    """Constant, so that it catches up with the other network while that one's falls."""
    average: nn.Module | None = None
    """A copy that follows the network's weights as a moving average."""
    decay: float = 0.0
    """Of that average."""


@frozen(kw_only=True)
class Fitted(Generic[Network]):
    """What a training leaves."""

    network: Network
    """With the moving average that is kept as its weights."""
    others: dict[str, Network]
    """Copies with the other averages that the settings ask for, by their names."""


def train(
    network: Network,
    loss: Callable[[int, Network], Losses],
    settings: Training,
    curve: Curve,
    checkpoints: Checkpoints,
    before: int = 0,
    target_average: float | None = None,
    companion: Companion | None = None,
    *,
    seed: int,
) -> Fitted[Network]:
    """Minimise `loss` over the weights of `network`, and return their moving averages.

    Args:
        network: changed in place.
        loss: the loss of iteration `before`, `before` + 1, ..., given an average so far, which some methods take their
            targets from; all randomness comes from that number (see `sfddm.randomness`), so that an iteration is the
            same however it was reached.
        settings: iterations, learning rate and so on, as the spec has them.
        curve: where the course of the training is written and shown.
        checkpoints: where the training goes on from, and is kept while it lasts.
        before: iterations of earlier folds, which share curve and checkpoints.
        target_average: decay of the average that the loss is given; None: it is given the one that is returned.
        companion: a second network that is trained along, and forgotten in the end.
        seed: for what dropout drops; the loss draws everything else itself.

    Raises:
        UserError: the loss became infinite or NaN or exploded, memory ran out, or the disk is full.
        Interrupted: a signal asked the process to end; a checkpoint is kept.
    """
    end = before + settings.iterations
    kept = checkpoints.read(before, end)
    if kept is not None:
        curve.restore(kept.curve, kept.step)
    if kept is not None and kept.step == end:
        prepare(network, settings)  # as its training leaves it: the next fold computes with it
        others = {name: deepcopy(network) for name in settings.other_averages}
        unpack(kept.tensors, {"network": network, **_named(others)})
    else:
        with postponed() as signalled, memory_errors(lambda: _lower_the_batch(settings, checkpoints)):
            state = begin(network, settings, target_average, companion, before, seed)
            _minimise(state, loss, settings, curve, checkpoints, before, kept, signalled)
            others = {name: cast(Network, average.module) for name, average in state.others.items()}
            checkpoints.write_result(end, pack({"network": network, **_named(others)}), curve.text)
    for each in (network, *others.values()):
        each.eval().requires_grad_(False)
    return Fitted(network=network, others=others)


def _named(others: Mapping[str, nn.Module]) -> dict[str, nn.Module]:
    """Other averages by what checkpoints call them."""
    return {f"average_{name}": module for name, module in others.items()}


def _minimise(
    state: "State",
    loss: Callable[[int, Network], Losses],
    settings: Training,
    curve: Curve,
    checkpoints: Checkpoints,
    before: int,
    kept: Checkpoint | None,
    signalled: Callable[[], int | None],
) -> None:
    end, network = before + settings.iterations, state.network
    guard = Guard(next(network.parameters()).device, checkpoints)
    if kept is not None:
        unpack(kept.tensors, state.parts, state.optimizer)
        points = (parse_json(line.encode()) for line in kept.curve.splitlines())
        guard.remember(point for point in points if point["step"] > before)
    for step in range(kept.step if kept else before, end):
        rate = settings.learning_rate * learning_rate_factor(step - before, settings)
        losses = iterate(state, loss, step, rate, settings)
        guard.add(step, rate, losses)
        if curve.due(step):
            guard.look()
            curve.write(step, {name: float(value) for name, value in losses.items()} | {"learning_rate": rate})
        number, due = all_reduce_max(signalled() or 0, checkpoints.due())
        last = step + 1 == end
        if last or number or due:
            guard.check(state.networks, step, rate)
        if not last and (number or due):
            checkpoints.write(step + 1, pack(state.parts, state.optimizer), curve.text)
            if number:
                raise Interrupted(number, f"a checkpoint after iteration {step + 1} is kept")
    network.load_state_dict(state.average.module.state_dict())


@frozen
class Average:
    """A moving average of a network's weights. torch's own waits for a GPU in each iteration, to count it."""

    module: nn.Module
    decay: Callable[[int], float]
    """The decay in a given iteration."""

    @torch.no_grad()
    def update(self, network: nn.Module, step: int, first: bool) -> None:
        """Go towards the weights of a network after iteration `step`; the first time, to where they are."""
        weight = 1.0 if first else 1 - self.decay(step)
        torch._foreach_lerp_([*self.module.parameters()], [*network.parameters()], weight)


@frozen
class State:
    """What iterations change."""

    network: nn.Module
    average: Average
    """The moving average of the network's weights that is kept in the end."""
    target: Average
    """The one that targets come from; the same one where their decays are equal."""
    optimizer: torch.optim.Optimizer
    """For the network's weights, and then the companion's."""
    companion: Companion | None
    others: dict[str, Average]
    """The other moving averages that the settings ask for, by their names."""
    seed: int
    """For what dropout drops."""

    @property
    def drops(self) -> bool:
        """Whether a network that is trained has dropout."""
        return any(isinstance(each, nn.Dropout) and each.p > 0 for each in self.network.modules())

    @property
    def networks(self) -> dict[str, nn.Module]:
        """What is trained, by name."""
        own = {self.companion.loss: self.companion.network} if self.companion else {}
        return {"network": self.network, **own}

    @property
    def parts(self) -> dict[str, nn.Module]:
        """The modules by name, for checkpoints."""
        own = _named({name: other.module for name, other in self.others.items()})
        if self.target is not self.average:
            own["target"] = self.target.module
        if self.companion and self.companion.average:
            own[f"{self.companion.loss}_average"] = self.companion.average
        return {**self.networks, "average": self.average.module, **own}

    def follow(self, step: int, first: bool) -> None:
        """Have every average follow its network after iteration `step`, the first time to where that is."""
        for average in {id(each): each for each in (self.average, self.target, *self.others.values())}.values():
            average.update(self.network, step, first)
        if (own := self.companion) and own.average:
            Average(own.average, _always(own.decay)).update(own.network, step, first)


def begin(
    network: nn.Module,
    settings: Training,
    target_average: float | None = None,
    companion: Companion | None = None,
    before: int = 0,
    seed: int = 0,
) -> State:
    """The state before iteration `before`, the first one; the networks are changed in place from here on."""
    prepare(network, settings)
    groups: list[dict[str, Any]] = [{"params": network.parameters()}]
    if companion:
        prepare(companion.network.train(), settings)
        if companion.average:
            prepare(companion.average, settings)
        groups.append({"params": companion.network.parameters(), "lr": companion.learning_rate})
    optimizer = torch.optim.Adam(groups, lr=settings.learning_rate, fused=True)
    average = target = _average(network, settings, partial(_decay, settings, before, KEPT))
    if target_average is not None and target_average != settings.average:
        target = _average(network, settings, _always(target_average))
    network.train()
    others = {
        name: _average(network, settings, partial(_decay, settings, before, name)) for name in settings.other_averages
    }
    return State(network, average, target, optimizer, companion, others, seed)


def _decay(settings: Training, before: int, name: str, step: int) -> float:
    return settings.average_decay(step - before, name)


def _always(decay: float) -> Callable[[int], float]:
    return lambda _: decay


def _average(network: nn.Module, settings: Training, decay: Callable[[int], float]) -> Average:
    average = Average(deepcopy(network).requires_grad_(False), decay)
    if settings.compile:
        average.module.compile(dynamic=False)  # copies are not compiled
    return average


def iterate(state: State, loss: Callable[[int, Network], Losses], step: int, rate: float, settings: Training) -> Losses:
    """One iteration, in place, at learning rate `rate`: the losses before it, of the whole batch."""
    network, optimizer = state.network, state.optimizer
    optimizer.param_groups[0]["lr"] = rate
    device = next(network.parameters()).device
    optimizer.zero_grad()
    losses: Losses = {}
    for _ in each_part():
        if state.drops:
            torch.manual_seed(_of_dropout(state.seed, step, settings.batch_size))
        with torch.autocast(device.type, torch.bfloat16, enabled=settings.precision == "bf16"):
            own = loss(step, cast(Network, state.target.module))
        _backward(state, own, losses, own_share(settings.batch_size))
    gradients = [each.grad for of in state.networks.values() for each in of.parameters() if each.grad is not None]
    all_reduce_sum([*gradients, *losses.values()])  # in one message
    if settings.clip_norm:
        for each in state.networks.values():
            nn.utils.clip_grad_norm_(each.parameters(), settings.clip_norm)
    first = not optimizer.state
    optimizer.step()
    state.follow(step, first)
    return losses


def _of_dropout(seed: int, step: int, batch_size: int) -> int:
    """A seed for what an iteration drops of some rows: masks come from torch's own generator, so that it is seeded."""
    return int(generator(seed, Purpose.DROPOUT, step).integers(2**63, size=batch_size)[own_rows(batch_size)][0])


def _backward(state: State, own: Losses, whole: Losses, share: float) -> None:
    """Add the gradients of some rows' losses to the networks', and the losses to the whole batch's.

    Losses are means over images, so those of some rows count by their share of the batch.
    """
    minimised = own["loss"]
    if state.companion and state.companion.loss in own:
        minimised = minimised + own[state.companion.loss]
    (share * minimised).backward()  # type: ignore[no-untyped-call]
    for name, value in own.items():
        part = share * value.detach().float()
        whole[name] = whole[name] + part if name in whole else part


def learning_rate_factor(step: int, settings: Training) -> float:
    """The factor on the highest learning rate in iteration `step`: linear warm-up, constant, linear decay."""
    rising = (step + 1) / settings.warmup if settings.warmup else 1.0
    decaying = settings.decay * settings.iterations
    falling = (settings.iterations - step) / decaying if decaying else 1.0
    return min(rising, 1.0, falling)


def _lower_the_batch(settings: Training, checkpoints: Checkpoints) -> str:
    kept = checkpoints.newest()
    remedy = (
        f"Set {PARTS}=2, or more, to have each batch go through the network in so many parts; or lower batch_size "
        f"({settings.batch_size}) in the spec's training section, or make the network smaller."
    )
    if kept is None:
        return remedy
    return f"{remedy}\nThe checkpoint {kept} is kept: with more memory and the same spec, `dvc repro` goes on from it."


OPTIMIZER = "optimizer"


def pack(modules: Mapping[str, nn.Module], optimizer: Optimizer | None = None) -> dict[str, Tensor]:
    """Weights and buffers as MODULE.NAME, and the optimizer's moments and counts as optimizer.PARAMETER.NAME."""
    tensors = {f"{part}.{name}": tensor for part, of in modules.items() for name, tensor in of.state_dict().items()}
    moments = optimizer.state_dict()["state"] if optimizer else {}
    return tensors | {f"{OPTIMIZER}.{at}.{name}": tensor for at, of in moments.items() for name, tensor in of.items()}


def unpack(tensors: Mapping[str, Tensor], modules: Mapping[str, nn.Module], optimizer: Optimizer | None = None) -> None:
    """The inverse of `pack`, into the same modules and an optimizer of the same parameters."""
    for part, module in modules.items():
        module.load_state_dict(_of(part, tensors))
    if optimizer:
        state: dict[int, dict[str, Tensor]] = {}
        for key, tensor in _of(OPTIMIZER, tensors).items():
            at, _, name = key.partition(".")
            state.setdefault(int(at), {})[name] = tensor
        optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})
        for parameter, moments in optimizer.state.items():
            for name, moment in moments.items():
                if moment.shape == parameter.shape:  # fused updates go through both in the order of memory
                    moments[name] = torch.empty_like(parameter).copy_(moment)


def _of(part: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    prefix = f"{part}."
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}


def prepare(network: nn.Module, training: Training) -> None:
    """Lay out a network's weights, and have it compiled at its first call, as a training's section of the spec says.

    In place; names and shapes of the weights stay. Every shape of a batch is compiled for itself: there are few,
    but for rollouts, which run eagerly (`sfddm.methods.sources`).

    Raises:
        UserError: a GPU that has no bfloat16 is to train in it.
    """
    if training.precision == "bf16":
        require_bf16(next(network.parameters()).device)
    if training.memory_format == "channels_last":
        network.to(memory_format=torch.channels_last)
    if training.compile:
        network.compile(dynamic=False)

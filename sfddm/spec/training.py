"""How a network is trained: the same settings for teachers, students and scorers."""

from collections.abc import Iterator
from typing import Literal

from attrs import field, frozen

from sfddm.spec.fields import Batch, Count, Name, Natural, NotNegative, Positive, Share
from sfddm.spec.parse import Fault, SpecPath

KEPT = "kept"
"""What rows call a training's own `average`; no other one may have this name."""


@frozen(kw_only=True)
class HalfLife:
    """A moving average whose half-life is counted in images, so that it doesn't depend on the batch size."""

    kind: Literal["half-life"]
    images: Count
    """Number of images after which an iteration's weights count half as much."""
    ramp: Share
    """The half-life is at most this share of the images seen so far, so that the first weights are forgotten: 0.05 in
    Karras et al. 2022. 0: no ramp."""

    def decay(self, seen: int, batch_size: int) -> float:
        """The decay of an iteration after which `seen` images have been trained with."""
        half_life = min(self.images, self.ramp * seen) if self.ramp else self.images
        return float(0.5 ** (batch_size / half_life))


@frozen(kw_only=True)
class Training:
    """One run of the training loop, with Adam."""

    iterations: Count
    """Updates of the weights."""
    batch_size: Batch
    """Images per iteration, over all processes."""
    learning_rate: Positive
    """The highest one, between warm-up and decay."""
    warmup: Natural
    """Iterations in which the learning rate rises linearly from zero."""
    decay: Share
    """The last share of the iterations, in which the learning rate falls linearly to zero."""
    clip_norm: NotNegative
    """Gradients of a larger norm are scaled down to it; 0 leaves all of them as they are."""
    average: Share | HalfLife
    """Decay of the weights' exponential moving average, which is what is kept; 0 keeps the last weights. Or a half-life
    in images."""
    precision: Literal["fp32", "bf16"]
    """bf16 runs the forward pass under bfloat16 autocast; weights and updates stay in fp32."""
    memory_format: Literal["contiguous", "channels_last"]
    """Memory layout of activations and convolutions' weights; with bf16, channels_last is often faster."""
    compile: bool
    """Run the networks, the teacher included, through torch.compile: minutes before the first iteration, less after."""
    other_averages: dict[Name, Share | HalfLife] = field(factory=dict)
    """Optional: further moving averages of the same training, by names of your own. Rows `free` (of a teacher) and
    `resampled` (of a student) with `average: NAME` show them in the comparison, at the cost of their images alone."""

    @property
    def images(self) -> int:
        """Images that pass the network, each as often as it comes."""
        return self.iterations * self.batch_size

    def average_decay(self, step: int, name: str = KEPT) -> float:
        """The decay of an average in iteration `step`, counted from 0."""
        average = self.average if name == KEPT else self.other_averages[name]
        if isinstance(average, HalfLife):
            return average.decay((step + 1) * self.batch_size, self.batch_size)
        return average

    def check(self, path: SpecPath) -> Iterator[Fault]:
        """Yield a fault where the learning rate would fall before it has risen, or averages have the same name."""
        if KEPT in self.other_averages:
            fault = "this name means the training's own `average`: choose another one"
            yield Fault(fault, (*path, "other_averages", KEPT))
        if self.warmup + self.decay * self.iterations > self.iterations:
            room = int((1 - self.decay) * self.iterations)
            yield Fault(
                f"warm-up ({self.warmup} iterations) and decay ({self.decay:g} of {self.iterations}) together are "
                f"longer than the training: at most {room} are left for the warm-up",
                (*path, "warmup"),
            )

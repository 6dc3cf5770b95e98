"""A teacher as it was found elsewhere, before anything of it is believed."""

from attrs import frozen

from sfddm.errors import UserError
from sfddm.networks.denoiser import Contract, Denoiser, Network
from sfddm.spec.teacher import Prediction, Schedule, Teacher


@frozen(kw_only=True)
class Found:
    """A network with its weights, and what stands beside them."""

    origin: str
    """Where it comes from, for errors and for the stage's output."""
    pinned: str
    """What identifies its content: a commit, or a SHA-256."""
    network: Network
    timesteps: int
    noise_schedule: Schedule | None
    """None where it is not one of ours."""
    schedule_words: str
    """The noise schedule as its configuration has it."""
    prediction: Prediction

    @property
    def shape(self) -> tuple[int, int, int]:
        """Channels, height and width of the images."""
        height, width = self.network.config["sample_size"]
        return self.network.config["in_channels"], height, width

    @property
    def parameters(self) -> int:
        """Numbers that were learned."""
        return sum(parameter.numel() for parameter in self.network.parameters())

    def denoiser(self, described: Teacher, shape: tuple[int, int, int]) -> Denoiser:
        """The teacher under the contract that the spec states.

        Raises:
            UserError: the spec states another schedule, number of levels, prediction or size of images.
        """
        stated: list[tuple[str, object, object]] = [
            ("teacher.noise_schedule", described.noise_schedule, self.noise_schedule or self.schedule_words),
            ("teacher.timesteps", described.timesteps, self.timesteps),
            ("teacher.prediction", described.prediction, self.prediction),
            ("the data's shape", "x".join(map(str, shape)), "x".join(map(str, self.shape))),
        ]
        wrong = [f"  {name}: the spec has {spec}, the teacher {own}" for name, spec, own in stated if spec != own]
        if wrong:
            lines = "\n".join(wrong)
            raise UserError(f"{self.origin} is not the teacher that the spec describes:\n{lines}\n"
                            "`sfddm teacher inspect` prints the section for the spec.")  # fmt: skip
        contract = Contract(
            timesteps=described.timesteps, noise_schedule=described.noise_schedule, prediction=described.prediction
        )
        return Denoiser(self.network, contract).eval().requires_grad_(False)

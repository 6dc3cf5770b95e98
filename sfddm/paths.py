"""Where the pipeline's outputs lie, relative to the repository's root."""

from pathlib import Path

from attrs import frozen


@frozen
class Paths:
    """The outputs of one spec."""

    spec: str

    @property
    def root(self) -> Path:
        """The folder of everything below."""
        return Path("runs") / self.spec

    @property
    def data(self) -> Path:
        """Splits of the data set."""
        return self.root / "data"

    @property
    def scorer(self) -> Path:
        """Feature extractor and the real images' statistics."""
        return self.root / "scorer"

    @property
    def teacher(self) -> Path:
        """The teacher's network."""
        return self.root / "teacher"

    @property
    def reference(self) -> Path:
        """The teacher's own images from the evaluation noises."""
        return self.root / "reference"

    def student(self, student: str, seed: int) -> Path:
        """One run's network, sampler and cost."""
        return self.root / "students" / f"{student}-s{seed}"

    def parent(self, student: str | None) -> Path:
        """What a run's student is made from: another run's student (`STUDENT-sSEED`), or the teacher."""
        return self.teacher if student is None else self.root / "students" / student

    def timing(self, student: str, seed: int) -> Path:
        """What making one run's student took."""
        return self.root / "timings" / f"{student}-s{seed}" / "timing.json"

    def result(self, student: str, seed: int) -> Path:
        """One run's figures and pictures."""
        return self.root / "results" / f"{student}-s{seed}"

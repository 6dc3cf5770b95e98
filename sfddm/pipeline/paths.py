"""Where the pipeline's outputs lie, relative to the repository's root.

No name leads out of there. Links may: who moves `runs` to a larger disk, and leaves a link, finds everything as before.
"""

from pathlib import Path

from attrs import field, frozen

from sfddm.spec.fields import require_name


@frozen
class Paths:
    """The outputs of one spec.

    Raises:
        SpecError: spec or student is called what no name may be.
    """

    spec: str = field(validator=lambda _, __, name: require_name(name, "the name of a spec"))

    @property
    def root(self) -> Path:
        """The folder of everything below."""
        return Path("runs") / self.spec

    @property
    def data(self) -> Path:
        """Splits of the data set."""
        return self.root / "data"

    def scorer(self, name: str) -> Path:
        """One scorer's feature extractor, and the real images in its features."""
        return self.root / "scorers" / require_name(name, "the name of a scorer")

    @property
    def teacher(self) -> Path:
        """The teacher's network."""
        return self.root / "teacher"

    @property
    def teacher_timing(self) -> Path:
        """What training the teacher took."""
        return self.root / "timings" / "teacher" / "timing.json"

    @property
    def reference(self) -> Path:
        """The teacher's own images from the evaluation noises."""
        return self.root / "reference"

    def student(self, student: str, seed: int) -> Path:
        """One run's network, sampler and cost."""
        return self.root / "students" / _run(student, seed)

    def parent(self, student: str | None) -> Path:
        """What a run's student is made from: another run's student (`STUDENT-sSEED`), or the teacher."""
        if student is None:
            return self.teacher
        name, _, seed = student.rpartition("-s")
        return self.student(name, int(seed))

    def timing(self, student: str, seed: int) -> Path:
        """What making one run's student took."""
        return self.root / "timings" / _run(student, seed) / "timing.json"

    def result(self, student: str, seed: int) -> Path:
        """One run's figures and pictures."""
        return self.root / "results" / _run(student, seed)


def _run(student: str, seed: int) -> str:
    """The folder of one run."""
    return f"{require_name(student, 'the name of a student')}-s{seed}"

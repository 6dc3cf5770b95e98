"""Types of single fields, with the bounds that they are held to."""

import re
from typing import Annotated

from attrs import frozen

from sfddm.errors import SpecError


@frozen
class Bound:
    """An interval of numbers; `open_low` leaves its lower end out."""

    low: float | None = None
    high: float | None = None
    open_low: bool = False

    def fault(self, value: float) -> str | None:
        """Say what is wrong with `value`, or None."""
        below = self.low is not None and (value <= self.low if self.open_low else value < self.low)
        above = self.high is not None and value > self.high
        if not below and not above and value == value and abs(value) != float("inf"):
            return None
        return f"expected {self}, found {shortened(str(value))}"

    def __str__(self) -> str:
        low = "" if self.low is None else f"{'above' if self.open_low else 'at least'} {self.low}"
        high = "" if self.high is None else f"at most {self.high}"
        return "a number " + " and ".join(part for part in (low, high) if part)


@frozen
class Pattern:
    """What a name may look like."""

    regex: str
    words: str

    def fault(self, value: str) -> str | None:
        """Say what is wrong with `value`, or None."""
        if re.fullmatch(self.regex, value):
            return None
        return f"expected {self.words}, found {shortened(repr(value))}"


MOST = 10**9
"""The largest number of anything: what is larger is a slip of the keyboard."""
Count = Annotated[int, Bound(1, MOST)]
"""A whole number of things, at least one."""
Levels = Annotated[int, Bound(1, 100_000)]
"""A number of noise levels."""
Level = Annotated[int, Bound(1, 100_000)]
"""One noise level above clean data."""
Natural = Annotated[int, Bound(0, MOST)]
"""A whole number, zero included."""
Seed = Annotated[int, Bound(0, 2**31 - 1)]
"""A seed of random numbers."""
Batch = Annotated[int, Bound(1, 1_000_000)]
"""Images at a time; they have to fit into memory together with the network's activations."""
Noises = Annotated[int, Bound(1, 100_000_000)]
"""Noises that are kept with all that comes of them."""
Samples = Annotated[int, Bound(2, 100_000_000)]
"""Images of which a covariance is taken."""
Width = Annotated[int, Bound(1, 16_384)]
"""Channels or features of a layer; a covariance of so many features takes 2 GB."""
Depth = Annotated[int, Bound(1, 100)]
"""Layers of a block."""
Pixels = Annotated[int, Bound(1, 4096)]
"""Height or width of an image."""
Positive = Annotated[float, Bound(0, MOST, open_low=True)]
"""A number above zero."""
NotNegative = Annotated[float, Bound(0, MOST)]
"""A number, zero included."""
Share = Annotated[float, Bound(0, 1)]
"""A share of a whole."""
Beta = Annotated[float, Bound(0, 0.999, open_low=True)]
"""The variance of the noise that one level adds."""
Dropout = Annotated[float, Bound(0, 0.9)]
"""The share of activations that are dropped."""
NAME = Pattern(
    r"(?!(con|prn|aux|nul|com[0-9]|lpt[0-9])\Z)[a-z0-9]([a-z0-9-]{0,62}[a-z0-9])?",
    "a name of a-z, 0-9 and inner hyphens, 64 characters at most, that Windows doesn't reserve",
)
"""The one pattern of all names: specs, students, registered models, and what command lines say of them."""
Name = Annotated[str, NAME]
"""A name that is safe as a file name, as a key of DVC's parameters and as a part of a model's name."""
ModelName = Annotated[str, Pattern("[a-z0-9_]{1,64}", "a name of a-z, 0-9 and underscores")]
"""What a library calls one of its networks."""
Npz = Annotated[str, Pattern(r"[A-Za-z0-9][A-Za-z0-9._-]{0,120}\.npz", "the name of an .npz file, without a folder")]
"""A file of arrays."""
HubModel = Annotated[
    str,
    Pattern(
        r"(?!.*(--|\.\.))[A-Za-z0-9][A-Za-z0-9._-]{0,95}(/[A-Za-z0-9][A-Za-z0-9._-]{0,95})?",
        "OWNER/NAME of the Hugging Face hub, or the name of a folder",
    ),
]
"""A model that others distribute."""
Revision = Annotated[
    str,
    Pattern(r"(?!.*\.\.)[A-Za-z0-9][A-Za-z0-9._/-]{0,99}", "a commit, a tag, a branch, or a SHA-256"),
]
"""Which version of it."""
CheckpointFile = Annotated[
    str, Pattern(r"[A-Za-z0-9][A-Za-z0-9._-]{0,120}\.pth?", "the name of a .pt or .pth file, without a folder")
]
"""A file of PyTorch's own format."""
TensorFile = Annotated[
    str,
    Pattern(r"[A-Za-z0-9][A-Za-z0-9._-]{0,120}\.safetensors", "the name of a .safetensors file, without a folder"),
]
"""A file of tensors and nothing else."""
_PART = "[A-Za-z0-9_][A-Za-z0-9._-]{0,120}"
PLAIN_PATH = Pattern(f"{_PART}(/{_PART}){{0,9}}", "folders of A-Z, a-z, 0-9, '_', '.' and '-' with '/' between them")
FolderPath = Annotated[str, PLAIN_PATH]
"""A folder inside the folder of data sets; no part of it leads out of there."""
SHA256_PATTERN = Pattern("[0-9a-f]{64}", "a SHA-256 of 64 hexadecimal digits, small letters")
SHA256 = Annotated[str, SHA256_PATTERN]
"""The hash of a file's content."""


def require_name(text: str, what: str) -> str:
    """`text`, which is fit to be a name.

    Raises:
        SpecError: it is not; `what` is what the error calls it.
    """
    if fault := NAME.fault(text):
        raise SpecError(f"{what}: {fault}")
    return text


def shortened(text: str) -> str:
    """Fit for one line of an error."""
    return text if len(text) <= 60 else f"{text[:57]}..."

"""The noise levels at which a student stops: 0 = phi_0 < phi_1 < ... < phi_T' <= T."""

from typing import Literal

from attrs import frozen

from sfddm.spec.fields import Count, Level, Natural


@frozen(kw_only=True)
class Uniform:
    """The paper's set: phi_k = k T / T', rounded; it ends at the noisiest level T."""

    kind: Literal["uniform"]
    steps: Count
    """T', which need not divide T."""


@frozen(kw_only=True)
class Leading:
    """The set of the authors' published code, {1, 1 + c, 1 + 2c, ...} with c = T // T': it never reaches level T."""

    kind: Literal["leading"]
    steps: Count
    """T'."""


@frozen(kw_only=True)
class UniformAngle:
    """Levels whose angles theta = atan2(sigma, alpha) are spaced evenly up to level T's.

    On a cosine schedule that is nearly the uniform set; on a linear one it improves DDIM by a factor of 2 to 3.6.
    """

    kind: Literal["uniform-angle"]
    steps: Count
    """T'."""


@frozen(kw_only=True)
class Quadratic:
    """phi_k = T (k / T')^2, rounded: dense near clean data (Song et al. 2021, appendix D.2)."""

    kind: Literal["quadratic"]
    steps: Count
    """T'."""


@frozen(kw_only=True)
class UniformLogSNR:
    """Levels whose log-SNR are spaced evenly between level 1's, left out, and level T's (Lu et al. 2022)."""

    kind: Literal["uniform-log-snr"]
    steps: Count
    """T'."""


@frozen(kw_only=True)
class Explicit:
    """Any increasing set that ends at level T, such as one that `sfddm index-set search` finds."""

    kind: Literal["explicit"]
    levels: tuple[Level, ...]
    """phi_1 < ... < phi_T' = T, without the clean level 0."""
    search: Natural
    """Forward-equivalents that finding it took, as the search prints them; 0 for levels that were merely chosen."""


IndexSet = Uniform | Leading | UniformAngle | Quadratic | UniformLogSNR | Explicit
"""The noise levels at which sampling stops: T' of them, in increasing order."""

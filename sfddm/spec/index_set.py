"""The noise levels at which a student stops: 0 = phi_0 < phi_1 < ... < phi_T' <= T."""

from typing import Literal

from attrs import frozen

from sfddm.spec.fields import Count


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
class Explicit:
    """Any increasing set."""

    kind: Literal["explicit"]
    levels: tuple[Count, ...]
    """phi_1 < ... < phi_T', without the clean level 0."""


IndexSet = Uniform | Leading | Explicit

"""Steps of solvers on plain numbers, as their papers have them."""

import math

from scipy.integrate import quad

Pair = tuple[float, float]
"""alpha and sigma."""
Known = tuple[float, Pair]
"""The image predicted in the step before, or on the way, and its level."""


def ddim(x: float, x0: float, last: Known | None, at_s: Pair, at_r: Pair) -> float:
    """The predicted image, with the noise that is left."""
    return at_r[0] * x0 + at_r[1] * (x - at_s[0] * x0) / at_s[1]


def dpm_solver(x: float, x0: float, last: Known | None, at_s: Pair, at_r: Pair) -> float:
    """Lu et al. 2022, algorithm 2: sigma_r / sigma_s x - alpha_r (exp(-h) - 1) D in the half log-SNR lambda."""
    if at_r[1] == 0:
        return x0
    d = x0
    h = math.log(at_r[0] / at_r[1]) - math.log(at_s[0] / at_s[1])
    if last is not None:
        last_x0, at_last = last
        ratio = (math.log(at_s[0] / at_s[1]) - math.log(at_last[0] / at_last[1])) / h
        d = (1 + 1 / (2 * ratio)) * x0 - 1 / (2 * ratio) * last_x0
    return at_r[1] / at_s[1] * x - at_r[0] * math.expm1(-h) * d


def angle_2m(x: float, x0: float, last: Known | None, at_s: Pair, at_r: Pair) -> float:
    """x_r / sigma_r = x_s / sigma_s + integral of x0(theta) d cot(theta), d cot = -1 / sin^2, x0 a line."""
    start, end = math.asin(at_s[1]), math.asin(at_r[1])
    slope = 0.0 if last is None else (x0 - last[0]) / (start - math.asin(last[1][1]))
    if not end:
        return x0 - slope * start
    integral, _ = quad(lambda theta: -(x0 + slope * (theta - start)) / math.sin(theta) ** 2, start, end)
    return math.sin(end) * (x / at_s[1] + float(integral))

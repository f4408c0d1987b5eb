"""Fit the polynomials of activation.h and random.h and print their coefficients and float32 errors.

    python csrc/simd/fit_polynomials.py        (needs NumPy and SciPy)

expm1(r) = r + r^2 P(r) on |r| <= ln(2) / 2; -ln(erfc(z)) = z R(z) on [0, 4], from which
erf(z) = -expm1(-z R(z)) keeps its relative accuracy down to 0; and 2 atanh(s) = 2 s + s^3 L(s^2) on
[0, 1/3], which is log1p(t) for s = t / (t + 2), t in [0, 1].

log1p(f) = f - f^2 / 2 + f^3 L(f) on [sqrt(1/2) - 1, sqrt(2) - 1]; and the inverse of the normal
distribution function as x P(w), x = 1 - 2 p, w = -log(4 p (1 - p)), whose absolute error counts: in
powers of w - 2.5 below w = 5, of sqrt(w) - 3.5 above, to p = 2^-33.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from scipy import special

Array = NDArray[np.float64]


def chebyshev_nodes(low: float, high: float, count: int = 4000) -> Array:
    """Points that crowd towards both ends of the interval, as a minimax fit wants them."""
    angle = (np.arange(count) + 0.5) * np.pi / count
    return 0.5 * (low + high) + 0.5 * (high - low) * np.cos(angle)


def minimax(x: Array, y: Array, weight: Array, degree: int) -> Array:
    """Coefficients, lowest first, of a weighted near-minimax polynomial (Lawson, 1961)."""
    basis = np.vander(x, degree + 1, increasing=True)
    lawson = np.full(x.size, 1.0 / x.size)
    best, best_error = np.zeros(degree + 1), np.inf
    for _ in range(200):
        root = np.sqrt(lawson) * weight
        fit = np.linalg.lstsq(basis * root[:, None], y * root, rcond=None)[0]
        error = np.abs((basis @ fit - y) * weight)
        if error.max() < best_error:
            best, best_error = fit, error.max()
        lawson *= error
        lawson /= lawson.sum()
    return best


def show(
    name: str, coefficients: Array, error: Callable[[Array], float], kind: str = "relative"
) -> None:
    """Print one polynomial as C++ constants, with its error after rounding to float32."""
    rounded = coefficients.astype(np.float32)
    print(f"// {name}: {kind} error {error(rounded.astype(np.float64)):.2e}")
    for power, value in enumerate(rounded):
        print(f"//   x^{power}: {float(value).hex():>24}  {value:.9g}f")


def main() -> None:
    """Fit the polynomials."""
    half = 0.5 * np.log(2.0) * 1.01
    r = chebyshev_nodes(-half, half)
    target = np.expm1(r)
    p = minimax(r, (target - r) / r**2, np.abs(r**2 / target), 4)
    show("P", p, lambda c: np.abs((r + r**2 * np.polyval(c[::-1], r)) / target - 1).max())

    z = chebyshev_nodes(1e-4, 4.0)
    log_erfc = -np.log(special.erfc(z))
    # d erf = erfc(z) d(zR): what counts is the relative error of erf.
    weight = special.erfc(z) * z / special.erf(z)
    for degree in (8, 9, 10):
        fit = minimax(z, log_erfc / z, weight, degree)
        show(
            f"R, degree {degree}",
            fit,
            lambda c: np.abs(-np.expm1(-z * np.polyval(c[::-1], z)) / special.erf(z) - 1).max(),
        )

    s = chebyshev_nodes(1e-3, 1.0 / 3.0)
    rest = (2 * np.arctanh(s) - 2 * s) / s**3
    fit = minimax(s**2, rest, s**3 / np.arctanh(s), 4)
    show(
        "L",
        fit,
        lambda c: np.abs(
            (2 * s + s**3 * np.polyval(c[::-1], s**2)) / (2 * np.arctanh(s)) - 1
        ).max(),
    )

    fit_logarithm()
    fit_normal()


def fit_logarithm() -> None:
    """Fit log1p on half an octave about 0."""
    f = chebyshev_nodes(np.sqrt(0.5) - 1, np.sqrt(2.0) - 1)
    f = f[np.abs(f) > 1e-4]
    start = f - f**2 / 2
    fit = minimax(f, (np.log1p(f) - start) / f**3, np.abs(f**3 / np.log1p(f)), 7)
    show(
        "L of log",
        fit,
        lambda c: np.abs((start + f**3 * np.polyval(c[::-1], f)) / np.log1p(f) - 1).max(),
    )


def fit_normal() -> None:
    """Fit the inverse of the normal distribution function, middle and tail."""
    for name, low, high in (("P, middle", 1e-6, 5.0), ("P, tail", 5.0, 21.6)):
        w = chebyshev_nodes(low, high)
        x = np.sqrt(-np.expm1(-w))
        z = -special.ndtri(np.exp(-w) / (2 * (1 + x)))
        t = w - 2.5 if high == 5.0 else np.sqrt(w) - 3.5
        fit = minimax(t, z / x, x, 8)

        def error(c: Array, x: Array = x, t: Array = t, z: Array = z) -> float:
            return float(np.abs(x * np.polyval(c[::-1], t) - z).max())

        show(name, fit, error, "absolute")


if __name__ == "__main__":
    main()

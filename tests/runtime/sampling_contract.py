"""The contract of sampling, written a second time: NumPy, one float32 operation after the other.

What `csrc/simd/random.h` and `csrc/simd/heads.h` say, with none of their code but tanh, sigmoid and
softplus, which `test_activations` checks.
"""

from __future__ import annotations

from typing import Any

import numpy as np

import sparseagent as sa
from sparseagent import _core
from sparseagent.csr import Float32

F = np.float32
ACTION, MATRIX = 0, 1  # streams


def fma(a: Any, b: Any, c: Any) -> Any:
    """a * b + c with one rounding: the float64 sum rounded to odd, then to float32."""
    product = np.asarray(a, np.float64) * np.asarray(b, np.float64)  # exact
    c = np.asarray(c, np.float64)
    total = np.asarray(product + c)
    part = total - product
    error = np.where(np.isfinite(total), (product - (total - part)) + (c - part), 0)
    even = total.view(np.int64) % 2 == 0
    odd = np.nextafter(total, np.where(error > 0, np.inf, -np.inf))
    return np.where((error != 0) & even, odd, total).astype(F)


def number(text: str) -> np.float32:
    return F(float.fromhex(text))


def horner(coefficients: list[str], x: Any) -> Any:
    """The highest first."""
    y = np.full(np.shape(x), number(coefficients[0]), F)
    for c in coefficients[1:]:
        y = fma(y, x, number(c))
    return y


def in_pairs(coefficients: list[str], x: Any) -> Any:
    """The lowest first: c0 + c1 x, c2 + c3 x, ...; those by x^2, then x^4."""
    c = [number(text) for text in coefficients]
    square = x * x
    pairs = [fma(c[i + 1], x, c[i]) for i in range(0, 8, 2)]
    top = fma(c[8], square, pairs[3]) if len(c) == 9 else pairs[3]
    low, high = fma(pairs[1], square, pairs[0]), fma(top, square, pairs[2])
    return fma(high, square * square, low)


def exp(x: Float32) -> Float32:
    magic = F(12582912)
    z = fma(x, F(1.44269504), magic)
    n = z - magic
    r = fma(n, F(float.fromhex("-0x1.62e400p-1")), x)
    r = fma(n, F(float.fromhex("-0x1.7f7d1cp-20")), r)
    p = ["0x1.6beb2ep-10", "0x1.122d00p-7", "0x1.555680p-5", "0x1.5554aap-3", "0x1.fffffep-2"]
    scale = np.exp2(n.astype(np.float64)).astype(F)
    return fma(scale, fma(r * r, horner(p, r), r), scale)


def log(x: Float32) -> Float32:
    mantissa, exponent = np.frexp(x)
    small = mantissa < F(np.sqrt(0.5))
    f = np.where(small, mantissa * F(2), mantissa) - F(1)
    e = (exponent - small).astype(F)
    p = in_pairs(
        [
            "0x1.555554p-2",
            "-0x1.000226p-2",
            "0x1.99a008p-3",
            "-0x1.547244p-3",
            "0x1.22da1ep-3",
            "-0x1.0d8542p-3",
            "0x1.055b68p-3",
            "-0x1.38b542p-4",
        ],
        f,
    )
    square = f * f
    y = p * f * square
    y = fma(e, F(float.fromhex("-0x1.bd0106p-13")), y)
    y = fma(square, F(-0.5), y)
    y = fma(e, F(float.fromhex("0x1.63p-1")), f + y)
    return np.where(np.isfinite(x), y, x)


def normal(words: Any) -> Float32:
    k = (words & 0x7FFFFFFF).astype(np.int64).astype(F)
    p = (k + F(0.5)) * F(2**-32)
    x = F(1) - (p + p)
    w = F(0) - log(F(4) * p * (F(1) - p))
    near = w < 5
    middle = in_pairs(
        [
            "0x1.0fc8bcp+1",
            "0x1.652c7cp-2",
            "-0x1.83263cp-8",
            "-0x1.d0b8acp-10",
            "0x1.437bc8p-12",
            "-0x1.a7aa8ep-18",
            "-0x1.42af94p-18",
            "0x1.0a903cp-21",
            "0x1.a61e0ep-26",
        ],
        w - F(2.5),
    )
    tail = in_pairs(
        [
            "0x1.2de4c6p+2",
            "0x1.6cb496p+0",
            "0x1.31be0cp-8",
            "-0x1.79ad54p-9",
            "0x1.70fcccp-10",
            "-0x1.116e3ep-10",
            "0x1.aed134p-11",
            "-0x1.151c02p-12",
            "-0x1.d47374p-17",
        ],
        np.sqrt(np.maximum(w, F(0))) - F(3.5),
    )
    z = np.where(near, middle, tail) * x
    return np.where(words >> 31 == 1, -z, z).astype(F)


def philox(seed: int, step: int, rows: Any, stream: int, draws: int) -> Any:
    """Words uint32 `[B, draws]`: key = seed, counter = (block + stream, row, step)."""
    rows = np.asarray(rows, np.uint64)
    blocks = np.arange((draws + 3) // 4, dtype=np.uint64)
    shape = (len(rows), len(blocks))
    low = np.uint64(0xFFFFFFFF)
    c = [
        np.broadcast_to(blocks + np.uint64(stream << 24), shape),
        np.broadcast_to(rows[:, None], shape),
        np.full(shape, step & 0xFFFFFFFF, np.uint64),
        np.full(shape, step >> 32, np.uint64),
    ]
    k0, k1 = seed & 0xFFFFFFFF, seed >> 32
    for _ in range(10):
        a, b = c[0] * np.uint64(0xD2511F53), c[2] * np.uint64(0xCD9E8D57)
        c = [
            (b >> np.uint64(32)) ^ c[1] ^ np.uint64(k0),
            b & low,
            (a >> np.uint64(32)) ^ c[3] ^ np.uint64(k1),
            a & low,
        ]
        k0, k1 = (k0 + 0x9E3779B9) & 0xFFFFFFFF, (k1 + 0xBB67AE85) & 0xFFFFFFFF
    return np.stack(c, axis=2).reshape(len(rows), -1)[:, :draws].astype(np.uint32)


def uniform(words: Any) -> Float32:
    return (words >> 8).astype(F) * F(2**-24)


def ascending(terms: Float32) -> Float32:
    """`[B, n]` -> `[B]`."""
    total = np.zeros(len(terms), F)
    for term in terms.T:
        total = total + term
    return total


def choose(logits: Float32, word: Any) -> tuple[Any, Float32]:
    """Index and log-probability; the mode if there is no word."""
    most = logits[:, 0]
    for column in logits.T[1:]:
        most = np.where(most < column, column, most)
    d = logits - most[:, None]
    weights = np.where(d < -87, F(0), exp(np.maximum(d, F(-87))))
    sums = np.stack([ascending(weights[:, : i + 1]) for i in range(weights.shape[1])], axis=1)
    index = logits.argmax(axis=1)
    if word is not None:
        above = uniform(word)[:, None] * sums[:, -1:] < sums[:, :-1]
        index = (~above).sum(axis=1)
    chosen = np.take_along_axis(d, index[:, None], axis=1)[:, 0]
    return index, chosen - log(sums[:, -1])


def squashed(head: Any, sample: Float32) -> tuple[Float32, Float32]:
    y = _core.activate("tanh", np.ascontiguousarray(sample))
    return y, ascending(log(fma(-y, y, F(1)) + F(head.eps)))


def sample(
    head: sa.Head,
    outputs: dict[str, Float32],
    seed: int,
    step: int,
    rows: Any,
    *,
    deterministic: bool = False,
    masks: Any = None,
) -> tuple[Any, Float32, Any]:
    """(action before bounds, log-probability, raw action) of outputs `[B, size]`."""
    y = next(iter(outputs.values()))
    if masks is not None:
        y = np.where(masks, y, F(-1e8))
    size = y.shape[1]

    def words(draws: int, stream: int = ACTION, at: int = step) -> Any:
        return philox(seed, at, rows, stream, draws)

    if isinstance(head, sa.Categorical | sa.MultiCategorical):
        multi = isinstance(head, sa.MultiCategorical)
        sizes, starts = (head.sizes, head.starts) if multi else ((size,), (head.start,))
        drawn = words(len(sizes))
        log_prob = np.zeros(len(y), F)
        chosen = []
        groups = np.split(y, np.cumsum(sizes)[:-1], axis=1)
        for number, (group, start) in enumerate(zip(groups, starts, strict=True)):
            index, term = choose(group, None if deterministic else drawn[:, number])
            log_prob = log_prob + term
            chosen.append(index + start)
        action = np.stack(chosen, axis=1) if multi else chosen[0]
        return action, log_prob, action
    if isinstance(head, sa.EpsilonGreedy):
        greedy = y.argmax(axis=1)
        drawn = words(2)
        explores = (uniform(drawn[:, 0]) < F(head.epsilon)) & (not deterministic)
        anything = (drawn[:, 1].astype(np.uint64) * np.uint64(size)) >> np.uint64(32)
        index = np.where(explores, anything.astype(np.int64), greedy)
        p = F(head.epsilon) / F(size) + np.where(index == greedy, F(1) - F(head.epsilon), F(0))
        return index + head.start, log(p.astype(F)), index + head.start
    if isinstance(head, sa.Bernoulli):
        bits = uniform(words(size)) < _core.activate("sigmoid", y)
        bits = y > 0 if deterministic else bits
        term = F(0) - _core.activate("softplus", np.where(bits, F(0) - y, y))
        return bits.astype(np.int64), ascending(term), bits.astype(np.int64)
    assert isinstance(head, sa.DiagGaussian | sa.GSDE)
    z = np.zeros_like(y) if deterministic else normal(words(size))
    if isinstance(head, sa.DiagGaussian):
        log_std = outputs["log_std"] if head.log_std is None else np.tile(head.log_std, (len(y), 1))
        low, high = head.log_std_range or (-87, 88)
        log_std = np.clip(log_std, F(max(low, -87)), F(min(high, 88)))
        raw = fma(exp(log_std), z, y)
        terms = fma(F(-0.5) * z, z, F(0) - log_std)
    else:
        latent, std = outputs["latent"], head.std
        number = 0 if head.resample == 0 else step // head.resample
        drawn = words(std.size, MATRIX, number)
        matrix = normal(drawn).reshape(len(y), *std.shape) * std
        noise, variance = np.zeros_like(y), np.zeros_like(y)
        for f in range(std.shape[0]):
            feature = latent[:, f : f + 1]
            variance = fma(feature * feature, std[f] * std[f], variance)
            if not deterministic:
                noise = fma(feature, matrix[:, f], noise)
        variance = variance + F(head.eps)
        raw = y + noise
        terms = F(-0.5) * (noise * noise / variance + log(variance))
    log_prob = ascending(terms) - F(F(size) * F(0.91893853))
    if head.squash:
        raw, lost = squashed(head, raw)
        log_prob = log_prob - lost
    return head.bounds.apply(raw), log_prob, raw.reshape(-1, *head.bounds.action_of(size)[1])

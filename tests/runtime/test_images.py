"""Convolutions and pools: the bits of the scalar reference, torch's numbers, refusals."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from networks import ISAS, same_bits
from programs import Draft, random_program, random_taps, random_window

import sparseagent as sa
from sparseagent.ops.conv2d import Conv2d
from sparseagent.ops.observe import Observation
from sparseagent.ops.pool import Pool
from sparseagent.ops.reduce import Reduce
from sparseagent.ops.window import Window
from sparseagent.program import MAX_WORK, Program, Span
from sparseagent.reference import error_bound, forward_exact, forward_float64

BATCHES = (1, 2, 5, 8, 16, 17, 33)


def conv_program(rng: Any, window: Window, out: int, **how: Any) -> Program:
    draft = Draft(rng)
    read = draft.observe("observation", Observation((window.in_size,)))
    span = draft.conv2d(read, window, out=out, **how)
    return Program(draft.slots, tuple(draft.ops), {"action": span})


def formats_of(program: Program, isa: str) -> list[str]:
    """Those that can follow all layers."""
    found = ["auto"]
    for format in ("taps", "dense"):
        try:
            sa.compile(sa.SparsePolicy(program), isa=isa, format=format, tune=0)
        except ValueError:
            continue
        found.append(format)
    return found


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("seed", range(60))
def test_every_format_has_the_bits_of_the_reference(seed: int, isa: str) -> None:
    rng = np.random.default_rng(seed)
    size = int(rng.choice([1, 7, 36, 120, 300, 768, 1536]))
    program = conv_program(rng, random_window(rng, size), int(rng.integers(1, 10)))
    rows = rng.normal(size=(max(BATCHES), size)).astype(np.float32)
    if seed % 2:
        wild = [np.nan, np.inf, -np.inf, -0.0, 1e-42, 1e38]
        rows[rng.random(rows.shape) < 0.02] = rng.choice(wild, 1)
    expected = forward_exact(program, rows)
    for format in formats_of(program, isa):
        act = sa.compile(sa.SparsePolicy(program), isa=isa, format=format, tune=0)
        for batch in BATCHES:
            assert same_bits(act(rows[:batch]), expected[:batch]), (format, batch)


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize(
    "window",
    [
        Window((3, 40, 700), (3, 3), (1, 1), (1, 1, 1, 1)),  # rows longer than all registers
        Window((4, 84, 84), (8, 8), (4, 4)),
        Window((4, 84, 84), (8, 8), (4, 4), channels_last=True),
        Window((5, 1, 90), (1, 5), (1, 2), (0, 4, 0, 2), (1, 2)),  # a sequence
    ],
)
def test_images_of_real_sizes(window: Window, isa: str) -> None:
    rng = np.random.default_rng(0)
    program = conv_program(rng, window, 6, activation="relu")
    rows = rng.normal(size=(3, window.in_size)).astype(np.float32)
    expected = forward_exact(program, rows)
    for format in formats_of(program, isa):
        act = sa.compile(sa.SparsePolicy(program), isa=isa, format=format, tune=0)
        assert same_bits(act(rows), expected), format
        assert same_bits(act(rows[0]), expected[0]), format


@pytest.mark.parametrize("seed", range(20))
def test_numbers_are_those_of_torch(seed: int) -> None:
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(seed)
    window = random_window(rng, int(rng.choice([36, 120, 300, 768])))
    weight = (rng.normal(size=(4, window.taps))).astype(np.float32)
    bias = rng.normal(size=4).astype(np.float32)
    x = rng.normal(size=(2, window.in_size)).astype(np.float32)
    channels, height, width = window.image
    image = x.reshape(2, height, width, channels).transpose(0, 3, 1, 2)
    if not window.channels_last:
        image = x.reshape(2, *window.image)
    top, left, bottom, right = window.padding
    pads = (left, right, top, bottom)
    how = {"stride": window.stride, "dilation": window.dilation}
    padded = torch.nn.functional.pad(torch.tensor(image.copy()), pads)
    kernel = torch.tensor(weight.reshape(4, channels, *window.kernel))
    sums = torch.nn.functional.conv2d(padded, kernel, torch.tensor(bias), **how).numpy()
    spans = (Span("x", 0, window.in_size), Span("y", 0, 4 * window.pixels))
    conv = Conv2d(spans[:1], spans[1:], sa.Layer(weight, bias), window)
    given = conv.float64(x.astype(np.float64))
    assert np.allclose(given, sums.reshape(2, -1), atol=1e-4)
    padded = torch.nn.functional.pad(torch.tensor(image.copy()), pads, value=-np.inf)
    most = torch.nn.functional.max_pool2d(padded, window.kernel, **how).numpy()
    pooled = Pool(spans[:1], (Span("y", 0, channels * window.pixels),), window)
    assert np.array_equal(pooled.float64(x.astype(np.float64)), most.reshape(2, -1))


@pytest.mark.parametrize("seed", range(20))
def test_the_error_keeps_to_its_bound(seed: int) -> None:
    rng = np.random.default_rng(seed)
    window = random_window(rng, 300)
    program = conv_program(rng, window, 5)
    rows = rng.normal(size=(4, 300)).astype(np.float32)
    error = np.abs(forward_exact(program, rows) - forward_float64(program, rows))
    assert (error <= error_bound(program, rows)).all()


def test_a_pool_takes_nan_and_what_is_outside_is_less_than_all() -> None:
    window = Window((1, 1, 4), (1, 3), (1, 1), (0, 1, 0, 1))
    spans = (Span("x0", 0, 4), Span("x1", 0, 4))
    draft = Draft(np.random.default_rng(0))
    draft.observe("observation", Observation((4,)))
    slots = {"s0": 4, "x1": 4}
    pool = Pool((Span("s0", 0, 4),), spans[1:], window)
    program = Program(slots, (*draft.ops, pool), {"action": spans[1]})
    rows = np.array([[-3, -2, -5, -9], [1, np.nan, 2, 3]], np.float32)
    for isa in ISAS:
        act = sa.compile(sa.SparsePolicy(program), isa=isa, tune=0)
        for batch in (rows, np.tile(rows, (20, 1))):
            given = act(batch)[:2]
            assert given[0].tolist() == [-2, -2, -2, -5]
            assert np.isnan(given[1]).tolist() == [True, True, True, False]
            assert given[1, 3] == 3


def nature(rng: Any, *, channels_last: bool, sparsity: float = 0.9) -> Program:
    """NatureCNN (Mnih et al., 2015) on frames as the environment hands them out."""
    draft = Draft(rng)
    shape = (84, 84, 4) if channels_last else (4, 84, 84)
    span = draft.observe("observation", Observation(shape, "uint8"))
    image, parts = (4, 84, 84), ((32, 8, 4), (64, 4, 2), (64, 3, 1))
    last = channels_last
    for out, kernel, stride in parts:
        window = Window(image, (kernel, kernel), (stride, stride), channels_last=last)
        weight = rng.normal(size=(out, window.taps)).astype(np.float32) / np.sqrt(window.taps)
        if last or image[0] == 4:
            weight /= 255
        weight = weight.astype(np.float32)
        mask = rng.random(weight.shape) >= sparsity
        layer = sa.Layer(sa.CSR.from_dense(weight, mask), draft.numbers(out), "relu")
        write = draft.slot(out * window.pixels)
        draft.ops.append(Conv2d((span,), (write,), layer, window))
        span, image, last = write, (out, *window.output), False
    hidden = draft.linear((span,), 64, activation="relu")
    action = draft.linear((hidden,), 6, activation="identity")
    return Program(draft.slots, tuple(draft.ops), {"action": action})


@pytest.mark.parametrize("channels_last", [False, True])
def test_frames_as_the_environment_hands_them_out(channels_last: bool) -> None:
    rng = np.random.default_rng(3)
    policy = sa.SparsePolicy(nature(rng, channels_last=channels_last), sa.Argmax())
    (step,) = policy.inputs.values()
    frames = rng.integers(0, 256, (9, *step.shape), np.uint8)
    expected = forward_exact(policy.program, frames)
    for isa in ISAS:
        act = sa.compile(policy, isa=isa, tune=0)
        assert np.array_equal(act.predict(frames)[0], expected.argmax(axis=1))
        assert same_bits(act.outputs(frames)["action"], expected)
        assert act.predict(frames[0])[0] == expected[0].argmax()


def test_files_updates_and_orders() -> None:
    rng = np.random.default_rng(4)
    policy = sa.SparsePolicy(nature(rng, channels_last=True)).with_golden(
        rng.integers(0, 256, (2, 84, 84, 4), np.uint8)
    )
    again = sa.load(policy.to_bytes())
    assert again.to_bytes() == policy.to_bytes()
    assert again.layers[1].shape == (64, 512)
    frames = rng.integers(0, 256, (3, 84, 84, 4), np.uint8)
    packed = policy.repack("avx512")
    act = sa.compile(packed, tune=0)
    assert same_bits(act.outputs(frames)["action"], forward_exact(packed.program, frames))
    values = [
        (2 * layer.weight.values).astype(np.float32)
        if isinstance(layer.weight, sa.CSR)
        else 2 * layer.weight
        for layer in packed.layers
    ]
    changed = packed.with_values(values, [layer.bias for layer in packed.layers])
    act.update(changed)
    assert same_bits(act.outputs(frames)["action"], forward_exact(changed.program, frames))


def test_the_mean_over_an_image_is_a_reduction() -> None:
    rng = np.random.default_rng(5)
    rows = rng.normal(size=(3, 4 * 6)).astype(np.float32)
    mean = Reduce((Span("x", 0, 24),), (Span("y", 0, 4),), "mean", 4)
    assert np.allclose(mean.float64(rows.astype(np.float64)), rows.reshape(3, 4, 6).mean(axis=2))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"image": (1, 0, 3)}, "image: expected 3 numbers"),
        ({"kernel": (9, 3)}, "kernel: expected one that fits"),
        ({"stride": (0, 1)}, "stride: expected 2 numbers"),
        ({"padding": (3, 0, 0, 0)}, "padding: expected 4 numbers"),
        ({"padding": (0, 0, 0)}, "padding: expected 4 numbers"),
        ({"dilation": (1, 1 << 21)}, "dilation: expected 2 numbers"),
        ({"kernel": (1 << 10, 1 << 10), "padding": (1023,) * 4}, "image: expected at most"),
    ],
)
def test_windows_that_do_not_fit(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        replace(Window((2, 5, 5), (3, 3)), **change)


def test_a_convolution_that_would_cost_too_much() -> None:
    """A small file cannot make a call last: the work of all windows has a limit."""
    window = Window((1, 1024, 1024), (1, 1))
    weight = np.ones((1, 1), np.float32)
    draft = Draft(np.random.default_rng(0))
    span = draft.observe("observation", Observation((1 << 20,)))
    for _ in range(2):
        write = draft.slot(1 << 20)
        draft.ops.append(
            Conv2d((span,), (write,), sa.Layer(weight, np.zeros(1, np.float32)), window)
        )
        span = write
    Program(draft.slots, tuple(draft.ops), {"action": span})
    wide = Window((1, 1000, 1000), (17, 17), (1, 1), (8, 8, 8, 8))
    assert wide.taps * wide.pixels > MAX_WORK
    read = Span("s2", 0, 1_000_000)
    draft.ops.append(Pool((read,), (draft.slot(1_000_000),), wide))
    with pytest.raises(ValueError, match="ops: expected at most 268435456 steps of windows"):
        Program(draft.slots, tuple(draft.ops), {"action": read})


def test_random_programs_have_them() -> None:
    kinds = {op.kind for seed in range(8) for op in random_program(np.random.default_rng(seed)).ops}
    assert {"conv2d", "pool"} <= kinds
    assert random_taps(np.random.default_rng(0), 4, 9) is not None

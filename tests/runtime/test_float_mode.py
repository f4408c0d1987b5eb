"""The host's floating-point mode changes no bit, and is the host's own again after a call."""

from __future__ import annotations

import ctypes
import platform
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import pytest
from networks import ISAS, random_policy, same_bits

import sparseagent as sa
from sparseagent.reference import forward_exact

MACHINE = platform.machine()
#: Where the C library keeps the control register in its fenv_t, and its bits by mode.
CONTROL = {"x86_64": 28, "aarch64": 0}
MODES = {
    "x86_64": {"flush to zero": 0x8040, "upwards": 0x4000, "toward zero": 0x6000},
    "aarch64": {"flush to zero": 1 << 24, "upwards": 1 << 22, "toward zero": 3 << 22},
}

pytestmark = [
    pytest.mark.skipif(MACHINE not in CONTROL, reason="no mode known for this machine"),
    pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="needs glibc"),
]


def environment() -> ctypes.Array[ctypes.c_char]:
    """The C library's fenv_t."""
    saved = ctypes.create_string_buffer(32)
    assert ctypes.CDLL("libm.so.6").fegetenv(saved) == 0
    return saved


def control() -> int:
    """The control register, without what has happened so far."""
    at = CONTROL[MACHINE]
    register = int.from_bytes(environment().raw[at : at + 4], "little")
    return register & ~0x3F if MACHINE == "x86_64" else register


@contextmanager
def host_mode(mode: str) -> Iterator[None]:
    """This thread in another mode."""
    before, changed = environment(), environment()
    at = CONTROL[MACHINE]
    register = int.from_bytes(before.raw[at : at + 4], "little") | MODES[MACHINE][mode]
    changed[at : at + 4] = register.to_bytes(4, "little")
    libm = ctypes.CDLL("libm.so.6")
    assert libm.fesetenv(changed) == 0
    try:
        yield
    finally:
        libm.fesetenv(before)


@pytest.mark.parametrize("mode", ["flush to zero", "upwards", "toward zero"])
@pytest.mark.parametrize("isa", ISAS)
def test_the_host_mode_changes_no_bits(isa: str, mode: str) -> None:
    rng = np.random.default_rng(3)
    policy = random_policy(rng, (40, 64, 50, 4), 0.7, "tanh")
    values = [layer.weight.values * np.float32(1e-13) for layer in policy.layers]
    tiny = policy.with_values(values, [layer.bias * 0 for layer in policy.layers])
    rows = rng.normal(size=(200, 40)).astype(np.float32)
    for each, scale in ((policy, 1.0), (tiny, 1e-5)):
        x = rows * np.float32(scale)
        expected = forward_exact(each.program, x)
        assert np.any(expected)
        for threads in (1, 2):
            act = sa.compile(each, isa=isa, threads=threads, tune=0)
            for batch in (1, 2, 3, 8, 32, 200):
                out = np.zeros((batch, 4), np.float32)
                with host_mode(mode):
                    before = control()
                    act(x[:batch], out)
                    after = control()
                assert same_bits(out, expected[:batch]), (scale, threads, batch)
                assert after == before
        with host_mode(mode):
            again = forward_exact(each.program, x)
        assert same_bits(again, expected)


def test_the_host_mode_changes_no_action() -> None:
    """Two outputs below the normal numbers: flushed they would be equal."""
    weight = sa.CSR.from_dense(np.float32([[1e-20], [2e-20]]))
    layers = (sa.Layer(weight, np.zeros(2, np.float32)),)
    observation = np.float32([1e-20])
    box = sa.Box(np.float32([-1e-39, -1e-39]), np.float32([1e-39, 3e-39]))
    for head in (sa.Argmax(), sa.Clip(box), sa.Unscale(box)):
        act = sa.compile(sa.SparsePolicy(sa.chain(layers, sa.Observation((1,))), head=head))
        expected, _ = act.predict(observation)
        with host_mode("flush to zero"):
            got, _ = act.predict(observation)
        assert np.asarray(got).tobytes() == np.asarray(expected).tobytes(), head
        assert np.any(expected), head

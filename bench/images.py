"""Convolutional policies against ONNX Runtime: `python -m bench.images`.

NatureCNN (Mnih et al., 2015), the IMPALA network (Espeholt et al., 2018) and MinAtar's (Young and
Tian, 2019), with the layers that Stable-Baselines3 puts behind them. Masks are random with the
Erdős-Rényi allocation of Evci et al. (2020), kernel sizes counted: the same sparsity everywhere
would leave first layers of few weights without most of them. Frames are float32 for everyone, so
that nobody is charged for converting bytes. Rows as those of `bench.run`, in a file of their own.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

import sparseagent as sa
from bench import programs
from bench.masks import masks
from bench.nets import Case
from sparseagent.ops import Linear
from sparseagent.ops.conv2d import Conv2d
from sparseagent.ops.pool import Pool
from sparseagent.ops.window import Window
from sparseagent.program import Span

#: `(channels, height, width)` of what a span holds.
Shape = tuple[int, int, int]


class Sketch(programs.Sketch):
    """A program on images; sparsities of layers by the Erdős-Rényi rule."""

    def __init__(self, name: str, image: Shape, densities: dict[int, float]) -> None:
        super().__init__(name, int(np.prod(image)), 0.0)
        self.image = image
        self.layers: list[tuple[int, ...]] = []  # as a mask is shaped, kernel sizes apart
        self._densities = densities

    def layer(self, shape: tuple[int, ...], activation: str) -> sa.Layer:
        """He-scaled weights under a random mask, `(out, in)` or `(out, in, height, width)`."""
        rng, out, columns = self._rng, shape[0], int(np.prod(shape[1:]))
        density = self._densities.get(len(self.layers), 1.0)
        self.layers.append(shape)
        (mask,) = masks(rng, [(out, columns)], 1.0 - density, "random")
        weight = np.zeros(mask.shape, np.float32)
        weight[mask] = rng.standard_normal(int(mask.sum()), np.float32)
        weight *= np.float32(np.sqrt(2.0 * out / mask.sum()))
        bias = rng.standard_normal(out, np.float32) * np.float32(0.1)
        csr = sa.CSR.from_dense(weight, mask) if density < 1 else weight
        return sa.Layer(csr, bias, activation)

    def conv(
        self, x: Span, image: Shape, out: int, window: Window, activation: str = "relu"
    ) -> tuple[Span, Shape]:
        """A convolution, and the shape of what it gives."""
        layer = self.layer((out, image[0], *window.kernel), activation)
        span = self._add(out * window.pixels, lambda write: Conv2d((x,), (write,), layer, window))
        return span, (out, *window.output)

    def pool(self, x: Span, window: Window) -> tuple[Span, Shape]:
        """Max pooling."""
        channels = window.image[0]
        span = self._add(channels * window.pixels, lambda write: Pool((x,), (write,), window))
        return span, (channels, *window.output)

    def linear(self, x: Span, out: int, activation: str = "identity") -> Span:
        """A layer of the sketch's density."""
        layer = self.layer((out, x.size), activation)
        return self._add(out, lambda span: Linear((x,), (span,), layer))


def nature(sketch: Sketch, hidden: int, out: int) -> Span:
    """Three convolutions and a layer of `hidden`."""
    x, image = sketch.inputs, sketch.image
    for channels, kernel, stride in ((32, 8, 4), (64, 4, 2), (64, 3, 1)):
        window = Window(image, (kernel, kernel), (stride, stride))
        x, image = sketch.conv(x, image, channels, window)
    return sketch.linear(sketch.linear(x, hidden, "relu"), out)


def impala(sketch: Sketch, hidden: int, out: int) -> Span:
    """Three blocks: convolution, pool, two residuals of two convolutions with relu before each."""
    x, image = sketch.inputs, sketch.image
    for channels in (16, 32, 32):
        x, image = sketch.conv(x, image, channels, _same(image), "identity")
        x, image = sketch.pool(x, Window(image, (3, 3), (2, 2), (1, 1, 1, 1)))
        for _ in range(2):
            y, _ = sketch.conv(sketch.relu(x), image, channels, _same(image))
            y, _ = sketch.conv(y, image, channels, _same(image), "identity")
            x = sketch.add(x, y)
    return sketch.linear(sketch.linear(sketch.relu(x), hidden, "relu"), out)


def minatar(sketch: Sketch, hidden: int, out: int) -> Span:
    """One convolution of 16 channels and a layer of `hidden`."""
    x, _ = sketch.conv(sketch.inputs, sketch.image, 16, Window(sketch.image, (3, 3)))
    return sketch.linear(sketch.linear(x, hidden, "relu"), out)


def _same(image: Shape) -> Window:
    return Window(image, (3, 3), (1, 1), (1, 1, 1, 1))


#: How each is drawn: image, hidden units, outputs.
IMAGES: dict[str, tuple[Callable[[Sketch, int, int], Span], Shape, int, int]] = {
    "NatureCNN 4x84x84": (nature, (4, 84, 84), 512, 6),
    "IMPALA 3x64x64": (impala, (3, 64, 64), 256, 15),
    "MinAtar 4x10x10": (minatar, (4, 10, 10), 128, 6),
}


def erk(layers: Sequence[tuple[int, ...]], density: float) -> dict[int, float]:
    """Densities by number of the layer: `sum(shape) / prod(shape)` times what meets `density`."""
    sizes = [float(np.prod(shape)) for shape in layers]
    raw = [sum(shape) / size for shape, size in zip(layers, sizes, strict=True)]
    full: set[int] = set()
    while True:
        left = density * sum(sizes) - sum(sizes[n] for n in full)
        scale = left / sum(raw[n] * sizes[n] for n in range(len(sizes)) if n not in full)
        over = {n for n in range(len(sizes)) if n not in full and scale * raw[n] >= 1}
        if not over:
            return {n: 1.0 if n in full else scale * raw[n] for n in range(len(sizes))}
        full |= over


def case(name: str, sparsity: float) -> Case:
    """The network of that name; drawn twice, first to see its layers."""
    draw, image, hidden, out = IMAGES[name]
    blank = Sketch(name, image, {})
    draw(blank, hidden, out)
    sketch = Sketch(name, image, erk(blank.layers, 1.0 - sparsity) if sparsity else {})
    policy = sketch.policy(draw(sketch, hidden, out))
    return Case(name, "erk", round(sparsity, 4), policy)


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print how many times faster than ONNX Runtime each is."""
    family = programs.Family("images", __doc__, tuple(IMAGES), case, "erk")
    return family.compare(arguments)


if __name__ == "__main__":
    raise SystemExit(main())

"""Parts of RAFT's encoders: convolutions, norms, residual blocks.

B batch, H W rows and columns, C channels, O output channels, s stride.
"""

import functools
import math
from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp

EPSILON = 1e-5
MOMENTUM = 0.9  # of the running statistics; torch calls it 0.1

kaiming = nn.initializers.variance_scaling(2.0, "fan_out", "normal")
torch_default = nn.initializers.variance_scaling(1 / 3, "fan_in", "uniform")


class Patches(NamedTuple):
    """A kernel [kh,kw,C,O] for the product with patches."""

    kernel: jax.Array


class Winograd(NamedTuple):
    """A 3x3 kernel for tiles of 2x2 pixels (Lavin and Gray, 2016): [4,4,C,O]."""

    kernel: jax.Array


def convolve(x_BHWC, kernel, stride=1):
    """Convolution padded by (size - 1) / 2 on every side, also with a stride: [B,H/s,W/s,O].

    kernel: [kh,kw,C,O] of odd sizes, or without a stride one of `as_products`. A 1x1 kernel is a
    matrix product; XLA on a CPU is several times slower with 3 channels than with 4.
    """
    if isinstance(kernel, Winograd):
        return convolve_winograd(x_BHWC, kernel.kernel)
    if isinstance(kernel, Patches):
        return convolve_patches(x_BHWC, kernel.kernel)
    if kernel.shape[:2] == (1, 1):
        return jnp.dot(x_BHWC[:, ::stride, ::stride], kernel[0, 0])
    if kernel.shape[2] == 3:
        x_BHWC = jnp.pad(x_BHWC, ((0, 0), (0, 0), (0, 0), (0, 1)))
        kernel = jnp.pad(kernel, ((0, 0), (0, 0), (0, 1), (0, 0)))
    padding, layout = half_padding(kernel), ("NHWC", "HWIO", "NHWC")
    strides = (stride, stride)
    return jax.lax.conv_general_dilated(x_BHWC, kernel, strides, padding, dimension_numbers=layout)


def half_padding(kernel):
    return [(size // 2, size // 2) for size in kernel.shape[:2]]


def as_products(kernel):
    """The kernel in a form that `convolve` computes by matrix products alone.

    For loops on a CPU, where XLA takes up to a hundred times longer for the gradient of its own
    convolution than outside of a loop.
    """
    if kernel.shape[:2] == (1, 1):
        return kernel
    if kernel.shape[:2] != (3, 3) or min(kernel.shape[2:]) < 32:
        return Patches(kernel)
    for axis in (0, 1):
        a, b, c = jnp.moveaxis(kernel, axis, 0)
        kernel = jnp.stack([a, (a + b + c) / 2, (a - b + c) / 2, c], axis)
    return Winograd(kernel)


def convolve_patches(x_BHWC, kernel):
    """The product of all patches, side by side, with the kernel: [B,H,W,O]."""
    _, height, width, _ = x_BHWC.shape
    rows, columns, *_, features = kernel.shape
    x = jnp.pad(x_BHWC, ((0, 0), *half_padding(kernel), (0, 0)))
    parts = [x[:, i : i + height, j : j + width] for i in range(rows) for j in range(columns)]
    return jnp.dot(jnp.concatenate(parts, axis=-1), kernel.reshape(-1, features))


def convolve_winograd(x_BHWC, kernel):
    """3x3 convolution with 4/9 of the multiplications: [B,H,W,O]; kernel [4,4,C,O]."""
    batch, height, width, channels = x_BHWC.shape
    rows, columns = -(-height // 2), -(-width // 2)  # of tiles
    padding = ((0, 0), (1, 1 + height % 2), (1, 1 + width % 2), (0, 0))
    x = jnp.pad(x_BHWC, padding)
    tiles = []
    for row in tile_parts([x[:, i : i + 2 * rows - 1 : 2] for i in range(4)]):
        tiles += tile_parts([row[:, :, j : j + 2 * columns - 1 : 2] for j in range(4)])
    tiles = jnp.stack(tiles).reshape(16, -1, channels)
    products = jnp.einsum("tnc,tco->tno", tiles, kernel.reshape(16, channels, -1))
    products = products.reshape(4, 4, batch, rows, columns, -1)
    pixels = [jnp.stack(pixel_parts(line), axis=3) for line in pixel_parts(products)]
    pixels = jnp.stack(pixels, axis=2).reshape(batch, 2 * rows, 2 * columns, -1)
    return pixels[:, :height, :width]


def tile_parts(lines):
    a, b, c, d = lines
    return [a - c, b + c, c - b, b - d]


def pixel_parts(products):
    a, b, c, d = products
    return [a + b + c, b - c - d]


class Weights(nn.Module):
    """(kernel [kh,kw,C,O], bias [O]) of a convolution, drawn as torch draws them."""

    features: int
    kernel: tuple[int, int]
    init: nn.initializers.Initializer = torch_default

    @nn.compact
    def __call__(self, inputs):
        shape = (*self.kernel, inputs, self.features)
        limit = 1 / math.sqrt(inputs * math.prod(self.kernel))

        def uniform(key, shape):
            return jax.random.uniform(key, shape, minval=-limit, maxval=limit)

        return self.param("kernel", self.init, shape), self.param("bias", uniform, (self.features,))


class BatchNorm(nn.Module):
    """As torch: frozen statistics, or in training those of the batch, followed by running ones.

    `count` is the number of batches seen; nothing depends on it.
    """

    @nn.compact
    def __call__(self, x_BHWC, train):
        width = x_BHWC.shape[-1:]
        scale = self.param("scale", nn.initializers.ones, width)
        bias = self.param("bias", nn.initializers.zeros, width)
        mean = self.variable("batch_stats", "mean", jnp.zeros, width)
        var = self.variable("batch_stats", "var", jnp.ones, width)
        count = self.variable("batch_stats", "count", jnp.zeros, (), jnp.int32)
        now_mean, now_var = mean.value, var.value
        if train:
            now_mean, now_var = (f(x_BHWC, axis=(0, 1, 2)) for f in (jnp.mean, jnp.var))
            if not self.is_initializing():
                size = x_BHWC.size / x_BHWC.shape[-1]
                mean.value = MOMENTUM * mean.value + (1 - MOMENTUM) * now_mean
                unbiased = now_var * size / (size - 1)
                var.value = MOMENTUM * var.value + (1 - MOMENTUM) * unbiased
                count.value = count.value + 1
        return (x_BHWC - now_mean) * (jax.lax.rsqrt(now_var + EPSILON) * scale) + bias


def instance_norm(x_BHWC):
    """Every channel of every image to mean 0 and variance 1; no parameters."""
    mean = jnp.mean(x_BHWC, axis=(1, 2), keepdims=True)
    var = jnp.var(x_BHWC, axis=(1, 2), keepdims=True)
    return (x_BHWC - mean) * jax.lax.rsqrt(var + EPSILON)


class ConvNorm(nn.Module):
    """Convolution, norm ("instance", "batch" or "" for none; in float32) and, if wanted, ReLU."""

    features: int
    kernel: int
    stride: int
    norm: str
    relu: bool
    dtype: jnp.dtype

    def setup(self):
        self.weights = Weights(self.features, (self.kernel, self.kernel), kaiming)
        nn.share_scope(self, self.weights)
        if self.norm == "batch":
            self.batch_norm = BatchNorm(name="norm")

    def __call__(self, x_BHWC, train=False):
        kernel, bias = (w.astype(self.dtype) for w in self.weights(x_BHWC.shape[-1]))
        x_BHWC = convolve(x_BHWC.astype(self.dtype), kernel, self.stride) + bias
        if self.norm == "instance":
            x_BHWC = instance_norm(x_BHWC.astype(jnp.float32))
        elif self.norm == "batch":
            x_BHWC = self.batch_norm(x_BHWC.astype(jnp.float32), train)
        x_BHWC = x_BHWC.astype(self.dtype)
        return nn.relu(x_BHWC) if self.relu else x_BHWC


class Block(nn.Module):
    """Residual block: two 3x3 convolutions, or as a bottleneck 1x1, 3x3, 1x1 of a quarter width."""

    width: int
    stride: int
    bottleneck: bool
    norm: str
    dtype: jnp.dtype

    @nn.compact
    def __call__(self, x_BHWC, train):
        conv = functools.partial(ConvNorm, norm=self.norm, dtype=self.dtype)
        narrow = self.width // 4
        layers = [(self.width, 3, self.stride), (self.width, 3, 1)]
        if self.bottleneck:
            layers = [(narrow, 1, 1), (narrow, 3, self.stride), (self.width, 1, 1)]
        y_BHWC = x_BHWC
        for i, layer in enumerate(layers, 1):
            y_BHWC = conv(*layer, relu=True, name=f"conv{i}")(y_BHWC, train)
        if self.stride > 1:
            x_BHWC = conv(self.width, 1, self.stride, relu=False, name="shortcut")(x_BHWC, train)
        return nn.relu(x_BHWC + y_BHWC)


class Encoder(nn.Module):
    """Frames in [-1,1] to features of cells of 8x8 pixels: [B,H/8,W/8,widths[-1]]."""

    widths: tuple[int, ...]  # of the stem, of three stages of two blocks, of the output
    bottleneck: bool
    norm: str
    dtype: jnp.dtype

    @nn.compact
    def __call__(self, x_BHWC, train=False):
        stem, *stages, out = self.widths
        kinds = {"norm": self.norm, "dtype": self.dtype}
        x_BHWC = ConvNorm(stem, 7, 2, relu=True, name="stem", **kinds)(x_BHWC, train)
        for stage, width in enumerate(stages, 1):
            for i, stride in enumerate((1 if stage == 1 else 2, 1)):
                block = Block(width, stride, self.bottleneck, name=f"layer{stage}_{i}", **kinds)
                x_BHWC = block(x_BHWC, train)
        last = {"relu": False, "norm": "", "dtype": self.dtype}
        return ConvNorm(out, 1, 1, name="out", **last)(x_BHWC)

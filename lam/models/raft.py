"""RAFT optical flow (Teed and Deng, 2020), small and large, to the letter of torchvision's.

B batch, H W pixels, h w cells of 8x8 pixels, C channels, U updates. Flow is (dx, dy), from frame 1
to frame 2, at the coordinates of frame 1: in pixels, or within the net in cells (`_Bhw2`).
"""

import dataclasses
from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp

from lam.models import raft_update as step
from lam.models.raft_parts import Encoder, Weights
from lam.models.raft_update import LEVELS, STRIDE

SMALLEST = 128  # pixels of a side; the coarsest of four levels then has 2 cells


@dataclasses.dataclass(frozen=True)
class Widths:
    """What differs between the two sizes."""

    feature: tuple[int, ...]  # of the feature encoder, see Encoder
    bottleneck: bool
    context_norm: str
    hidden: int
    context: int
    radius: int
    corr: tuple[int, ...]  # convolutions of the motion encoder on the windows: 1x1, then 3x3
    flow: tuple[int, int]  # and on the flow: 7x7, 3x3
    motion: int
    gru: tuple[tuple[int, int], ...]  # kernels
    head: int
    mask: int  # width of the mask head; 0 for bilinear upsampling


SIZES = {
    "small": Widths(
        feature=(32, 32, 64, 96, 128), bottleneck=True, context_norm="", hidden=96, context=64,
        radius=3, corr=(96,), flow=(64, 32), motion=82, gru=((3, 3),), head=128, mask=0,
    ),
    "large": Widths(
        feature=(64, 64, 96, 128, 256), bottleneck=False, context_norm="batch", hidden=128,
        context=128, radius=4, corr=(256, 192), flow=(128, 64), motion=128, gru=((1, 5), (5, 1)),
        head=256, mask=256,
    ),
}  # fmt: skip


class Forms(NamedTuple):
    """How to compute what can be computed in several ways with the same result."""

    lookup: str  # "gather" or "matmul", see raft_update.lookup
    products: bool  # convolutions of the update by matrix products alone

    @classmethod
    def of_platform(cls, dtype):
        """The fastest: as measured on one CPU core; elsewhere the libraries choose convolutions."""
        if jax.default_backend() == "cpu":
            return cls("gather", dtype == jnp.float32)
        return cls("matmul", False)


class Layers(nn.Module):
    """Weights of named convolutions, in `dtype`: {name: (kernel, bias)}."""

    table: tuple[tuple[str, int, int, tuple[int, int]], ...]  # name, inputs, features, kernel
    dtype: jnp.dtype

    @nn.compact
    def __call__(self):
        weights = {
            name: Weights(features, kernel, name=name)(inputs)
            for name, inputs, features, kernel in self.table
        }
        return jax.tree.map(lambda x: x.astype(self.dtype), weights)


class Raft(nn.Module):
    """Flow of frames float [B,H,W,3] in [-1,1], RGB, H and W multiples of 8 and at least 128.

    For other frames and values see `estimate`.

    Attributes:
      size: "small" (990,162 parameters) or "large" (5,257,536).
      dtype: of the context encoder and of the update; coordinates and flow are float32.
      feature_dtype: of the feature encoder. In bfloat16 it alone moves flow by up to 0.1 px on
        average, five times more than all the rest.
      forms: None for the fastest of the platform.
      remat: recompute each update in the backward pass instead of keeping its activations.
    """

    size: str = "small"
    dtype: jnp.dtype = jnp.float32
    feature_dtype: jnp.dtype = jnp.float32
    forms: Forms | None = None
    remat: bool = False

    def setup(self):
        w = self.widths = SIZES[self.size]
        context = (*w.feature[:-1], w.hidden + w.context)
        self.feature = Encoder(w.feature, w.bottleneck, "instance", self.feature_dtype)
        self.context = Encoder(context, w.bottleneck, w.context_norm, self.dtype)
        windows = LEVELS * (2 * w.radius + 1) ** 2
        corr = zip((windows, *w.corr), w.corr, (1, 3), strict=False)
        flow = zip((2, *w.flow), w.flow, (7, 3), strict=False)
        named = {"corr": corr, "flow": flow}
        motion = [(f"{k}{i}", *x) for k, rows in named.items() for i, x in enumerate(rows, 1)]
        motion.append(("join1", w.corr[-1] + w.flow[-1], w.motion - 2, 3))
        self.motion = self.layers(motion)
        inputs = w.hidden + w.context + w.motion
        self.gru = [self.layers([(g, inputs, w.hidden, k) for g in "zrq"]) for k in w.gru]
        self.head = self.layers([("conv1", w.hidden, w.head, 3), ("conv2", w.head, 2, 3)])
        if w.mask:
            out = 9 * STRIDE**2
            self.mask = self.layers([("conv1", w.hidden, w.mask, 3), ("conv2", w.mask, out, 1)])

    def layers(self, table):
        rows = ((*row, k if isinstance(k, tuple) else (k, k)) for *row, k in table)
        return Layers(tuple(rows), self.dtype)

    def __call__(self, first, second, updates=12, flow_init=None, every=False, train=False):
        """Flow in pixels: float32 [B,H,W,2].

        Args:
          updates: of the flow, at least 1.
          flow_init: float32 [B,h,w,2] in cells to start from, instead of zero.
          every: the flow after each update: float32 [U,B,H,W,2], for the sequence loss. Otherwise
            only the last is made, and memory does not depend on the number of updates.
          train: the statistics of the batch in batch norm; make "batch_stats" mutable.
        """
        check_frames(first, second)
        forms = self.forms or Forms.of_platform(self.dtype)
        levels = step.correlation_pyramid(*self.encode(first, second))
        levels = step.prepare_lookup(levels, self.widths.radius, forms.lookup)
        hidden, context = self.encode_context(first, train)
        flow = jnp.zeros((*hidden.shape[:3], 2)) if flow_init is None else flow_init
        layers = self.update_layers(context, forms.products)
        mask = self.mask() if self.widths.mask else None

        def body(carry, _):
            hidden, flow = self.update(layers, levels, forms, *carry)
            return (hidden, flow), upsample(mask, hidden, flow) if every else None

        body = jax.checkpoint(body, prevent_cse=False) if self.remat else body
        carry = (hidden, flow.astype(jnp.float32))
        carry, flows_UBHW2 = jax.lax.scan(body, carry, length=updates)
        return flows_UBHW2 if every else upsample(mask, *carry)

    def encode(self, first, second):
        """Features of both frames, each [B,h,w,C]."""
        return jnp.split(self.feature(jnp.concatenate([first, second])), 2)

    def encode_context(self, first, train=False):
        """(first hidden state, context), each [B,h,w,C]."""
        hidden, context = jnp.split(self.context(first, train), [self.widths.hidden], axis=-1)
        return nn.tanh(hidden), nn.relu(context)

    def update_layers(self, context, products):
        """What an update needs of weights and context, made once."""
        return {
            "motion": step.prepare_layers(self.motion(), products),
            "gates": [step.gates(x(), self.widths.hidden, context, products) for x in self.gru],
            "head": step.prepare_layers(self.head(), products),
        }

    def update(self, layers, levels, forms, hidden, flow_Bhw2):
        """One update: (hidden state, flow in cells)."""
        flow_Bhw2 = jax.lax.stop_gradient(flow_Bhw2)
        batch, height, width, _ = flow_Bhw2.shape
        grid_hw2 = jnp.stack(jnp.meshgrid(jnp.arange(width), jnp.arange(height)), axis=-1)
        coordinates_P2 = (flow_Bhw2 + grid_hw2).reshape(-1, 2)
        corr = step.lookup(levels, coordinates_P2, self.widths.radius, forms.lookup)
        corr = corr.reshape(batch, height, width, -1).astype(self.dtype)
        motion = step.motion(layers["motion"], corr, flow_Bhw2.astype(self.dtype))
        for gates in layers["gates"]:
            hidden = step.gru(gates, hidden, motion)
        return hidden, flow_Bhw2 + step.head(layers["head"], hidden).astype(jnp.float32)


def shapes(size):
    """The tree of variables of a size, {"params", "batch_stats" of the large one}, of shapes."""
    frame = jax.ShapeDtypeStruct((1, SMALLEST, SMALLEST, 3), jnp.float32)
    return jax.eval_shape(Raft(size).init, jax.random.key(0), frame, frame)


def size_of(params):
    """ "small" or "large": which size these parameters are of; only the large has a mask head."""
    return "large" if "mask" in params else "small"


def upsample(mask_layers, hidden, flow_Bhw2):
    """Flow in pixels: float32 [B,H,W,2]."""
    if mask_layers is None:
        return step.upsample_bilinear(flow_Bhw2)
    return step.upsample_convex(flow_Bhw2, 0.25 * step.head(mask_layers, hidden))


def check_frames(first, second):
    """ValueError unless both have one shape that the net can take."""
    height, width = first.shape[1:3]
    if first.shape != second.shape:
        raise ValueError(f"frames of one shape are needed, got {first.shape} and {second.shape}")
    if first.shape[3:] != (3,) or height % STRIDE or width % STRIDE:
        raise ValueError(f"frames must be [B,H,W,3] with H and W divisible by 8: {first.shape}")
    if min(height, width) < SMALLEST:
        raise ValueError(f"frames must have at least {SMALLEST} pixels a side: {first.shape}")


def estimate(model, variables, first, second, updates=12, flow_init=None):
    """Flow between frames of any size, float32 [B,H,W,2] in pixels; to be used inside `jit`.

    Frames with a side below 128 px are enlarged by a whole factor and the flow is averaged back;
    then the border is repeated up to a multiple of 8, half on either side, and cut off the flow.

    Args:
      model, variables: a Raft and its {"params", and "batch_stats" for the large one}.
      first, second: [B,H,W,3] RGB, uint8 0..255 or float in [0,1].
      flow_init: float32 [B,H,W,2] in pixels to start from, such as the flow of the pair before.
    """
    height, width = first.shape[1:3]
    factor = max(1, -(-SMALLEST // min(height, width)))
    spare = [-size * factor % STRIDE for size in (height, width)]
    margins = [(n // 2, n - n // 2) for n in spare]
    first, second = (fit(normalise(x), factor, margins) for x in (first, second))
    if flow_init is not None:
        flow_init = block_mean(fit(flow_init * factor, factor, margins), STRIDE) / STRIDE
    flow = model.apply(variables, first, second, updates, flow_init)
    (top, _), (left, _) = margins
    flow = flow[:, top : top + height * factor, left : left + width * factor]
    return block_mean(flow, factor) / factor


def normalise(frames):
    """uint8 0..255 or float 0..1 -> float32 in [-1,1]."""
    scale = 127.5 if frames.dtype == jnp.uint8 else 0.5
    return frames.astype(jnp.float32) / scale - 1


def fit(x_BHWC, factor, margins):
    """Enlarged by a whole factor, bilinear, then the border repeated by (before, after) margins."""
    batch, height, width, channels = x_BHWC.shape
    if factor > 1:
        size = (batch, height * factor, width * factor, channels)
        x_BHWC = jax.image.resize(x_BHWC, size, "linear")
    return jnp.pad(x_BHWC, ((0, 0), *margins, (0, 0)), mode="edge")


def block_mean(x_BHWC, side):
    """Means of blocks of side x side pixels."""
    batch, height, width, channels = x_BHWC.shape
    blocks = x_BHWC.reshape(batch, height // side, side, width // side, side, channels)
    return blocks.mean(axis=(2, 4)) if side > 1 else x_BHWC

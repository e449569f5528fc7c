"""What RAFT does in every update, as pure functions: likeness, motion, GRU, upsampling.

B batch, H W pixels, h w cells of 8x8 pixels, C channels, P = B*h*w cells of frame 1, X Y columns
and rows of a pyramid level, I J columns and rows of a window. A layer is a pair (kernel, bias),
the kernel in any form that `raft_parts.convolve` takes.
"""

import math
from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp

from lam.models.raft_parts import as_products, convolve

STRIDE = 8  # pixels of a cell
LEVELS = 4  # of the correlation pyramid
EXACT = jax.lax.Precision.HIGHEST  # coordinates and what is sampled at them: no TF32


def correlation_pyramid(first_BhwC, second_BhwC):
    """Likeness of every cell of frame 1 to all of frame 2: float32 [P,X,Y] for each level.

    Level n is at 2^n cells, by 2x2 means of frame 2 (an odd last row or column is left out). The
    mean of the products is the product with the mean, so the features are pooled, not the volume.
    Columns come before rows because that is their order in RAFT's windows.
    """
    batch, _, _, width = first_BhwC.shape
    first_BPC = first_BhwC.reshape(batch, -1, width).astype(jnp.float32) / math.sqrt(width)
    level_BXYC = second_BhwC.swapaxes(1, 2).astype(jnp.float32)
    levels = []
    for _ in range(LEVELS):
        volume_BPXY = jnp.einsum("bpc,bxyc->bpxy", first_BPC, level_BXYC)
        levels.append(volume_BPXY.reshape(-1, *volume_BPXY.shape[2:]))
        level_BXYC = nn.avg_pool(level_BXYC, (2, 2), (2, 2))
    return levels


def prepare_lookup(levels_PXY, radius, form):
    """What `lookup` reads, made once: for "gather" the levels within a margin of zeros."""
    margin = 2 * radius + 2 if form == "gather" else 0
    return [jnp.pad(x, ((0, 0), (margin, margin), (margin, margin))) for x in levels_PXY]


def lookup(levels_PXY, coordinates_P2, radius, form):
    """Windows of all levels around coordinates (x, y) in cells: float32 [P, levels*(2*radius+1)^2].

    Bilinear, zeros outside. Entry level*(2r+1)^2 + i*(2r+1) + j is the likeness at
    (x / 2^level + i - r, y / 2^level + j - r): the first index moves x.
    levels: of `prepare_lookup` with the same radius and form ("gather" or "matmul").
    """
    window = {"gather": gather_window, "matmul": matmul_window}[form]
    found = [window(x, coordinates_P2 / 2**n, radius) for n, x in enumerate(levels_PXY)]
    return jnp.concatenate([x.reshape(len(x), -1) for x in found], axis=-1)


def gather_window(level_PXY, coordinates_P2, radius):
    """One gather of the whole cells around the window, then a blend, as all share a fraction."""
    side = 2 * radius + 2
    last = jnp.asarray(level_PXY.shape[1:]) - side
    floor_P2 = jnp.floor(coordinates_P2)
    start_P2 = jnp.clip(floor_P2 - radius + side, 0, last).astype(jnp.int32)
    patch = jax.vmap(lambda cells_XY, start: jax.lax.dynamic_slice(cells_XY, start, (side, side)))
    cells_PIJ = patch(level_PXY, start_P2)
    x_P11, y_P11 = jnp.moveaxis((coordinates_P2 - floor_P2)[..., None, None], 1, 0)
    cells_PIJ = cells_PIJ[:, :-1] * (1 - x_P11) + cells_PIJ[:, 1:] * x_P11
    return cells_PIJ[..., :-1] * (1 - y_P11) + cells_PIJ[..., 1:] * y_P11


def matmul_window(level_PXY, coordinates_P2, radius):
    """Two products with triangular weights, nothing gathered; reads the whole level."""
    across_PIX, down_PJY = (
        triangles(coordinates_P2[:, axis], size, radius)
        for axis, size in enumerate(level_PXY.shape[1:])
    )
    columns_PIY = jnp.einsum("pix,pxy->piy", across_PIX, level_PXY, precision=EXACT)
    return jnp.einsum("piy,pjy->pij", columns_PIY, down_PJY, precision=EXACT)


def triangles(x_P, size, radius):
    """Bilinear weights of `size` cells at x - radius .. x + radius: float32 [P,2*radius+1,size]."""
    place_PI1 = (x_P[:, None] + jnp.arange(-radius, radius + 1))[..., None]
    return nn.relu(1 - jnp.abs(place_PI1 - jnp.arange(size)))


def prepare_layers(layers, products):
    """Layers by name as the updates use them; `products`: by matrix products alone."""
    if not products:
        return layers
    return {name: (as_products(kernel), bias) for name, (kernel, bias) in layers.items()}


def stack(x, layers):
    """Convolutions, each followed by a ReLU."""
    for layer in layers:
        x = nn.relu(conv(x, layer))
    return x


def conv(x, layer):
    kernel, bias = layer
    return convolve(x, kernel) + bias


def motion(layers, corr_BhwC, flow_Bhw2):
    """Features of windows and flow, the flow itself last: [B,h,w,C]."""
    groups = {key: [layers[name] for name in layers if key in name] for key in ("corr", "flow")}
    joined = [stack(x, groups[k]) for k, x in (("corr", corr_BhwC), ("flow", flow_Bhw2))]
    x = stack(jnp.concatenate(joined, axis=-1), [layers["join1"]])
    return jnp.concatenate([x, flow_Bhw2], axis=-1)


class Gates(NamedTuple):
    """A GRU's kernels for hidden state and motion, and what its gates get from the context."""

    zr_kernel: jax.Array  # or another form of it, see `raft_parts.as_products`
    q_kernel: jax.Array
    zr_context: jax.Array  # [B,h,w,2*hidden], biases included
    q_context: jax.Array  # [B,h,w,hidden]


def gates(layers, hidden, context_BhwC, products):
    """Gates of a context, which is the same in all updates: its part is computed once.

    layers: {"z", "r", "q"}, kernels over [hidden state, context, motion].
    """
    zr = [jnp.concatenate(pair, axis=-1) for pair in zip(layers["z"], layers["r"], strict=True)]
    split = [hidden, hidden + context_BhwC.shape[-1]]
    found = []
    for kernel, bias in (zr, layers["q"]):
        state, context, moved = jnp.split(kernel, split, axis=2)
        given = convolve(context_BhwC, context) + bias
        kernel = jnp.concatenate([state, moved], axis=2)
        found.append((as_products(kernel) if products else kernel, given))
    (zr_kernel, zr_context), (q_kernel, q_context) = found
    return Gates(zr_kernel, q_kernel, zr_context, q_context)


def gru(gates, hidden_BhwC, motion_BhwC):
    """The next hidden state."""
    x = jnp.concatenate([hidden_BhwC, motion_BhwC], axis=-1)
    zr = nn.sigmoid(convolve(x, gates.zr_kernel) + gates.zr_context)
    z, r = jnp.split(zr, 2, axis=-1)
    x = jnp.concatenate([r * hidden_BhwC, motion_BhwC], axis=-1)
    q = nn.tanh(convolve(x, gates.q_kernel) + gates.q_context)
    return (1 - z) * hidden_BhwC + z * q


def head(layers, x_BhwC):
    """3x3 convolution, ReLU, convolution."""
    return conv(stack(x_BhwC, [layers["conv1"]]), layers["conv2"])


def upsample_bilinear(flow_Bhw2):
    """Flow of cells to pixels, first and last cells on first and last pixels: [B,H,W,2]."""
    rows, columns = (stretch(size) for size in flow_Bhw2.shape[1:3])
    flow_BHw2 = jnp.einsum("ri,bijc->brjc", rows, STRIDE * flow_Bhw2, precision=EXACT)
    return jnp.einsum("sj,brjc->brsc", columns, flow_BHw2, precision=EXACT)


def stretch(size):
    """Matrix of linear interpolation, corners aligned: float32 [8*size,size]."""
    place = jnp.arange(STRIDE * size) * ((size - 1) / (STRIDE * size - 1))
    return nn.relu(1 - jnp.abs(place[:, None] - jnp.arange(size))).astype(jnp.float32)


def upsample_convex(flow_Bhw2, mask_BhwM):
    """Flow of cells to pixels as a learned mean of the 3x3 cells around: [B,H,W,2].

    mask: logits [B,h,w,9*8*8], neighbour (row by row), row and column within the cell.
    """
    batch, height, width, _ = flow_Bhw2.shape
    around = jnp.pad(STRIDE * flow_Bhw2, ((0, 0), (1, 1), (1, 1), (0, 0)))
    near = [around[:, y : y + height, x : x + width] for y in range(3) for x in range(3)]
    mask = mask_BhwM.reshape(batch, height, width, 9, STRIDE, STRIDE).astype(jnp.float32)
    mask, near = nn.softmax(mask, axis=3), jnp.stack(near, axis=3)
    pixels = jnp.einsum("bhwnrs,bhwnc->bhrwsc", mask, near, precision=EXACT)
    return pixels.reshape(batch, STRIDE * height, STRIDE * width, 2)

"""Motion of images as differentiable operations, and what a flow field says in a few numbers.

B batch, K motions, H W pixels, C channels. Displacements are (dx, dy) in pixels, x right, y down.
`...` stands for any leading axes, also none.
"""

import math

import jax
import jax.numpy as jnp
import numpy as np

MOVING = 0.5  # pixels; sensor noise alone makes dense flow estimators say up to 0.4
STATIC = 0.002  # share of moving pixels under which nothing moves; a mover of 4 % has 0.04
FIT_POINTS = 4096  # pixels of an even grid that the affine background is fitted to, at most
FIT_STEPS = 12  # reweightings
FIT_SCALE = 0.6  # pixels; residuals well below it always count in full


def shift_matrix(shift, sigma, size):
    """Matrices that move a line of pixels by `shift`, blurred by a Gaussian of width `sigma`.

    Row i weighs the source pixels j by exp(-(j - (i - shift))^2 / 2 sigma^2), summing to 1, so that
    content at the border is continued. A wide sigma lets gradients find far displacements.

    Args:
      shift, sigma: float [...], pixels; sigma > 0.
      size: pixels of the line.

    Returns:
      float [..., size, size].
    """
    pixels = jnp.arange(size, dtype=jnp.float32)
    offset = pixels[None, :] - pixels[:, None] + shift[..., None, None]
    return jax.nn.softmax(-0.5 * (offset / sigma[..., None, None]) ** 2, axis=-1)


def translate(image_BHWC, shift_BK2, sigma_BK2):
    """The image moved by each of K displacements with an uncertainty: [B,K,H,W,C]."""
    _, height, width, _ = image_BHWC.shape
    rows_BKHH = shift_matrix(shift_BK2[..., 1], sigma_BK2[..., 1], height)
    columns_BKWW = shift_matrix(shift_BK2[..., 0], sigma_BK2[..., 0], width)
    moved_BKHWC = jnp.einsum("bkij,bjwc->bkiwc", rows_BKHH, image_BHWC)
    return jnp.einsum("bkvw,bkiwc->bkivc", columns_BKWW, moved_BKHWC)


def correlate(first_BHWC, second_BHWC, radius):
    """Likeness of each cell of one map to the cells around it in another: [B,H,W,(2*radius+1)^2].

    Entry (dy, dx), dy slowest, is the dot product of first[y, x] and second[y + dy, x + dx] over
    sqrt(C), with dy and dx from -radius to radius and zeros outside (the cost volume of FlowNet).
    """
    _, height, width, channels = first_BHWC.shape
    side, padded = 2 * radius + 1, width + 2 * radius
    pad = ((0, 0), (radius, radius), (radius, radius), (0, 0))
    second_BHWC = jnp.pad(second_BHWC, pad) / channels**0.5
    bands = jnp.stack([second_BHWC[:, dy : dy + height] for dy in range(side)], axis=2)
    dots_BHWSX = jnp.einsum("bhwc,bhsxc->bhwsx", first_BHWC, bands)
    # column x of cell w is wanted for x - w in 0..2*radius: rows one longer put them in a line
    dots_BHSWX = jnp.swapaxes(dots_BHWSX, 2, 3).reshape(*first_BHWC.shape[:2], side, -1)
    dots_BHSWX = jnp.pad(dots_BHSWX, ((0, 0), (0, 0), (0, 0), (0, width)))
    skewed_BHSWX = dots_BHSWX.reshape(*first_BHWC.shape[:2], side, width, padded + 1)
    return jnp.swapaxes(skewed_BHSWX[..., :side], 2, 3).reshape(*first_BHWC.shape[:3], side**2)


def summary(flow, seconds=1.0, weight=None, moving=MOVING, static=STATIC):
    """What moves where to: a flow field in a few vectors.

    Fit for jit, vmap and grad; a gradient takes the background as given.

    Args:
      flow: float [..., H, W, 2], pixels; finite.
      seconds: between the frames, a number or [...]; 1 leaves the rates per pair of frames.
      weight: float [..., H, W] or None; pixels of weight 0 count nowhere (a mask, a confidence).
      moving: pixels of displacement from which a pixel moves.
      static: share of moving pixels under which a field is static.

    Returns:
      {"raw": the flow as it is, "median": less its median, for cameras that shift, "affine": less
      its `affine_background`, for cameras that also turn or come closer}; each is
        mean, weighted, thresholded  [..., 2] pixels: over all pixels; weighted by the length of the
                                     displacement; over the moving pixels, 0 where there are none
        mean_rate, ..._rate          [..., 2] the same over (W, H) and seconds: frames per second
        moving_fraction              [...] share of the moving pixels, 0..1
        is_static                    [...] bool, moving_fraction < static
        coherence                    [...] |sum| over sum of lengths: 1 all in one direction, 0 the
                                     directions cancel (then no vector tells the motion) or no flow
        background                   [..., 2] pixels: what was taken away, at the frame's centre
    """
    *lead, height, width, _ = flow.shape
    flow, weight = jnp.asarray(flow, jnp.float32), _everywhere(weight, flow)
    pixels = jnp.reshape(weight, (*lead, height * width))
    median = weighted_median(flow.reshape(*lead, height * width, 2), pixels[..., None], axis=-2)
    field, matrix = affine_background(flow, weight)
    backgrounds = {
        "raw": (flow, jnp.zeros_like(median)),
        "median": (flow - median[..., None, None, :], median),
        "affine": (flow - field, matrix[..., :, 2]),
    }
    size = jnp.array([width, height], flow.dtype) * jnp.asarray(seconds)[..., None]
    found = {}
    for name, (left, background) in backgrounds.items():
        vectors, numbers = averages(left, weight, moving)
        rates = {f"{key}_rate": vector / size for key, vector in vectors.items()}
        numbers["is_static"] = numbers["moving_fraction"] < static
        found[name] = {**vectors, **rates, **numbers, "background": background}
    return found


def averages(flow, weight, moving=MOVING):
    """({"mean", "weighted", "thresholded"}, {"moving_fraction", "coherence"}) as in `summary`."""
    speed = length(flow)
    moves = weight * (speed > moving)
    vectors = {
        "mean": weighted_mean(flow, weight),
        "weighted": weighted_mean(flow, weight * speed),
        "thresholded": weighted_mean(flow, moves),
    }
    total, travelled = (jnp.sum(x, axis=(-2, -1)) for x in (weight, weight * speed))
    net = length(jnp.sum(flow * weight[..., None], axis=(-3, -2)))
    fraction = jnp.sum(moves, axis=(-2, -1)) / jnp.where(total > 0, total, 1.0)
    coherence = jnp.minimum(net / jnp.where(travelled > 0, travelled, 1.0), 1.0)
    return vectors, {"moving_fraction": fraction, "coherence": coherence}


def length(vectors):
    """Euclidean length over the last axis; its gradient at zero is zero, not NaN."""
    square = jnp.sum(vectors**2, axis=-1)
    return jnp.where(square > 0, jnp.sqrt(jnp.where(square > 0, square, 1.0)), 0.0)


def endpoint_errors(found, flow, visible=None):
    """Mean end-point errors in pixels, float32 [...]: "epe" over all pixels, "epe_visible" over
    those `visible` (bool [...,H,W]) in both frames where that is given, "zero" of no flow."""
    error, axes = length(found - flow), (-2, -1)
    errors = {"epe": jnp.mean(error, axis=axes), "zero": jnp.mean(length(flow), axis=axes)}
    if visible is not None:
        seen = jnp.maximum(jnp.sum(visible, axis=axes), 1)
        errors["epe_visible"] = jnp.sum(jnp.where(visible, error, 0), axis=axes) / seen
    return errors


def weighted_median(values, weight, axis=-1):
    """The value with half of the weight on either side; the mean of two where two are such.

    Equals the plain median for equal weights; 0 where nothing has weight. float32, found by
    bisection over the bits of the numbers, which is exact and far faster than sorting. Has no
    gradient.
    """
    values = jax.lax.stop_gradient(values).astype(jnp.float32)
    weight = jnp.broadcast_to(jax.lax.stop_gradient(weight), values.shape)
    keys = _order(jax.lax.bitcast_convert_type(values, jnp.int32))
    total = jnp.sum(weight, axis=axis, keepdims=True)

    def halve(_, ends):
        """Moves the two ends of two searches: for at least half, and for more than half."""
        found = []
        for enough, (low, high) in zip((jnp.greater_equal, jnp.greater), ends, strict=True):
            middle = (low & high) + ((low ^ high) >> 1)
            below = jnp.sum(jnp.where(keys <= middle, weight, 0.0), axis=axis, keepdims=True)
            inside = enough(below, total / 2)
            found.append((jnp.where(inside, low, middle + 1), jnp.where(inside, middle, high)))
        return tuple(found)

    ends = (jnp.min(keys, axis=axis, keepdims=True), jnp.max(keys, axis=axis, keepdims=True))
    found = jax.lax.fori_loop(0, 32, halve, (ends, ends))
    lower, upper = (jax.lax.bitcast_convert_type(_order(high), jnp.float32) for _, high in found)
    return jnp.squeeze(jnp.where(total > 0, (lower + upper) / 2, 0.0), axis)


def _order(bits):
    """The bits of a float32 as an integer of the same order, and back."""
    return jnp.where(bits < 0, bits ^ 0x7FFFFFFF, bits)


def affine_background(flow, weight=None):
    """The affine motion that most of the frame follows, by iteratively reweighted least squares.

    Starts at the median flow; pixels far from the fit, by the median of all residuals, lose their
    say (Geman-McClure weights). Movers may cover up to about a third of the frame. No gradient.

    Args:
      flow: float [..., H, W, 2], pixels.
      weight: float [..., H, W] or None, as in `summary`.

    Returns:
      (field [..., H, W, 2], matrix [..., 2, 3]): flow at a pixel is matrix @ (x, y, 1), pixels
      counted from the centre of the frame.
    """
    *lead, height, width, _ = flow.shape
    weight = (
        jnp.ones(flow.shape[:-1]) if weight is None else jnp.broadcast_to(weight, flow.shape[:-1])
    )
    design, scale = _design(height, width)
    step = max(1, math.isqrt(height * width // FIT_POINTS))
    design_ND = design[::step, ::step].reshape(-1, 3)
    flow_N2 = flow[..., ::step, ::step, :].reshape(*lead, -1, 2)
    weight_N = weight[..., ::step, ::step].reshape(*lead, -1)

    def refit(fit_D2, _):
        residual_N = length(flow_N2 - jnp.matmul(design_ND, fit_D2, precision="highest"))
        spread = 1.4826 * weighted_median(residual_N, weight_N)[..., None]
        far_N = residual_N / jnp.maximum(spread, FIT_SCALE)
        return _least_squares(design_ND, flow_N2, weight_N / (1 + far_N**2) ** 2), None

    median_2 = weighted_median(flow_N2, weight_N[..., None], axis=-2)
    start_D2 = jnp.stack([0 * median_2, 0 * median_2, median_2], axis=-2)
    fit_D2, _ = jax.lax.scan(refit, start_D2, None, length=FIT_STEPS)
    field = jnp.einsum("hwd,...dc->...hwc", design, fit_D2, precision="highest")
    return field, jnp.swapaxes(fit_D2, -2, -1) / jnp.array([scale, scale, 1.0], flow.dtype)


def _design(height, width):
    """(x, y, 1) of every pixel [H,W,3], from the centre in half longer sides; that unit."""
    scale = max(height, width, 2) / 2
    y, x = np.mgrid[:height, :width].astype(np.float32)
    x, y = (x - (width - 1) / 2) / scale, (y - (height - 1) / 2) / scale
    return np.stack([x, y, np.ones_like(x)], axis=-1), scale


def _least_squares(design_ND, flow_N2, weight_N):
    """Weighted least squares [..., 3, 2]; zero where no pixel has weight."""
    mass = jnp.sum(weight_N, axis=-1)[..., None]
    share_ND = design_ND * (weight_N / jnp.where(mass > 0, mass, 1.0))[..., None]
    gram_DD = jnp.einsum("...nd,ne->...de", share_ND, design_ND, precision="highest")
    target_D2 = jnp.einsum("...nd,...nc->...dc", share_ND, flow_N2, precision="highest")
    return jnp.linalg.solve(gram_DD + 1e-7 * jnp.eye(3), target_D2)


def _everywhere(weight, flow):
    """A weight for every pixel, 1 where none was given: [..., H, W]."""
    weight = jnp.asarray(1.0 if weight is None else weight, jnp.float32)
    return jnp.broadcast_to(weight, flow.shape[:-1])


def weighted_mean(flow, weight):
    """Mean of a flow [...,H,W,2] by weights [...,H,W]: [...,2], 0 where nothing has weight."""
    total = jnp.sum(weight, axis=(-2, -1))[..., None]
    return jnp.sum(flow * weight[..., None], axis=(-3, -2)) / jnp.where(total > 0, total, 1.0)

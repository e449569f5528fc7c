"""Pairs of frames with exact optical flow, made on the device: lessons for a flow estimator.

Nothing is read and nothing is drawn by hand, so the pairs carry no licence. H W pixels, L layers.
"""

import jax
import jax.numpy as jnp
import numpy as np

from lam.ops import flow_scenes, flow_textures

MOST = 30 / 256  # of the side of the frame, largest motion


def make(key, size, max_motion=0.0, plain=False):
    """A random pair; fit for jit and vmap, the same for the same key.

    Args:
      key: of the pair.
      size: pixels of a side.
      max_motion: pixels, no point moves further; 0 = 30 pixels in 256, in proportion.
      plain: without noise, blur and changes of the light between the frames.

    Returns:
      first, second: uint8 [H,W,3].
      flow: float32 [H,W,2], (dx, dy) in pixels of what is seen at each pixel of frame 1, also where
        it leaves the frame or is hidden in frame 2.
      visible: bool [H,W], seen in frame 2, too.
    """
    scene_key, canvas_key, film_key = jax.random.split(key, 3)
    texels = 1 << max(4, (size - 1).bit_length())  # about one for each pixel
    scene = flow_scenes.scene(scene_key, size, texels, max_motion or MOST * size)
    canvas_keys = jax.random.split(canvas_key, flow_scenes.CANVASES)
    canvases = jax.vmap(lambda key: flow_textures.canvas(key, texels))(canvas_keys)
    first, second, flow, visible = expose(scene, canvases, size)
    frames = jnp.stack([first, second])
    if not plain:
        frames = film(film_key, frames)
    first, second = jnp.round(255 * jnp.clip(frames, 0, 1)).astype(jnp.uint8)
    return first, second, flow, visible


def expose(scene, canvases, size):
    """Both frames of a scene, float32 [H,W,3], flow and visible as in `make`."""
    x, y = _grid(size)
    there, back = jnp.eye(2, 3), flow_scenes.inverse(scene["motion"])
    first, layer = render(scene, canvases, jnp.broadcast_to(there, back.shape), x, y)
    second, _ = render(scene, canvases, back, x, y)
    flow = jnp.stack(_apply((scene["motion"] - there)[layer], x, y), axis=-1)
    x, y = x + flow[..., 0], y + flow[..., 1]
    inside = (x >= 0) & (y >= 0) & (x <= size - 1) & (y <= size - 1)
    visible = inside & (seen(distances(scene, back, x, y)) == layer)
    return first, second, flow, visible


def batch(keys_B, size, max_motion=0.0):
    """`make` for many keys: first, second, flow, visible with a leading B. Fit for jit."""
    one = lambda key: make(key, size, max_motion)  # noqa: E731
    # a processor keeps one pair in its cache; an accelerator wants all at once
    return jax.lax.platform_dependent(
        keys_B, cpu=lambda keys: jax.lax.map(one, keys), default=jax.vmap(one)
    )


def render(scene, canvases, back, x, y):
    """What a frame of a scene shows at points x, y [H,W]: (float32 [H,W,3], layer int32 [H,W]).

    `back` [L,2,3] takes a point of this frame to its place in frame 1. Edges are blended over one
    pixel, the layer behind showing through.
    """
    distance_LHW = distances(scene, back, x, y)
    nothing = jnp.zeros(x.shape, jnp.int32)

    def lay(frame, layer):
        """One more layer over a frame: the topmost at each pixel, the one below it, their edge."""
        above, below, edge = frame
        number, distance = layer
        touched = distance < 0.5
        below = jnp.where(touched, above, below)
        return (
            jnp.where(touched, number, above), below, jnp.where(touched, distance, edge)
        ), None  # fmt: skip

    start = (nothing, nothing, distance_LHW[0])
    (above, below, edge), _ = jax.lax.scan(lay, start, (np.arange(len(distance_LHW)), distance_LHW))
    front, behind = (_colour(scene, canvases, back, layer, x, y) for layer in (above, below))
    image = behind + jnp.clip(0.5 - edge, 0, 1)[..., None] * (front - behind)
    return image, seen(distance_LHW)


def seen(distance_LHW):
    """The topmost layer that covers each point: int32 [H,W]."""
    covered = distance_LHW < 0
    return len(covered) - 1 - jnp.argmax(covered[::-1], axis=0).astype(jnp.int32)


def distances(scene, back, x, y):
    """How far points of a frame lie outside of each layer, pixels, below 0 within: [L,H,W]."""
    # layer after layer, because the compiler would compute it anew for everything that reads it
    return jax.lax.map(lambda layer: _distance(*layer, x, y), (scene, back))


def _distance(layer, back, x, y):
    along, across = _apply(flow_scenes.compose(layer["local"], back), x, y)
    height, *waves = layer["bumps"]
    bumps = height * jnp.sin(waves[0] * along + waves[2]) * jnp.sin(waves[1] * across + waves[3])
    x = jnp.abs(along) - layer["extent"][0] + layer["corner"]
    y = jnp.abs(across) - layer["extent"][1] + layer["corner"]
    beyond = jnp.sqrt(jnp.maximum(x, 0) ** 2 + jnp.maximum(y, 0) ** 2)
    distance = beyond + jnp.minimum(jnp.maximum(x, y), 0) - layer["corner"] + bumps
    ring = layer["ring"]
    distance = jnp.where(ring > 0, jnp.abs(distance + ring) - ring, distance)
    return jnp.where(layer["shown"], distance, jnp.inf)


def _colour(scene, canvases, back, layer, x, y):
    """Colours [H,W,3] of points, each as a point of the layer [H,W] given."""
    # rows that give texture column and row, shade along and across; one look-up for all there is
    rows = flow_scenes.compose(scene["paint"], back).reshape(-1, 12)
    table = jnp.concatenate([rows, scene["colours"].reshape(-1, 12)], axis=1)[layer]
    u, v, along, across = _apply(table[..., :12].reshape(*layer.shape, 4, 3), x, y)
    mixed = flow_textures.sample(canvases, scene["canvas"][layer], u, v)
    colours = table[..., 12:].reshape(*layer.shape, 4, 3)
    colour = colours[..., 0, :] + sum(
        mixed[..., k, None] * colours[..., k + 1, :] for k in range(mixed.shape[-1])
    )
    return jnp.clip(colour, 0, 1) * jnp.maximum(1 + along - across**2, 0.2)[..., None]


def film(key, frames_2HWC):
    """What a camera adds: tones and blur of both frames, other light in the second, and noise."""
    noise_key, key = jax.random.split(key)
    chances = jax.random.uniform(key, (24,))
    happens = chances[:4] < np.array([0.4, 0.2, 0.25, 0.7])  # exposure, shade, focus, noise
    centred = 2 * chances[4:] - 1
    gain, lift = 1 + 0.15 * centred[:3], 0.05 * centred[3]
    saturation = 0.6 + 0.5 * centred[4]
    grey = jnp.mean(frames_2HWC, axis=-1, keepdims=True)
    frames = (grey + saturation * (frames_2HWC - grey)) * gain + lift
    exposure = 1 + happens[0] * (0.2 * centred[5] + 0.05 * centred[6:9])
    x, y = _grid(frames.shape[1])
    slope_x, slope_y, phase = centred[9:12] * np.array([4, 4, np.pi])
    wave = jnp.sin((slope_x * x + slope_y * y) / frames.shape[1] + phase)
    shade = 1 + happens[1] * 0.15 * centred[12] * wave[..., None]
    frames = frames.at[1].multiply(exposure * shade).at[1].add(happens[0] * 0.05 * centred[13])
    width = 0.6 + 0.3 * centred[14] + jnp.stack([0.0, happens[2] * 0.4 * centred[15]])
    frames = jax.vmap(_blur)(frames, jnp.maximum(width, 0.2))
    strength = happens[3] * 6 / 255 * chances[20]
    return frames + strength * jax.random.normal(noise_key, frames.shape)


def _blur(image_HWC, width):
    """Gaussian blur of five pixels; the border goes on."""
    offset = np.arange(-2, 3, dtype=np.float32)
    weights = jnp.exp(-0.5 * (offset / width) ** 2)
    weights /= jnp.sum(weights)
    for axis in (0, 1):
        pad = [(2, 2) if axis == i else (0, 0) for i in range(3)]
        padded = jnp.pad(image_HWC, pad, mode="edge")
        size = image_HWC.shape[axis]
        shifted = (jax.lax.slice_in_dim(padded, i, i + size, axis=axis) for i in range(5))
        image_HWC = sum(weight * part for weight, part in zip(weights, shifted, strict=True))
    return image_HWC


def _grid(size):
    y, x = np.mgrid[:size, :size].astype(np.float32)
    return x, y


def _apply(matrix, x, y):
    """Points x, y [H,W] taken through matrices [..., R, 3]: R arrays [H,W]."""
    return [
        matrix[..., row, 0] * x + matrix[..., row, 1] * y + matrix[..., row, 2]
        for row in range(matrix.shape[-2])
    ]

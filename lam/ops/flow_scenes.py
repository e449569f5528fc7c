"""Scenes of flat layers with known motion: what is where, how it looks and how it moves.

L layers, back to front: a backdrop, a table, three objects, an arm of three links and two fingers,
an object in front, which the hand may hold. Lengths are in sides of the frame until `scene` makes
them pixels. A motion is an affine matrix [2,3], from a point (x, y) of frame 1 to its place in
frame 2.
"""

import jax
import jax.numpy as jnp
import numpy as np

LAYERS, FIRST_LINK = 11, 5
CANVASES = 3
STILL = 0.08  # share of pairs in which nothing moves
CAMERA = 0.6  # share of the others in which the camera moves
ARM, HOLDING = 0.6, 0.25  # shares with an arm, and with something in its hand
SLOWEST = 1 / 16  # of the largest motion; magnitudes are log-uniform from there up
TURN = 2 * np.pi


def scene(key, size, texels, max_motion):
    """A random scene for frames of size x size pixels: {name: float32 [L, ...]}.

    motion   [L,2,3] matrix, pixels; no point of the frame moves further than `max_motion`
    local    [L,2,3] matrix to the layer's own axes in pixels: centre 0, x along
    extent   [L,2] half length and half width, pixels; corner [L] radius of the corners, pixels
    bumps    [L,5] waves on the outline: height in pixels, two frequencies, two phases
    ring     [L] half thickness in pixels of what is only an outline, 0 = filled
    shown    [L] bool
    paint    [L,4,3] rows that take a point of frame 1 to: column and row of its texel; change of
             brightness; root of a darkening
    colours  [L,4,3] colour of the surface, and what each channel of the canvas adds to it
    canvas   [L] int32, its number
    """
    keys = jax.random.split(key, 6)
    still, moved, pan, armed = jax.random.uniform(keys[0], (4,))
    most = jnp.where(still < STILL, 0.0, max_motion / size)
    way = jnp.where(moved < CAMERA, _magnitude(pan, most), 0.0)
    arm, hand, grip = _arm(keys[1], most - way, armed < ARM)
    objects = _objects(keys[2], 4, most - way)
    held = (armed < HOLDING) & (jnp.arange(4) == 3)
    given = {"centre": grip, "motion": hand, "shown": True, "depth": 1.0}
    objects |= {name: _instead(held, given[name], objects[name]) for name in given}
    layers = _layers(_ground(keys[3]), objects, arm)
    layers |= _looks(keys[4], layers["metal"], texels)
    camera = _nearer(layers["depth"], _camera(keys[5], way))
    return _in_pixels(layers | {"motion": compose(camera, layers["motion"])}, size)


def affine(linear, shift, centre):
    """The matrix [...,2,3] of x -> linear @ (x - centre) + centre + shift."""
    moved = jnp.einsum("...ij,...j->...i", linear, centre, precision="highest")
    return jnp.concatenate([linear, (centre + shift - moved)[..., None]], axis=-1)


def compose(outer, inner):
    """The matrix [...,2,3] of x -> outer(inner(x))."""
    product = jnp.einsum("...ij,...jk->...ik", outer[..., :2], inner, precision="highest")
    return product.at[..., 2].add(outer[..., 2])


def inverse(matrix):
    """The matrix [...,2,3] of the way back."""
    (a, b, x), (c, d, y) = (jnp.moveaxis(matrix[..., i, :], -1, 0) for i in (0, 1))
    area = a * d - b * c
    rows = ((d, -b, b * y - d * x), (-c, a, c * x - a * y))
    return jnp.stack([jnp.stack(row, axis=-1) for row in rows], axis=-2) / area[..., None, None]


def rotation(angle):
    """Matrices [...,2,2] that turn by an angle, from x towards y."""
    c, s = jnp.cos(angle), jnp.sin(angle)
    return jnp.stack([jnp.stack([c, -s], axis=-1), jnp.stack([s, c], axis=-1)], axis=-2)


def direction(angle):
    """Unit vectors [...,2]."""
    return jnp.stack([jnp.cos(angle), jnp.sin(angle)], axis=-1)


def length(vectors):
    """Lengths of vectors [...,2]."""
    return jnp.sqrt(jnp.sum(vectors**2, axis=-1))


def _range(chance, low, high):
    """Numbers of 0..1 as evenly spread ones of low..high."""
    low, high = (np.asarray(end, np.float32) for end in (low, high))
    return low + chance * (high - low)


def _log_range(chance, low, high):
    return jnp.exp(_range(chance, np.log(low), np.log(high)))


def _magnitude(chance, most):
    return most * _log_range(chance, SLOWEST, 1.0)


def _instead(mask_L, value, values_L):
    mask_L = mask_L.reshape(-1, *[1] * (values_L.ndim - 1))
    return jnp.where(mask_L, value, values_L)


def _layers(ground, objects, arm):
    """All layers from back to front; the last of the objects is in front of the arm."""
    last = len(objects["ring"]) - 1
    parts = (ground, jax.tree.map(lambda x: x[:last], objects), arm)
    parts = (*parts, jax.tree.map(lambda x: x[last:], objects))
    return jax.tree.map(lambda *layers: jnp.concatenate(layers), *parts)


def _camera(key, way):
    """Pan, turn, zoom and shear in random parts; no point of the frame goes further: [2,3]."""
    chances = jax.random.uniform(key, (2, 6))
    used = chances[0] < np.array([0.8, 0.8, 0.5, 0.5, 0.25, 0.25])
    x, y, turn, zoom, shear, slant = jnp.where(used, 2 * chances[1] - 1, 0.0)
    linear = jnp.array([[zoom + shear, slant - turn], [slant + turn, zoom - shear]])
    shift = jnp.stack([x, y])
    corners = np.array([(-0.5, -0.5), (-0.5, 0.5), (0.5, -0.5), (0.5, 0.5)], np.float32)
    furthest = jnp.max(length(corners @ linear.T + shift))
    share = way / jnp.maximum(furthest, 1e-3)
    return affine(jnp.eye(2) + share * linear, share * shift, jnp.full(2, 0.5))


def _nearer(depth_L, camera):
    """The camera's motion as layers see it that are further away (depth below 1): [L,2,3]."""
    rest = jnp.eye(2, 3)
    return rest + depth_L[:, None, None] * (camera - rest)


def _group(count, **given):
    """A group of `count` layers with the usual values where none is given."""
    usual = {
        "angle": jnp.zeros(count),
        "corner": jnp.zeros(count),  # share of the half width
        "bumps": jnp.zeros((count, 5)),  # height as share of the half width; waves in a half width
        "ring": jnp.zeros(count),  # share of the half width
        "shown": jnp.ones(count, bool),
        "motion": jnp.broadcast_to(jnp.eye(2, 3), (count, 2, 3)),
        "depth": jnp.ones(count),
        "metal": jnp.zeros(count),
    }
    return usual | given


def _ground(key):
    """The backdrop, and a table that begins at a line through the frame and is mostly below it."""
    tilt, line, depth, shown = jax.random.uniform(key, (4,))
    angle = _range(tilt, 0.5 * np.pi - 0.6, 0.5 * np.pi + 0.6)
    middle = 0.5 + (1.0 + _range(line, -0.35, 0.35)) * direction(angle)
    return _group(
        2,
        centre=jnp.stack([jnp.full(2, 0.5), middle]),
        angle=jnp.stack([0.0, angle]),
        extent=jnp.ones((2, 2)),
        shown=jnp.stack([True, shown < 0.6]),
        depth=jnp.stack([_range(depth, 0.5, 1.0), 1.0]),
    )


def _objects(key, count, most):
    """Things of any outline, most of them moving for themselves by up to `most`."""
    chances = jax.random.uniform(key, (20, count))
    half = _log_range(chances[0], 0.04, 0.25)
    height = jnp.maximum(_range(chances[1], -0.4, 0.4), 0.0)
    waves = _range(chances[2:6].T, [2, 2, 0, 0], [5, 5, TURN, TURN])
    centre = chances[6:8].T
    # some of the way by turning and growing, the rest by going
    way = jnp.where(chances[8] < 0.6, _magnitude(chances[9], most), 0.0)
    turning, growing = parts = jnp.maximum(_range(chances[10:12], -0.5, 0.4), 0.0)
    turn, grow = (jnp.minimum(part * way / half, 0.5) for part in (turning, growing))
    sign, other = jnp.where(chances[12:14] < 0.5, -1.0, 1.0)
    linear = rotation(sign * turn) * (1 + other * grow)[:, None, None]
    shift = ((1 - jnp.sum(parts, axis=0)) * way)[:, None] * direction(TURN * chances[14])
    return _group(
        count,
        centre=centre,
        angle=TURN * chances[15],
        extent=half[:, None] * jnp.stack([jnp.ones(count), _range(chances[16], 0.3, 1.0)], axis=-1),
        corner=jnp.clip(_range(chances[17], -0.5, 1.5), 0, 1),
        bumps=jnp.concatenate([height[:, None], waves], axis=-1),
        ring=jnp.where(chances[18] < 0.1, 0.2, 0.0),
        shown=chances[19] < 0.6,
        motion=affine(linear, shift, centre),
    )


def _arm(key, most, shown):
    """Three links and two fingers; the motion of the hand [2,3]; the point it grips [2]."""
    chances = jax.random.uniform(key, (28,))
    side, reach, moves, way, heading = chances[:5]
    length = _range(chances[5:9], [0.3, 0.2, 0.07, 0.05], [0.6, 0.4, 0.15, 0.1])
    width = _range(chances[9:13], [0.05, 0.035, 0.03, 0.012], [0.11, 0.08, 0.05, 0.02])
    bend = _range(chances[13:16], [-0.6, -1.3, -1.0], [0.6, 1.3, 1.0])
    angles = TURN * side + np.pi + jnp.cumsum(bend)
    steps = length[:3, None] * direction(angles)
    base = 0.5 + _range(reach, 0.5, 0.75) * direction(TURN * side)
    joints = base + jnp.concatenate([jnp.zeros((1, 2)), jnp.cumsum(steps, axis=0)])
    # the way of the tip is dealt out to the base, the three joints and the fingers
    parts = -jnp.log1p(-chances[16:21]) * np.array([0.7, 1.0, 1.0, 0.5, 0.2])
    parts *= jnp.where(moves < 0.85, _magnitude(way, most), 0.0) / jnp.maximum(parts.sum(), 1e-3)
    lever = length[:3] + jnp.array([0, 0, 1]) * length[3]
    sign = jnp.where(chances[21:25] < 0.5, -1.0, 1.0)
    turns = rotation(sign[:3] * jnp.minimum(parts[1:4] / lever, 0.7))
    swing = jnp.einsum("lij,lj->li", turns - jnp.eye(2), steps, precision="highest")
    shift = parts[0] * direction(TURN * heading)
    shift += jnp.concatenate([jnp.zeros((1, 2)), jnp.cumsum(swing[:2], axis=0)])  # of the joints
    links = affine(turns, shift, joints[:3])
    across = np.array([[1.0], [-1.0]]) * direction(angles[2] + np.pi / 2)
    opening = sign[3] * parts[4] * across @ turns[2].T
    fingers = affine(jnp.broadcast_to(jnp.eye(2), (2, 2, 2)), opening, jnp.zeros(2))
    grip = joints[3] + 0.6 * length[3] * direction(angles[2])
    half = length / 2 + jnp.append(width[:3], 0.0)
    which = np.array([0, 1, 2, 3, 3])
    arm = _group(
        5,
        centre=jnp.concatenate([joints[:3] + steps / 2, grip + 0.7 * width[2] * across]),
        angle=angles[np.array([0, 1, 2, 2, 2])],
        extent=jnp.stack([half, width], axis=-1)[which],
        corner=jnp.ones(5),
        shown=jnp.broadcast_to(shown, (5,)),
        motion=jnp.concatenate([links, compose(fingers, links[2])]),
        metal=jnp.ones(5),
    )
    return arm, links[2], grip


def _looks(key, metal_L, texels):
    """Texture, colours and shading of every layer; the parts of the arm look alike."""
    normal_key, key = jax.random.split(key)
    normal = jax.random.normal(normal_key, (LAYERS, 4, 3))
    chances = jax.random.uniform(key, (14, LAYERS))
    metal = metal_L[:, None]
    grey = _range(chances[0], 0.1, 0.9)[:, None]
    base = jnp.clip(grey + 0.1 * normal[:, 0], 0.02, 0.98)
    paint = base[FIRST_LINK] + 0.05 * normal[:, 0]
    base = jnp.where((metal > 0) & (grey > 0.3), paint, base)
    contrast = _log_range(chances[1:4].T, 0.06, 0.8) * (1 - 0.6 * metal)
    used = (chances[4:7] < np.float32([[0.85], [0.45], [0.4]])).T
    # towards the other end of the scale: bright marks on dark ground, dark ones on bright
    towards = jnp.where(grey < 0.5, 1.0, -1.0)[..., None] * (1 + 0.3 * normal[:, 1:])
    added = jnp.where(used, contrast, 0.0)[..., None] * towards
    scale, turn = _log_range(chances[7], 0.25, 1.0), TURN * chances[8]
    texture = scale[:, None, None] * rotation(turn)
    along, across = _range(chances[9], -0.3, 0.3), chances[10] * (0.15 + 0.5 * metal_L)
    return {
        "texture": jnp.concatenate([texture, texels * chances[11:13].T[..., None]], axis=-1),
        "canvas": jnp.minimum(chances[13] * CANVASES, CANVASES - 1).astype(jnp.int32),
        "colours": jnp.concatenate([base[:, None], added], axis=1),
        "shade": jnp.stack([along, jnp.sqrt(across)], axis=-1),
    }


def _in_pixels(layers, size):
    """What `scene` returns, from layers in sides of the frame."""
    wide = layers["extent"][:, 1]
    height, waves, phases = jnp.split(layers["bumps"], (1, 3), axis=-1)
    wide_pixels = wide[:, None] * size
    axes = affine(rotation(-layers["angle"]), -layers["centre"], layers["centre"])
    scaled = jnp.array([1.0, 1.0, size])
    local = axes * scaled
    shading = (layers["shade"] / (layers["extent"] * size))[..., None] * local
    paint = jnp.concatenate([compose(layers["texture"], local), shading], axis=-2)
    return {
        "motion": layers["motion"] * scaled,
        "local": local,
        "paint": paint,
        "extent": layers["extent"] * size,
        "corner": layers["corner"] * wide * size,
        "bumps": jnp.concatenate([height * wide_pixels, waves / wide_pixels, phases], axis=-1),
        "ring": layers["ring"] * wide * size,
        **{name: layers[name] for name in ("shown", "canvas", "colours")},
    }

"""The worlds of the tabletop set: what a scene looks like and what happens in an episode.

Table units: x to the right, y away from the viewer, the picture spans about -1..1.
T steps. A pose is (x, y, angle). Everything is a function of (domain, scene number, seed).
"""

from dataclasses import dataclass

import numpy as np

from input_pipeline.errors import DataError
from input_pipeline.tabletop import motion, robots, textures

DOMAINS = tuple(robots.DOMAINS)
EPISODES_MAX = 10_000  # an episode's seed is data set seed * EPISODES_MAX + its number in the scene
CONTROL_HZ = 5.0

COLORS = {
    "red": (0.85, 0.13, 0.12),
    "green": (0.15, 0.65, 0.2),
    "blue": (0.13, 0.3, 0.85),
    "yellow": (0.95, 0.85, 0.15),
    "orange": (0.95, 0.5, 0.1),
    "purple": (0.5, 0.18, 0.65),
    "pink": (0.95, 0.5, 0.68),
    "cyan": (0.2, 0.8, 0.85),
    "white": (0.93, 0.93, 0.9),
    "black": (0.1, 0.1, 0.12),
}
PATTERNS = {
    "disc": ("plain", "plain", "striped", "checked", "spotted"),
    "box": ("plain", "plain", "striped", "checked", "spotted"),
    "ring": ("plain", "plain", "striped"),
    "bar": ("plain", "striped"),
}


@dataclass(frozen=True)
class Item:
    """A thing on the table; fixed things never move."""

    name: str
    shape: tuple
    texture: textures.Texture
    radius: float
    pose: tuple
    movable: bool


@dataclass(frozen=True)
class Camera:
    """Affine view of the table plane; offset in table units, jitter_T2 in pixels at 64 x 64."""

    zoom: float
    squeeze: float  # of y, by the tilt of the camera
    roll: float
    offset: tuple
    jitter_T2: np.ndarray


@dataclass(frozen=True)
class Layer:
    """A rigid flat thing: pose_T3 is [T,3], or [1,3] where it never moves."""

    shape: tuple
    texture: textures.Texture
    pose_T3: np.ndarray


@dataclass(frozen=True)
class Scene:
    """What all episodes of a scene share."""

    domain: str
    camera: Camera
    ground: textures.Texture
    light: np.ndarray
    robot: dict
    items: tuple


@dataclass(frozen=True)
class Episode:
    """One episode: layers from the lowest to the top-most, and what RLDS stores of it."""

    domain: str
    scene: str
    seed: int
    layers: tuple
    camera: Camera
    light: np.ndarray
    state_T3: np.ndarray
    action_T3: np.ndarray
    instruction: str


def _item(rng, name, pose, movable):
    color, pattern, kind = name
    size = rng.uniform(0.12, 0.18) if movable else rng.uniform(0.11, 0.22)
    shape = {
        "disc": ("disc", size),
        "ring": ("ring", size, 0.38 * size),
        "box": ("box", 0.95 * size, rng.uniform(0.7, 0.95) * size, 0.02),
        "bar": ("box", 1.5 * size, 0.5 * size, 0.03),
    }[kind]
    main = np.asarray(COLORS[color])
    other = 0.25 * main if main.mean() > 0.45 else 0.3 * main + 0.7
    texture = textures.sample(rng, pattern, main, other, period=0.75 * size + 0.05, rim=0.45)
    if pattern == "plain":
        texture = textures.sample(rng, pattern, main, 0.75 * main, period=1.0, grain=0.2, rim=0.45)
        words = (color, kind)
    else:
        words = (pattern, color, kind)
    return Item(" ".join(words), shape, texture, size, pose, movable)


def _items(rng):
    count = int(rng.integers(3, 7))
    movable = int(rng.integers(2, count))
    colors = rng.permutation(list(COLORS))
    placed, items = [], []
    for number in range(count):
        reach = 0.58 if number < movable else 0.88
        for _ in range(30):
            spot = rng.uniform(-reach, reach, 2)
            if all(np.hypot(*(spot - other)) > 0.38 for other in placed):
                break
        placed.append(spot)
        kind = str(rng.choice(list(PATTERNS)))
        name = (str(colors[number]), str(rng.choice(PATTERNS[kind])), kind)
        pose = (*map(float, spot), float(rng.uniform(0, np.pi)))
        items.append(_item(rng, name, pose, number < movable))
    return tuple(items)


def sample_scene(domain, number, seed):
    """The scene of that number (int) in a data set of that seed (int); see Scene."""
    rng = np.random.default_rng([seed, DOMAINS.index(domain), number, 0])
    look = robots.DOMAINS[domain]
    camera = Camera(
        zoom=rng.uniform(*look.zoom),
        squeeze=rng.uniform(*look.squeeze),
        roll=np.deg2rad(rng.uniform(-6, 6)),
        offset=tuple(rng.uniform(-0.05, 0.05, 2)),
        jitter_T2=np.zeros((1, 2)),
    )
    light = rng.uniform(0.82, 1.08) * rng.uniform(0.95, 1.05, 3)
    ground, robot = look.ground(rng), look.sample(rng)
    return Scene(domain, camera, ground, light.astype(np.float32), robot, _items(rng))


def _layers(scene, tape):
    """Ground, things at rest, things that move, robot: lowest first."""
    zero = np.zeros((1, 3))
    layers = [Layer(("plane",), scene.ground, zero)]
    layers += [Layer(*part, zero + pose) for *part, pose in robots.rails(scene)]
    still, moved = [], []
    for item, pose_T3 in zip(scene.items, tape.item_pose_MT3, strict=True):
        if np.ptp(pose_T3, axis=0).any():
            moved.append(Layer(item.shape, item.texture, pose_T3))
        else:
            still.append(Layer(item.shape, item.texture, pose_T3[:1]))
    arm = [Layer(*part) for part in robots.parts(scene, tape.hand_T2, tape.open_T)]
    return tuple(layers + still + moved + arm)


def episode_from_seed(domain, scene, seed, *, steps=16, camera_jitter=0.0):
    """The episode that a data set stores under this metadata, without its pictures.

    domain: one of DOMAINS. scene: text like "gantry/0042". seed: int >= 0, as in the metadata.
    steps: int >= 2. camera_jitter: standard deviation of the camera's shake, pixels at 64 x 64.
    Returns Episode: state_T3 float32 (x, y in table units, opening 0..1), action_T3 float32
    (dx, dy in table units, gripper bit 1 = open; the last row is zero motion), layers for render.
    """
    if domain not in DOMAINS:
        raise DataError(f"no tabletop domain {domain!r}; there are {', '.join(DOMAINS)}")
    prefix, _, number = scene.partition("/")
    if prefix != domain or not number.isdigit():
        raise DataError(f"scene is {scene!r}, expected text like '{domain}/0042'")
    base, episode = divmod(int(seed), EPISODES_MAX)
    world = sample_scene(domain, int(number), base)
    rng = np.random.default_rng([base, DOMAINS.index(domain), int(number), 1, episode])
    tape = motion.simulate(rng, world, steps)
    camera = world.camera
    if camera_jitter:
        spread = float(np.float32(camera_jitter))  # as precise as the metadata keeps it
        shake_T2 = rng.normal(0, spread, (steps, 2))
        camera = Camera(camera.zoom, camera.squeeze, camera.roll, camera.offset, shake_T2)
    state_T3 = np.concatenate([tape.hand_T2, tape.open_T[:, None]], 1).astype(np.float32)
    return Episode(
        domain,
        scene,
        int(seed),
        _layers(world, tape),
        camera,
        world.light,
        state_T3,
        tape.action_T3.astype(np.float32),
        motion.instruction(rng, world, tape),
    )


def episode_from_metadata(metadata):
    """The episode of a stored `episode_metadata`: a mapping with domain, scene, seed, steps and
    camera_jitter, as read from the data set (texts may be bytes); see episode_from_seed."""
    domain, scene = (
        value.decode() if isinstance(value, bytes) else str(value)
        for value in (metadata["domain"], metadata["scene"])
    )
    return episode_from_seed(
        domain,
        scene,
        int(metadata["seed"]),
        steps=int(metadata["steps"]),
        camera_jitter=float(metadata["camera_jitter"]),
    )

"""The three robots: how each looks, how it stands, and which rigid parts it is made of.

T steps. A part is (shape, texture, pose_T3) with poses (x, y, angle) in table units; the hand is
the point between the fingers, which point along +x of the hand's own coordinates.
"""

import colorsys
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from input_pipeline.tabletop import textures

_PALM_BACK = 0.18  # from the hand's point back to the middle of the palm


@dataclass(frozen=True)
class Domain:
    """Ranges of the camera and the functions that sample a look and build the parts."""

    zoom: tuple
    squeeze: tuple
    ground: Callable  # rng -> Texture
    sample: Callable  # rng -> dict of the robot's numbers and textures
    angle: Callable  # robot, hand [...,2] -> angle of the hand [...]
    links: Callable  # robot, hand_T2 -> parts below the hand


def _hsv(rng, hue, saturation, value):
    return np.asarray(
        colorsys.hsv_to_rgb(rng.uniform(*hue) % 1, rng.uniform(*saturation), rng.uniform(*value))
    )


def _coat(rng, color, dark=0.55, period=0.3, kinds=("striped", "checked", "plain"), angle=0.0):
    kind = kinds[rng.integers(len(kinds))]
    return textures.sample(
        rng, kind, color, dark * color, period=period, angle=angle, grain=0.15, rim=0.5
    )


def _pose(point_T2, angle_T):
    angle_T = np.broadcast_to(angle_T, point_T2.shape[:1])
    return np.concatenate([point_T2, angle_T[:, None]], 1)


def _ahead(angle, distance):
    return distance * np.stack([np.cos(angle), np.sin(angle)], -1)


# ---- arm: two links from the bottom edge over a wooden table


def _wood(rng):
    light = _hsv(rng, (0.06, 0.11), (0.35, 0.6), (0.6, 0.85))
    angle = rng.uniform(-0.3, 0.3)
    period = rng.uniform(0.22, 0.4)
    return textures.sample(rng, "wood", light, 0.68 * light, period=period, angle=angle)


def _arm(rng):
    skin = _hsv(rng, (0.95, 1.03), (0.65, 0.95), (0.7, 0.95))
    wide = rng.uniform(0.1, 0.135)
    return {
        "base": np.array([rng.uniform(-0.35, 0.35), -1.25]),
        "elbow": rng.choice((-1.0, 1.0)),
        "lengths": (rng.uniform(1.1, 1.2), rng.uniform(1.15, 1.25)),
        "wide": wide,
        "upper": _coat(rng, skin, kinds=("striped", "plain")),
        "lower": _coat(rng, skin, period=0.24, kinds=("striped", "checked")),
        "joint": _coat(rng, np.array([0.25, 0.25, 0.28]), kinds=("plain",)),
        "palm": _coat(rng, np.array([0.9, 0.9, 0.88]), dark=0.3, period=0.15, kinds=("striped",)),
        "finger": _coat(rng, np.array([0.2, 0.2, 0.23]), kinds=("plain",)),
    }


def _arm_angles(robot, hand):
    """Angles of both links for the hand's place, by the law of cosines."""
    first, second = robot["lengths"]
    way = hand - robot["base"]
    far = np.clip(np.hypot(way[..., 0], way[..., 1]), abs(first - second), first + second - 1e-3)
    heading = np.arctan2(way[..., 1], way[..., 0])
    inner = np.arccos((first**2 + far**2 - second**2) / (2 * first * far))
    upper = heading + robot["elbow"] * inner
    elbow = robot["base"] + _ahead(upper, first)
    rest = hand - elbow
    return upper, np.arctan2(rest[..., 1], rest[..., 0])


def _arm_links(robot, hand_T2):
    first, second = robot["lengths"]
    upper_T, lower_T = _arm_angles(robot, hand_T2)
    base_T2 = np.broadcast_to(robot["base"], hand_T2.shape)
    elbow_T2 = base_T2 + _ahead(upper_T, first)
    wide = robot["wide"]
    reach = second - _PALM_BACK
    return [
        (("taper", first, 1.25 * wide, wide), robot["upper"], _pose(base_T2, upper_T)),
        (("taper", reach, wide, 0.65 * wide), robot["lower"], _pose(elbow_T2, lower_T)),
        (("disc", 1.15 * wide), robot["joint"], _pose(elbow_T2, upper_T)),
    ]


# ---- gantry: a bar across with a carriage over grey cloth


def _cloth(rng):
    grey = _hsv(rng, (0.55, 0.68), (0.02, 0.12), (0.5, 0.8))
    period = rng.uniform(0.15, 0.22)
    return textures.sample(rng, "cloth", grey, 0.72 * grey, period=period, coarse=1.2)


def _gantry(rng):
    steel = _hsv(rng, (0.55, 0.66), (0.55, 0.85), (0.5, 0.8))
    return {
        "stem": rng.uniform(0.42, 0.55),
        "bar": rng.uniform(0.08, 0.11),
        "rail": _coat(rng, np.array([0.35, 0.37, 0.4]), kinds=("striped",), angle=1.57),
        "beam": _coat(rng, steel, dark=0.4, period=0.28, kinds=("striped", "checked")),
        "box": _coat(rng, np.array([0.92, 0.85, 0.25]), dark=0.2, period=0.18),
        "rod": _coat(rng, np.array([0.7, 0.72, 0.75]), kinds=("striped",), period=0.16),
        "palm": _coat(rng, steel, dark=0.35, period=0.16, kinds=("checked", "striped")),
        "finger": _coat(rng, np.array([0.95, 0.95, 0.97]), kinds=("plain",)),
    }


def _gantry_links(robot, hand_T2):
    stem = robot["stem"]
    up = np.array([0.0, stem])
    across_T2 = hand_T2 * np.array([0, 1]) + up
    carriage_T2, rod_T2 = hand_T2 + up, hand_T2 + up / 2
    return [
        (("box", 1.6, robot["bar"], 0.01), robot["beam"], _pose(across_T2, 0.0)),
        (("box", 0.065, stem / 2, 0.01), robot["rod"], _pose(rod_T2, 0.0)),
        (("box", 0.2, 0.15, 0.03), robot["box"], _pose(carriage_T2, 0.0)),
    ]


# ---- boom: one tapered boom with a claw from a side over a cutting mat


def _mat(rng):
    green = _hsv(rng, (0.36, 0.46), (0.45, 0.75), (0.18, 0.34))
    line = green + rng.uniform(0.15, 0.3)
    period = rng.uniform(0.28, 0.42)
    angle = rng.uniform(-0.1, 0.1)
    return textures.sample(rng, "mat", green, line, period=period, angle=angle, grain=0.3)


def _boom(rng):
    skin = _hsv(rng, (0.11, 0.16), (0.1, 0.75), (0.8, 0.97))
    return {
        "base": np.array([rng.choice((-1.0, 1.0)) * 1.5, rng.uniform(-0.35, 0.35)]),
        "wide": rng.uniform(0.105, 0.145),
        "beam": _coat(rng, skin, dark=0.35, period=0.34, kinds=("striped", "checked")),
        "palm": _coat(rng, _hsv(rng, (0.75, 0.9), (0.6, 0.8), (0.6, 0.9)), kinds=("spotted",)),
        "finger": _coat(rng, _hsv(rng, (0.75, 0.9), (0.3, 0.6), (0.8, 0.95)), kinds=("plain",)),
    }


def _boom_angle(robot, hand):
    way = hand - robot["base"]
    return np.arctan2(way[..., 1], way[..., 0])


def _boom_links(robot, hand_T2):
    angle_T = _boom_angle(robot, hand_T2)
    wide, length = robot["wide"], 2.6
    tail_T2 = hand_T2 - _ahead(angle_T, length + _PALM_BACK)
    return [(("taper", length, 2.2 * wide, 0.75 * wide), robot["beam"], _pose(tail_T2, angle_T))]


DOMAINS = {
    "arm": Domain(
        (0.98, 1.12), (0.8, 0.9), _wood, _arm, lambda r, p: _arm_angles(r, p)[1], _arm_links
    ),
    "gantry": Domain(
        (0.88, 1.0),
        (0.92, 1.0),
        _cloth,
        _gantry,
        lambda r, p: np.full(p.shape[:-1], -np.pi / 2),
        _gantry_links,
    ),
    "boom": Domain((0.92, 1.06), (0.86, 0.96), _mat, _boom, _boom_angle, _boom_links),
}


def hand_angle(scene, hand):
    """Angle [...] in radians of the hand at the place hand [...,2]."""
    return DOMAINS[scene.domain].angle(scene.robot, hand)


def rails(scene):
    """Parts of the robot that never move: [(shape, texture, pose (x, y, angle))]."""
    if scene.domain != "gantry":
        return []
    rail = ("box", 0.06, 1.6, 0.01)
    return [(rail, scene.robot["rail"], (side, 0.0, 0.0)) for side in (-1.0, 1.0)]


def parts(scene, hand_T2, open_T):
    """Moving parts, lowest first, for the hand's way [T,2] and its opening [T] (0..1)."""
    robot = scene.robot
    angle_T = hand_angle(scene, hand_T2)
    palm_T2 = hand_T2 - _ahead(angle_T, _PALM_BACK)
    palm = ("disc", 0.15) if scene.domain == "boom" else ("box", 0.1, 0.18, 0.03)
    found = DOMAINS[scene.domain].links(robot, hand_T2)
    found.append((palm, robot["palm"], _pose(palm_T2, angle_T)))
    for side in (-1, 1):
        if scene.domain == "boom":
            hinge_T2 = hand_T2 - _ahead(angle_T, 0.08) + side * _ahead(angle_T + np.pi / 2, 0.05)
            turn_T = angle_T + side * (0.75 * open_T - 0.1)
            found.append((("hook", 0.11, 0.042, side), robot["finger"], _pose(hinge_T2, turn_T)))
        else:
            gap_T = 0.05 + 0.09 * open_T
            finger_T2 = hand_T2 + side * _ahead(angle_T + np.pi / 2, gap_T[:, None])
            finger = ("box", 0.1, 0.04, 0.02)
            found.append((finger, robot["finger"], _pose(finger_T2, angle_T)))
    return found

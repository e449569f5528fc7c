"""What the hand does in an episode, what it moves, and the sentence that says so.

T steps, M things. The hand goes from waypoint to waypoint with smooth bounded velocity, rests now
and then, carries what it closes on and pushes what it runs into.
"""

from collections import namedtuple
from dataclasses import dataclass

import numpy as np

from input_pipeline.tabletop import robots

WALL = 0.68  # the hand stays within -WALL..WALL in x and y
SPEED = (0.04, 0.125)  # table units a step
NOISE = 0.03  # execution differs from the command by at most this share
_IDLE = 0.7  # chance to rest at a waypoint

# skip: number of the thing that the hand passes over on this leg (-1: none); grip: bit on arrival
Leg = namedtuple("Leg", "target speed grip rest skip")


@dataclass(frozen=True)
class Tape:
    """What happened: see world.Episode for units."""

    hand_T2: np.ndarray
    open_T: np.ndarray
    action_T3: np.ndarray
    item_pose_MT3: np.ndarray
    carried: frozenset


def _next_spot(rng, spot):
    """A waypoint inside the walls in a direction that is uniform where the walls allow it."""
    for _ in range(20):
        turn, far = rng.uniform(0, 2 * np.pi), rng.uniform(0.4, 1.2)
        target = spot + far * np.array([np.cos(turn), np.sin(turn)])
        if np.abs(target).max() <= WALL:
            return target
    return rng.uniform(-WALL, WALL, 2)


def _wander(rng, spot, grip):
    rest = int(rng.integers(2, 6)) if rng.random() < _IDLE else 0
    return Leg(_next_spot(rng, spot), rng.uniform(*SPEED), grip, rest, -1)


def _plan(rng, scene, start):
    """The first legs of an episode: (task legs, gripper bit at the start)."""
    movable = [number for number, item in enumerate(scene.items) if item.movable]
    number = int(rng.choice(movable))
    thing = np.array(scene.items[number].pose[:2])
    fast = rng.uniform(SPEED[0] + 0.02, SPEED[1], 2)
    kind = rng.choice(("carry", "push", "wander"), p=(0.5, 0.25, 0.25))
    if kind == "carry":
        goal = _next_spot(rng, thing)
        return [Leg(thing, fast[0], 0, 2, number), Leg(goal, fast[1], 1, 1, -1)], 1
    if kind == "push":
        turn = rng.uniform(0, 2 * np.pi)
        way = np.array([np.cos(turn), np.sin(turn)])
        behind = np.clip(thing - 0.3 * way, -WALL, WALL)
        beyond = np.clip(thing + rng.uniform(0.3, 0.8) * way, -WALL, WALL)
        return [Leg(behind, fast[0], 0, 0, number), Leg(beyond, fast[1], 0, 1, -1)], 0
    return [_wander(rng, start, 1)], 1


def _grasp(scene, pose_M3, hand):
    """Number of the movable thing under the closing hand, or -1."""
    reach = [
        np.hypot(*(pose_M3[number, :2] - hand)) - item.radius if item.movable else np.inf
        for number, item in enumerate(scene.items)
    ]
    best = int(np.argmin(reach))
    return best if reach[best] < 0.0 else -1


def _push(scene, pose_M3, hand, move, skip):
    """Moves in place every thing that the hand, after its move [2], presses against."""
    stroke = np.hypot(*move)
    for number, item in enumerate(scene.items):
        if not item.movable or number == skip:
            continue
        way = pose_M3[number, :2] - hand
        far, contact = np.hypot(*way), 0.6 * item.radius + 0.08
        if 1e-6 < far < contact and move @ way > 0:
            shift = min(contact - far, stroke) / far
            pose_M3[number, :2] = np.clip(pose_M3[number, :2] + shift * way, -0.9, 0.9)


def _carry(pose_M3, held, before, after):
    """Moves the held thing rigidly with the hand from pose before to pose after (x, y, angle)."""
    turn = after[2] - before[2]
    cos, sin = np.cos(turn), np.sin(turn)
    pose_M3[held, :2] = after[:2] + np.array([[cos, -sin], [sin, cos]]) @ (
        pose_M3[held, :2] - before[:2]
    )
    pose_M3[held, 2] += turn


def simulate(rng, scene, steps):
    """One episode of `steps` steps (int >= 2) in the scene; returns a Tape."""
    hand, speed = rng.uniform(-WALL, WALL, 2), np.zeros(2)
    legs, grip = _plan(rng, scene, hand)
    opening, held, rest, carried = float(grip), -1, 0, set()
    pose_M3 = np.array([item.pose for item in scene.items])
    angle = float(robots.hand_angle(scene, hand))
    hands, openings, actions, poses = [], [], [], []
    for step in range(steps):
        hands.append(hand)
        openings.append(opening)
        poses.append(pose_M3.copy())
        if rest == 0 and np.hypot(*(legs[0].target - hand)) < 0.6 * legs[0].speed:
            leg = legs.pop(0)
            grip, rest = leg.grip, leg.rest
            legs = legs or [_wander(rng, hand, grip)]
        leg = legs[0]
        if rest > 0 or step == steps - 1:
            rest, command = max(rest - 1, 0), np.zeros(2)
        else:
            way = leg.target - hand
            wanted = way * min(1.0, leg.speed / np.hypot(*way))
            command = np.clip(hand + speed + 0.65 * (wanted - speed), -WALL, WALL) - hand
        speed = command
        actions.append([*command, grip])
        error = np.clip(rng.normal(0, NOISE / 2, 2), -NOISE, NOISE)
        before = np.array([*hand, angle])
        hand = hand + command * (1 + error)
        angle = float(robots.hand_angle(scene, hand))
        opening = float(np.clip(opening + (0.5 if grip else -0.5), 0, 1))
        if grip:
            held = -1
        elif held < 0 and openings[-1] > opening:
            held = _grasp(scene, pose_M3, hand)
            carried |= {held} - {-1}
        if held >= 0:
            _carry(pose_M3, held, before, np.array([*hand, angle]))
        else:
            _push(scene, pose_M3, hand, hand - before[:2], leg.skip)
    item_pose_MT3 = np.stack(poses, 1)
    return Tape(
        np.array(hands),
        np.array(openings),
        np.array(actions),
        item_pose_MT3,
        frozenset(carried),
    )


_WAYS = ("right", "up and right", "up", "up and left", "left", "down and left", "down")
_WAYS = (*_WAYS, "down and right")


def _way_word(way):
    return _WAYS[round(np.arctan2(way[1], way[0]) / (np.pi / 4)) % 8]


def _place_words(spot):
    row = "upper" if spot[1] > 0.23 else "lower" if spot[1] < -0.23 else ""
    column = "right" if spot[0] > 0.23 else "left" if spot[0] < -0.23 else ""
    if row and column:
        return f"the {row} {column}"
    if row:
        return "the top" if row == "upper" else "the bottom"
    return f"the {column} side" if column else "the middle"


def instruction(rng, scene, tape):
    """A sentence that fits what happened: the thing moved furthest, else the way of the hand."""
    way_M2 = tape.item_pose_MT3[:, -1, :2] - tape.item_pose_MT3[:, 0, :2]
    far_M = np.hypot(way_M2[:, 0], way_M2[:, 1])
    best = int(np.argmax(far_M))
    name = scene.items[best].name
    end = tape.hand_T2[-1]
    if far_M[best] > 0.15 and best in tape.carried:
        verb = rng.choice(("move", "put", "bring"))
        return f"{verb} the {name} to {_place_words(tape.item_pose_MT3[best, -1])}"
    if far_M[best] > 0.15:
        return f"push the {name} {_way_word(way_M2[best])}"
    near = [np.hypot(*(item.pose[:2] - end)) for item in scene.items]
    verb = rng.choice(("go", "move", "reach"))
    if min(near) < 0.2:
        return f"{verb} to the {scene.items[int(np.argmin(near))].name}"
    net = end - tape.hand_T2[0]
    if np.hypot(*net) < 0.25:
        return f"move around and return to {_place_words(end)}"
    if rng.random() < 0.5:
        return f"{verb} to {_place_words(end)}"
    return f"move the gripper {_way_word(net)}"

"""Made-up Records of which it is known what tokens mean, to try analyses on. No pictures.

D domains, E episodes of all domains, S samples of an episode, N samples, L positions, K codes.
x right, y down.
"""

import functools
import math

import numpy as np

from analysis.tokens.records import About, Records
from lam.flow import columns as flow_columns

KINDS = ("independent", "octants", "rotated", "direction", "magnitude", "pan", "state")
SIZE = 64  # pixels of a side
SECONDS = 0.5  # between the frames
SPEED = 0.2  # median speed of what moves, frame widths per second
TURN = 2  # octants by which the last domain of "rotated" is turned
PAN = (0.3, -0.1)  # of the camera in the last domain of "pan", frame widths per second
WORDS = ("right", "down and right", "down", "down and left", "left", "up and left", "up",
         "up and right")  # fmt: skip
PHRASES = ("push the block {}", "move the red block {}", "slide it {}")


def simulate(
    kind, domains=3, episodes=40, samples=10, length=4, codes=8, noise=0.1, static=0.1, prior=0.0,
    seed=0,
):  # fmt: skip
    """Records whose tokens mean what `kind` says.

    Motions, states and whatever tokens are not decided by are much alike within an episode.

    Args:
      kind: what decides the tokens,
        "independent"  nothing; they are alike within an episode
        "octants"      the direction, by K equal sectors around right, down, ..., the same
                       everywhere; texts and actions say the direction, too
        "rotated"      the same, but in the last domain a token means a direction turned by TURN
                       eighths of a circle
        "direction"    the same as "octants"
        "magnitude"    the speed, by K equally frequent classes
        "pan"          the direction, as in "octants", of what moves in the scene; the camera of the
                       last domain moves by PAN, which the flow, also less its median, does not know
        "state"        the angle of the first two dims of the state
      domains, episodes, samples: D; episodes of each domain; samples of each episode.
      length, codes: L, K.
      noise: share of tokens that are drawn at random.
      static: share of samples of each domain in which nothing moves.
      prior: share of the episodes with the direction that is common in their domain; and, drawn for
        itself, where tokens mean nothing, share of those with its common tokens.
      seed: of all draws.

    Returns:
      Records. ValueError for an unknown kind.
    """
    if kind not in KINDS:
        raise ValueError(f"There is no kind {kind!r}: {', '.join(KINDS)}")
    rng = np.random.default_rng(seed)
    shape = domains * episodes, samples
    domain_E = np.repeat(np.arange(domains), episodes)
    moves_own_E, says_own_E = rng.random((2, len(domain_E))) >= prior  # else as its domain
    angle_E = np.where(moves_own_E, _turn(rng, len(domain_E)), _turn(rng, domains)[domain_E])
    angle_ES = angle_E[:, None] + 0.5 * rng.normal(size=shape)
    speed_ES = SPEED * np.exp(0.4 * rng.normal(size=(shape[0], 1)) + 0.4 * rng.normal(size=shape))
    state_ESD = rng.normal(size=(shape[0], 1, 3)) + 0.3 * rng.normal(size=(*shape, 3))
    static_ES = _still(rng, domains, episodes * samples, static).reshape(shape)
    speed_ES = np.where(static_ES, 0.01, 1.0) * speed_ES
    motion_ES2 = speed_ES[..., None] * np.stack([np.cos(angle_ES), np.sin(angle_ES)], axis=-1)
    if kind == "independent":
        favourite_EL = rng.integers(codes, size=(domains, length))[domain_E]
        base_EL = np.where(
            says_own_E[:, None], rng.integers(codes, size=(len(domain_E), length)), favourite_EL
        )
        change_ESL = rng.random((*shape, length)) < 0.3
        drawn_ESL = rng.integers(codes, size=change_ESL.shape)
        tokens_ESL = np.where(change_ESL, drawn_ESL, base_EL[:, None])
    else:
        meaning_ES = _meaning(kind, angle_ES, speed_ES, state_ESD, domain_E, codes)
        spelling_LK = rng.permuted(np.tile(np.arange(codes), (length, 1)), axis=1)
        tokens_ESL = np.moveaxis(spelling_LK[:, meaning_ES], 0, -1)
    random_ESL = rng.integers(codes, size=tokens_ESL.shape)
    tokens_ESL = np.where(rng.random(tokens_ESL.shape) < noise, random_ESL, tokens_ESL)
    pan_D2 = np.zeros((domains, 2))
    pan_D2[-1] = PAN if kind == "pan" else 0
    spoken_E = angle_E if kind not in ("independent", "state") else _turn(rng, len(angle_E))
    action_ESD = np.concatenate(
        [motion_ES2 + 0.02 * rng.normal(size=motion_ES2.shape), rng.normal(size=(*shape, 1))], -1
    )
    flat = {"tokens": tokens_ESL, "action": action_ESD, "state": state_ESD}
    columns = _who(domains, episodes, samples) | {
        name: array.reshape(len(domain_E) * samples, -1) for name, array in flat.items()
    }
    columns["tokens"] = columns["tokens"].astype(np.int32)
    columns |= {name: columns[name].astype(np.float32) for name in ("action", "state")}
    text_E = _phrases(len(PHRASES))[
        _sector(spoken_E, len(WORDS)), rng.integers(len(PHRASES), size=len(domain_E))
    ]
    columns["text"] = np.repeat(text_E, samples)
    background_N2 = np.repeat(pan_D2[domain_E], samples, axis=0)
    columns |= _flow(motion_ES2.reshape(-1, 2), background_N2, static_ES.reshape(-1))
    about = About("simulated", 0, codes, SIZE, "exact", False, seed, "val")
    return Records(columns, about, {})


def _meaning(kind, angle_ES, speed_ES, state_ESD, domain_E, codes):
    """What the tokens of each sample say: int [E, S], 0..K-1."""
    if kind == "magnitude":
        edges = np.quantile(speed_ES, np.arange(1, codes) / codes)
        return np.searchsorted(edges, speed_ES)
    if kind == "state":
        return _sector(np.arctan2(state_ESD[..., 1], state_ESD[..., 0]), codes)
    last_E = domain_E == domain_E[-1]
    turned_E = TURN * math.pi / 4 * last_E if kind == "rotated" else 0.0 * last_E
    return _sector(angle_ES + turned_E[:, None], codes)


def _sector(angle, sectors):
    """Which of equal sectors around 0, 1, ... times their width: int, 0..sectors-1."""
    return np.rint(angle / (2 * math.pi) * sectors).astype(int) % sectors


def _turn(rng, count):
    return rng.uniform(-math.pi, math.pi, count)


def _still(rng, domains, count, share):
    """The same number of static samples in each domain: bool [D, count]."""
    order = np.argsort(rng.random((domains, count)), axis=1)
    return order < round(share * count)


@functools.cache
def _phrases(count):
    """Texts [directions, phrasings]."""
    return np.array([[phrase.format(word) for phrase in PHRASES[:count]] for word in WORDS])


@functools.cache
def _who(domains, episodes, samples):
    """Columns that are the same in all simulations of a size. Never written to."""
    names = [f"robot_{number}" for number in range(domains)]
    of_episode = {
        "dataset": np.repeat(names, episodes),
        "episode": np.array([f"{name}/{number}" for name in names for number in range(episodes)]),
        "scene": np.arange(domains * episodes, dtype=np.int64),
    }
    columns = {name: np.repeat(column, samples) for name, column in of_episode.items()}
    count = len(columns["scene"])
    return columns | {
        "domain": columns["dataset"],
        "step": np.tile(np.arange(samples, dtype=np.int32), domains * episodes),
        "gap": np.full(count, 5, np.int32),
        "seconds": np.full(count, SECONDS, np.float32),
        "picture": np.full(count, -1, np.int32),
    }


def _flow(motion_N2, pan_N2, static_N):
    """All columns of the flow. Corrected flow still has the pan: the worst case of a correction."""
    found = {}
    share_N2, none_N2 = (motion_N2 + pan_N2).astype(np.float32), np.zeros_like(pan_N2, np.float32)
    for kind in flow_columns.KINDS:
        for name in flow_columns.VECTORS:
            vector_N2 = none_N2 if name == "background" else share_N2
            for axis in (0, 1):
                letter = "xy"[axis]
                found[f"{kind}_{name}_{letter}"] = vector_N2[:, axis] * np.float32(SIZE * SECONDS)
                if name != "background":
                    found[f"{kind}_{name}_rate_{letter}"] = vector_N2[:, axis]
        found[f"{kind}_moving_fraction"] = np.where(static_N, 0.0, 0.1).astype(np.float32)
        found[f"{kind}_is_static"] = static_N
        found[f"{kind}_coherence"] = np.where(static_N, 0.0, 0.9).astype(np.float32)
    return found

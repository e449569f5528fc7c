"""Made-up records and decoded pictures whose right answers are known beforehand.

One token (of two positions) says one of eight directions; the second position says nothing.
"""

import numpy as np

from analysis.tokens.options import Options
from analysis.tokens.records import About, Records

SIDE, CODES, EPISODES, STEPS = 16, 8, 12, 10
OPTIONS = Options(support=3, permutations=60, resamples=60, top=8)


def ways(token_N, length=0.05):
    """Token t as the direction of octant t."""
    turn_N = np.asarray(token_N) * np.pi / 4
    return length * np.stack([np.cos(turn_N), np.sin(turn_N)], axis=-1)


def make(seed=0, domains=("set/arm", "set/boom"), follows=True, static=False, **changes):
    """(Records, Options). `follows`: whether decoded pictures move as the tokens say.

    changes: columns or arrays of frames.npz to replace; None takes the array out.
    """
    rng = np.random.default_rng(seed)
    count = len(domains) * EPISODES * STEPS
    episode_N = np.arange(count) // STEPS
    domain_N = np.array(domains)[episode_N // EPISODES]
    tokens_N2 = np.stack([rng.integers(0, CODES, count), rng.integers(0, 2, count)], axis=1)
    motion_N2 = ways(tokens_N2[:, 0]) + rng.normal(0, 0.004, (count, 2))
    columns = {
        "dataset": np.array([d.split("/")[0] for d in domain_N]),
        "domain": domain_N,
        "episode": np.array([f"{d}/{e:03}" for d, e in zip(domain_N, episode_N, strict=True)]),
        "step": (np.arange(count) % STEPS).astype(np.int32),
        "seconds": np.full(count, np.nan, np.float32),
        "text": np.array(["push left", "push right", "lift up", "turn it"])[episode_N % 4],
        "picture": np.arange(count, dtype=np.int32),
        "tokens": tokens_N2.astype(np.int32),
        "state": rng.normal(size=(count, 3)).astype(np.float32),
        "median_weighted_x": (SIDE * motion_N2[:, 0]).astype(np.float32),
        "median_weighted_y": (SIDE * motion_N2[:, 1]).astype(np.float32),
        "median_is_static": np.full(count, static),
    }
    pictures = decoded(rng, columns, motion_N2, follows)
    columns |= {key: value for key, value in changes.items() if key in columns}
    pictures |= {key: value for key, value in changes.items() if key not in columns}
    pictures = {key: value for key, value in pictures.items() if value is not None}
    about = About("run", 1, CODES, SIDE, "exact", False, 0, "val")
    inspected = tuple((code, 0) for code in range(CODES))
    options = Options(**{**vars(OPTIONS), "inspected": inspected})
    return Records(columns, about, pictures), options


def decoded(rng, columns, motion_N2, follows):
    tokens_N2, count = columns["tokens"], len(motion_N2)
    say = lambda token: ways(token if follows else rng.integers(0, CODES, np.shape(token)))  # noqa: E731
    apply_SL = np.stack([np.arange(CODES), np.zeros(CODES, int)], axis=1).astype(np.int32)
    first_Q = np.linspace(0, count - 1, 8).astype(np.int32)
    apply_motion = say(np.tile(apply_SL[:, :1], (1, len(first_Q))))
    source_M = np.tile(np.arange(0, count, 3), 3)
    first_M = np.concatenate([
        np.arange(0, count, 3), (np.arange(0, count, 3) + STEPS) % count,
        (np.arange(0, count, 3) + count // 2) % count,
    ])  # fmt: skip
    swap_M = np.arange(0, count, 8)
    other_M = rng.permutation(swap_M)
    order_M, mixed_M = np.arange(0, count, 4), rng.permutation(np.arange(0, count, 4))
    own, other = (say(tokens_N2[rows, 0]) for rows in (order_M, mixed_M))
    flat = lambda *lead: np.zeros((*lead, SIDE, SIDE, 2), np.float16)  # noqa: E731
    return {
        "frames": rng.integers(0, 255, (count, 2, SIDE, SIDE, 3)).astype(np.uint8),
        "row": np.arange(count, dtype=np.int32),
        "codes": rng.normal(size=(2, CODES, 3)).astype(np.float32),
        "latents": rng.normal(size=(count, 2, 3)).astype(np.float32),
        "apply_tokens": apply_SL,
        "apply_first": first_Q,
        "apply_recon": rng.integers(0, 255, (CODES, 8, SIDE, SIDE, 3)).astype(np.uint8),
        "apply_flow": (flat(CODES, 8) + SIDE * apply_motion[:, :, None, None]).astype(np.float16),
        "apply_motion": apply_motion.astype(np.float32),
        "apply_moves": np.ones((CODES, 8), bool),
        "apply_true_flow": flat(8) + np.float16(0.1),
        "transfer_source": source_M.astype(np.int32),
        "transfer_first": first_M.astype(np.int32),
        "transfer_motion": say(tokens_N2[source_M, 0]).astype(np.float32),
        "transfer_moves": np.ones(len(source_M), bool),
        "swap_by": np.full(len(swap_M), "state"),
        "swap_moves": np.ones(len(swap_M), bool),
        "swap_source": swap_M.astype(np.int32),
        "swap_first": other_M.astype(np.int32),
        "swap_distance": rng.uniform(size=len(swap_M)).astype(np.float32),
        "swap_recon": rng.integers(0, 255, (len(swap_M), SIDE, SIDE, 3)).astype(np.uint8),
        "swap_flow": flat(len(swap_M)),
        "swap_motion": say(tokens_N2[swap_M, 0]).astype(np.float32),
        "order_names": np.array(["own", "reversed", "permuted", "position 0", "position 1"]),
        "order_picture": order_M.astype(np.int32),
        "order_motion": np.stack([own, other, other, other, own]).astype(np.float32),
        "order_moves": np.ones((5, len(order_M)), bool),
    }

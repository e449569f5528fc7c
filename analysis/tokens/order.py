"""Analysis 11: what is in the order of the tokens, and which positions carry the motion?

V variants of the tokens of M pictures, each decoded on the picture's own first frame. R draws.
"""

import numpy as np

from analysis.tokens import decoded
from analysis.tokens.result import Estimate, Result, nothing
from lam import plots, trial_plots
from lam.ops import resample, stats

QUESTION = "How much does the decoded motion change when the order of tokens, or one of them, does?"
HOW = (
    "Each picture's tokens were decoded on its own first frame: as they are, reversed, in random "
    "order, and with one position at a time taken from another sample. `angle` is between the "
    "motion decoded from the changed tokens and that from the tokens as they are, 90 where one of "
    "them does not move; `length` is the length of the changed motion over that of the unchanged. "
    "By chance: the motion of another sample altogether, so a variant with as large an angle "
    "keeps nothing of the motion. `effect` of a position is the share of the variance of decoded "
    "motions that goes through it (a total effect: E|change|^2 over twice the variance): 0, the "
    "position does not matter; 1, it alone says all; together more than 1 where positions act "
    "jointly. Intervals are over episodes. Only pictures count whose own tokens decode to a "
    "motion.\n\n"
    "If reversing changes as much as another sample does, the order carries the motion: every "
    "position has a meaning of its own. If nothing changes, tokens are a bag of codes or say the "
    "same several times."
)


def run(records, options):
    """The Result; see HOW."""
    lacking = decoded.lacks(records, "order_motion", "tokens decoded in another order")
    if lacking:
        return nothing(QUESTION, HOW, lacking)
    names = [str(name) for name in records.pictures["order_names"]]
    found = records.pictures
    row_M = found["row"][found["order_picture"]]
    motion_VM2 = decoded.still(found["order_motion"], found["order_moves"])
    own_M2 = motion_VM2[names.index("own")]
    here_M = np.isfinite(motion_VM2).all(axis=(0, 2)) & (own_M2 != 0).any(axis=1)
    if here_M.sum() < 2:
        return nothing(QUESTION, HOW, "Fewer than two pictures decode to a motion at all.")
    motion_VM2, own_M2, row_M = motion_VM2[:, here_M], own_M2[here_M], row_M[here_M]
    domain_M = records.domain_N[row_M]
    draws_of = options.draws(records.episode_N[row_M], domain_M)
    null_R2 = others(own_M2, domain_M, options)
    length, variants = records.tokens_NL.shape[1], [name for name in names if name != "own"]
    if length == 1:
        variants = [name for name in variants if name.startswith("position")]
    angle_VM, rows, found_V = {}, [], {}
    for name in variants:
        motion_M2 = motion_VM2[names.index(name)]
        angle_VM[name] = decoded.angles(motion_M2, own_M2)
        found_V[name] = decoded.mean_estimate(angle_VM[name], draws_of, null_R2[:, 0])
        effect = effects(motion_M2, own_M2, draws_of, null_R2[:, 1])
        rows.append({"variant": name, "angle": found_V[name].value, "low": found_V[name].low,
                     "high": found_V[name].high, "by_chance": found_V[name].null,
                     "p_less_than_chance": found_V[name].p, "length": ratio(motion_M2, own_M2),
                     "effect": effect.value, "effect_low": effect.low,
                     "effect_high": effect.high})  # fmt: skip
    main = "permuted" if "permuted" in variants else variants[0]
    numbers = {"angles": found_V, "pictures": int(here_M.sum()), "positions": length,
               "effects": {row["variant"]: row["effect"] for row in rows}}  # fmt: skip
    missing = () if length > 1 else ("A sequence of one token has no order to change.",)
    figures = {"angles": angle_figure(angle_VM, domain_M, records.domains, rows, found_V)}
    positions = [row for row in rows if row["variant"].startswith("position")]
    if positions:
        figures["positions"] = effect_figure(positions)
    return Result(QUESTION, reading(found_V[main], main, positions), HOW, found_V[main], numbers,
                  {"variants": rows}, figures, missing)  # fmt: skip


def others(own_M2, domain_M, options):
    """Mean angle and effect of the motion of another sample of the domain: [R,2]."""
    rng = np.random.default_rng(options.seed)
    members = [np.flatnonzero(domain_M == domain) for domain in np.unique(domain_M)]
    members = [here for here in members if len(here) > 1] or [np.arange(len(domain_M))]
    found_R2 = np.empty((options.permutations, 2))
    for draw in range(options.permutations):
        pairs = [(order, np.roll(order, 1)) for order in map(rng.permutation, members)]
        one, other = (np.concatenate(side) for side in zip(*pairs, strict=True))
        found_R2[draw, 0] = stats.known_mean(decoded.angles(own_M2[other], own_M2[one]))
        found_R2[draw, 1] = effect(own_M2[other], own_M2[one], np.ones((1, len(one))))[0]
    return found_R2


def effect(motion_M2, own_M2, weight_WM):
    """E|change|^2 over twice the variance of the unchanged, for some weights of samples: [W]."""
    mass_W = np.maximum(weight_WM.sum(axis=1), 1e-9)
    change_W = weight_WM @ ((motion_M2 - own_M2) ** 2).sum(axis=1) / mass_W
    mean_W2 = weight_WM @ own_M2 / mass_W[:, None]
    square_W = weight_WM @ (own_M2**2).sum(axis=1) / mass_W
    variance_W = square_W - (mean_W2**2).sum(axis=1)
    tiny = 1e-9 * np.maximum(square_W, 1e-30)
    return np.where(variance_W > tiny, change_W / (2 * np.maximum(variance_W, tiny)), np.nan)


def effects(motion_M2, own_M2, draws_of, null_R):
    """Estimate of `effect`, with its interval over episodes."""
    value = effect(motion_M2, own_M2, np.ones((1, len(own_M2))))[0]
    weighted_W = effect(motion_M2, own_M2, draws_of.bootstrap_RN)
    weighted_W = weighted_W[np.isfinite(weighted_W)]
    some = len(weighted_W) > 1 and draws_of.episodes > 1
    low, high = resample.interval(weighted_W) if some else (np.nan, np.nan)
    return Estimate(float(value), low, high, float(stats.known_mean(null_R)))


def ratio(motion_M2, own_M2):
    """Mean length of the changed motions over that of the unchanged."""
    lengths = [np.linalg.norm(x, axis=1).mean() for x in (motion_M2, own_M2)]
    return float(lengths[0] / lengths[1])


def angle_figure(angle_VM, domain_M, domains, rows, found_V):
    null = next(iter(found_V.values())).null
    return trial_plots.rows_of_values(
        list(angle_VM.values()), [domain_M] * len(rows), domains, list(angle_VM),
        [(row["angle"], row["low"], row["high"]) for row in rows], null,
        "angle to the motion of the tokens as they are, degrees", "Changed tokens", (0, 180),
    )  # fmt: skip


def effect_figure(positions):
    column = lambda key: np.array([[row[key]] for row in positions])  # noqa: E731
    return trial_plots.bars(
        column("effect"), column("effect_low"), column("effect_high"),
        [row["variant"] for row in positions], ("effect",), plots.COLOURS[:1],
        np.ones((len(positions), 1)),
        "share of the variance of motion that goes through it",
        "Which positions carry the motion",
    )  # fmt: skip


def reading(found, name, positions):
    what = {"permuted": "In random order, tokens", "reversed": "Reversed, tokens"}
    begin = what.get(name, f"With {name} from another sample, tokens")
    said = (
        f"{begin} decode to a motion {found.value:.0f} degrees from the unchanged one "
        f"({found.null:.0f} for the tokens of another sample)"
    )
    ranked = sorted(positions, key=lambda row: -np.nan_to_num(row["effect"]))
    if len(ranked) < 2:
        return f"{said}."
    first, last = ranked[0], ranked[-1]
    return (
        f"{said}; {first['variant']} carries most of the motion (effect {first['effect']:.2f}), "
        f"{last['variant']} least ({last['effect']:.2f})."
    )

"""Analysis 13: does a token of one robot say the same motion to another?

M trials: tokens of one picture on the first frame of another. G domains, P pictures, R draws.
"""

import numpy as np

from analysis.tokens import decoded
from analysis.tokens.result import Estimate, Result, nothing
from lam import token_plots, trial_plots
from lam.ops import resample, stats

QUESTION = "Does a token of one robot, decoded on the picture of another, show the same motion?"
HOW = (
    "The tokens of a real pair of domain A were decoded on the first frame of a pair of domain B. "
    "The angle is between what moves in the real pair and what moves in the decoded frame: 0 is "
    "the same direction, 90 unrelated, 180 opposed; a decoded frame in which nothing moves counts "
    "as 90. `own`: on the frame that the tokens came from, which is as good as decoder and flow "
    "allow; `within`: another frame of the same domain; `across`: a frame of another domain. By "
    "chance (`shuffled`): the decoded motion compared with that of another pair of the domain of "
    "the tokens. Intervals are over the episodes of the pairs that gave the tokens. `centred` "
    "takes the mean of its domain from each motion. Pairs in which nothing moves give no tokens "
    "here.\n\n"
    "In `matrix` a row is the domain of the tokens, a column that of the first frame. A token "
    "means the same everywhere if cells off the diagonal are as dark in number as those on it. "
    "Robots that move differently in the image for one command have a floor above 0 degrees "
    "across domains."
)


def run(records, options):
    """The Result; see HOW."""
    lacking = decoded.lacks(records, "transfer_motion", "tokens decoded on frames of other pairs")
    if lacking:
        return nothing(QUESTION, HOW, lacking)
    trial = trials(records)
    if not len(trial["truth"]):
        return nothing(
            QUESTION,
            HOW,
            "No pair that gave tokens moves, or nothing was decoded, so no direction is known.",
        )
    names = np.unique(np.concatenate([trial["of"], trial["on"]]))
    draws_of = options.draws(trial["episode"], trial["of"])
    angle_M = decoded.angles(trial["truth"], trial["found"])
    own_M, same_M = trial["own"], trial["of"] == trial["on"]
    groups = {"own": own_M, "within": same_M & ~own_M, "across": ~same_M}
    null = shuffled(trial, options)
    numbers = {
        name: estimate(angle_M, here_M, draws_of, null) for name, here_M in groups.items()
        if here_M.any()
    }  # fmt: skip
    centred_M = decoded.angles(
        centre(trial["truth"], trial["of"]), centre(trial["found"], trial["on"])
    )
    kind = "across" if "across" in numbers else "within"
    kind = kind if kind in numbers else "own"
    numbers["centred"] = {
        name: estimate(centred_M, here_M, draws_of, None) for name, here_M in groups.items()
        if here_M.any()
    }  # fmt: skip
    numbers |= {"difference": difference(angle_M, groups, draws_of), "trials": len(angle_M),
                "moved": trial["moved"]}  # fmt: skip
    angle_GG3, rows = matrix(angle_M, trial, names, draws_of)
    missing = ()
    if len(names) == 1:
        missing = (f"There is one domain only ({names[0]}), so no token could cross to another.",)
    shuffled_mean = numbers[kind].null
    figures = {
        "matrix": token_plots.angles(
            angle_GG3[..., 0],
            names,
            "Angle of transferred motion",
            shuffled_mean,
            angle_GG3[..., 1:],
        ),
        "kinds": kinds_figure(angle_M, groups, trial, records.domains, numbers, shuffled_mean),
    }
    return Result(QUESTION, reading(numbers, kind), HOW, numbers[kind], numbers,
                  {"matrix": rows}, figures, missing)  # fmt: skip


def trials(records):
    """Trials whose source moves: columns by name, and the share of decoded frames that move."""
    found = records.pictures
    source_M, first_M = (found["row"][found[f"transfer_{key}"]] for key in ("source", "first"))
    moves_M = np.asarray(found["transfer_moves"], bool)
    own_M = found["transfer_source"] == found["transfer_first"]
    made_M2 = decoded.still(found["transfer_motion"], moves_M)
    here_M = records.moving_N[source_M] & np.isfinite(made_M2).all(axis=1)
    columns = {
        "truth": records.motion_N2[source_M], "found": made_M2, "own": own_M,
        "of": records.domain_N[source_M], "on": records.domain_N[first_M],
        "episode": records.episode_N[source_M], "source": source_M,
    }  # fmt: skip
    columns = {name: column[here_M] for name, column in columns.items()}
    return columns | {"moved": moves_M.sum() / max(len(moves_M), 1)}


def shuffled(trial, options):
    """Angles [R,M] of decoded motion to that of another pair of the domain of the tokens."""
    rng = np.random.default_rng(options.seed)
    null_RM = np.full((options.permutations, len(trial["of"])), np.nan)
    for domain in np.unique(trial["of"]):
        here_M = np.flatnonzero(trial["of"] == domain)
        sources, number_M = np.unique(trial["source"][here_M], return_inverse=True)
        if len(sources) < 2:
            continue
        _, place = np.unique(trial["source"][here_M], return_index=True)
        truth_T2 = trial["truth"][here_M][place]
        dealt_RT = rng.permuted(np.tile(np.arange(len(sources)), (len(null_RM), 1)), axis=1)
        given_RM2 = truth_T2[dealt_RT[:, number_M]]
        null_RM[:, here_M] = decoded.angles(given_RM2, trial["found"][here_M][None])
    return null_RM


def estimate(angle_M, here_M, draws_of, null_RM):
    """Estimate of the mean angle of some trials."""
    kept_M = np.where(here_M, angle_M, np.nan)
    null_R = np.array([np.nan])
    if null_RM is not None:
        null_R = stats.known_mean(np.where(here_M, null_RM, np.nan))
    return decoded.mean_estimate(kept_M, draws_of, null_R)


def difference(angle_M, groups, draws_of):
    """Across less within, degrees: above 0, tokens cross worse than they stay."""
    means, weighted = [], []
    for name in ("across", "within"):
        kept_M = np.where(groups[name], angle_M, np.nan)
        means.append(stats.known_mean(kept_M))
        weighted.append(decoded.weighted_means(kept_M, draws_of.bootstrap_RN))
    gaps_W = weighted[0] - weighted[1]
    gaps_W = gaps_W[np.isfinite(gaps_W)]
    bounds = (
        resample.interval(gaps_W) if len(gaps_W) > 1 and draws_of.episodes > 1 else (np.nan,) * 2
    )
    return Estimate(float(means[0] - means[1]), *bounds, unit=decoded.DEGREES)


def centre(motion_M2, domain_M):
    """Motions less the mean of their domain: [M,2]."""
    return motion_M2 - decoded.by_domain(motion_M2[None], domain_M)


def matrix(angle_M, trial, names, draws_of):
    """(angle, low and high [G,G,3] of tokens of each domain on each, NaN where there are none; rows
    of the table); trials on their own frame apart."""
    angle_GG3, rows = np.full((len(names), len(names), 3), np.nan), []
    for row, column in np.ndindex(len(names), len(names)):
        here_M = (trial["of"] == names[row]) & (trial["on"] == names[column]) & ~trial["own"]
        if not here_M.any():
            continue
        found = estimate(angle_M, here_M, draws_of, None)
        angle_GG3[row, column] = found.value, found.low, found.high
        rows.append({"tokens_of": names[row], "first_frame_of": names[column],
                     "angle": found.value, "low": found.low, "high": found.high,
                     "trials": int(here_M.sum())})  # fmt: skip
    return angle_GG3, rows


def kinds_figure(angle_M, groups, trial, domains, numbers, null):
    shown = [name for name in groups if name in numbers]
    label = {"own": "on its own frame", "within": "same domain", "across": "other domain"}
    return trial_plots.rows_of_values(
        [angle_M[groups[name]] for name in shown], [trial["of"][groups[name]] for name in shown],
        domains, [label[name] for name in shown],
        [(numbers[name].value, numbers[name].low, numbers[name].high) for name in shown], null,
        "angle between real and decoded motion, degrees", "Tokens on other frames", (0, 180),
    )  # fmt: skip


def reading(numbers, kind):
    where = {"across": "on a frame of another domain", "within": "on another frame of its domain",
             "own": "on its own frame"}  # fmt: skip
    found = f"Decoded {where[kind]}, a token's motion is off by {numbers[kind].value:.0f} degrees"
    rest = [
        f"{numbers[name].value:.0f} {where[name]}" for name in ("within", "own")
        if name in numbers and name != kind
    ]  # fmt: skip
    if np.isfinite(numbers[kind].null):
        rest.append(f"{numbers[kind].null:.0f} by chance")
    return f"{found} ({', '.join(rest)})." if rest else f"{found}."

"""Analysis 8: all about each of the first inspected sequences, a folder for each.

S reports, N samples, G domains.
"""

import jax.numpy as jnp
import numpy as np

from analysis.tokens import decoded, examples, flow_transfer, kinds, transfer
from analysis.tokens.result import Estimate, Result, nothing
from lam import plots, trial_plots
from lam.ops import circular, stats

QUESTION = "What does each of the inspected sequences of tokens say?"
HOW = (
    "A folder for each sequence. `samples`: real pairs with it, the domains in turn, as in "
    "analysis 3. `latent_transfer`: the sequence applied to other first frames, as in analysis 4. "
    "`flow_decoder`: the flow it gives on images of every domain, beside the flow of the real "
    "pair, as in analysis 7; where the model has no flow decoder it is the flow of the decoded "
    "pixels, and the title says so. `mean_shift`: the motions of its samples as dots and their "
    "mean in each domain as an arrow, in the colour of the domain. `summary.json`: the numbers.\n\n"
    "`agreement` is the length of the mean direction of the moving samples, 1 all in one "
    "direction, 0 no common one; its square is corrected for what chance gives, and only pairs of "
    "different episodes count. By chance: tokens of other episodes of the same domain. `q` is the "
    "false discovery rate at which this sequence counts as having a direction (Benjamini and "
    "Hochberg). The headline is the mean agreement of these sequences, weighted by their moving "
    "samples."
)
MOST, ROWS = 6, 6


def run(records, options):
    """The Result; see HOW."""
    sequences_SL = options.inspected[:MOST]
    if not sequences_SL:
        return nothing(QUESTION, HOW, "No sequence was chosen to be looked at.")
    kind = kinds.listed("inspected", records.tokens_NL, sequences_SL)
    made, lacking = decoded.applied(records, options)
    pictures = "frames" in records.pictures and len(records.pictures["row"]) > 0
    missing = (lacking,) if lacking else ()
    found = directions(records, kind, options)
    q_S = stats.benjamini_hochberg(found["p"])
    figures, summaries = {}, {}
    for number, name in enumerate(kind.names):
        place = f"token_{decoded.folder(name)}"
        drawn, lost = report_figures(records, made, kind, number, pictures)
        figures |= {f"{place}/{key}": figure for key, figure in drawn.items()}
        missing += lost
        summaries[place] = summary(records, made, kind, number, found, q_S[number])
    headline = overall(records, kind, options)
    if headline is None:
        missing += ("No sequence looked at has moving samples of two episodes to compare.",)
    rows = [{key: value for key, value in one.items() if not isinstance(value, dict)}
            for one in summaries.values()]  # fmt: skip
    known = np.isfinite(q_S)
    numbers = {"reports": len(rows), "with_a_direction": int((q_S[known] < options.level).sum())}
    return Result(
        QUESTION, reading(numbers, rows, headline), HOW, headline, numbers, {"tokens": rows},
        figures, missing, {f"{place}/summary": one for place, one in summaries.items()},
    )  # fmt: skip


def directions(records, kind, options):
    """Agreement of each sequence, {"value", "low", "high", "null", "p"} [S]."""
    moving_N = records.moving_N
    if not moving_N.any():
        return dict.fromkeys(stats.Estimated._fields, np.full(len(kind), np.nan))
    here = records.select(moving_N)
    return draw(here, kind.number_N[moving_N], len(kind), options).estimate()._asdict()


def draw(here, number_N, count, options):
    """Drawn of the agreement of each kind [S], samples of different episodes compared."""
    sampling = options.sampling(here)
    angle_N = np.asarray(circular.angle(here.motion_N2), np.float32)
    return stats.draw(
        agreements, number_N, sampling, angle_N, sampling.number_N, count=count,
        episodes=sampling.episodes,
    )  # fmt: skip


def agreements(number_N, weight_N, angle_N, episode_N, count, episodes):
    """R of each kind without chance: sign(R^2) sqrt|R^2| [S]."""
    found = circular.resultants(angle_N, number_N, count, weight_N, episode_N, episodes)
    square_S = found["length2"]
    return jnp.sign(square_S) * jnp.sqrt(jnp.abs(square_S))


def overall(records, kind, options):
    """Estimate of the mean agreement, or None where none is known."""
    moving_N = records.moving_N & (kind.number_N >= 0)
    if not moving_N.any():
        return None
    here = records.select(records.moving_N)
    number_N = kind.number_N[records.moving_N]
    weight_S = np.bincount(number_N[number_N >= 0], minlength=len(kind)).astype(np.float64)
    drawn = draw(here, number_N, len(kind), options)
    known_S = np.isfinite(drawn.value)
    if not known_S.any():
        return None
    share_S = np.where(known_S, weight_S, 0) / weight_S[known_S].sum()
    mean = drawn.map(lambda x_MS: np.nan_to_num(x_MS) @ share_S)
    return Estimate(*mean.estimate())


def report_figures(records, made, kind, number, pictures):
    """({name: Figure}, sentences)."""
    name, found, lost = kind.names[number], {}, ()
    index_M = np.flatnonzero((kind.number_N == number) & (records.columns["picture"] >= 0))
    if pictures and len(index_M):
        rng = np.random.default_rng(number)
        frames = records.pictures["frames"]
        found["samples"] = examples.gallery(records, frames, rng.permutation(index_M), name)
    elif pictures:
        lost += (f"No picture was kept of a sample with the tokens {name}.",)
    if made is not None and name in made.names:
        place = made.names.index(name)
        arrays = {key: records.pictures[key] for key in ("frames", "apply_recon", "apply_flow")}
        true_Q = records.pictures["apply_true_flow"]
        title = f"Tokens {name} on other first frames"
        found["latent_transfer"] = transfer.sheet(made, arrays, true_Q, place, title)
        found["flow_decoder"] = flow_sheet(records, made, true_Q, place, name)
    elif made is not None:
        lost += (f"The tokens {name} were not applied to other first frames.",)
    here_N = (kind.number_N == number) & records.moving_N
    if here_N.any():
        found["mean_shift"] = shift_figure(records, here_N, name)
    else:
        lost += (f"In no sample with the tokens {name} does anything move.",)
    return found, lost


def flow_sheet(records, made, true_Q, place, name):
    """First frame, flow that the sequence gives, flow of the real pair."""
    by = flow_transfer.DECODER if "apply_decoder_flow" in records.pictures else flow_transfer.PIXELS
    key = "apply_decoder_flow" if by == flow_transfer.DECODER else "apply_flow"
    shown = decoded.spread_over(made.domain_Q, np.arange(len(made.first_Q)), ROWS)
    flow, true = records.pictures[key][place, shown], true_Q[shown]
    largest = trial_plots.full_length(flow, true)
    frames = records.pictures["frames"][made.first_Q[shown], 0]
    table = [list(frames), *(list(trial_plots.flow_pictures(x, largest)) for x in (flow, true))]
    heads = [plots.short(made.domain_Q[one], 11) for one in shown]
    rows = ("first frame", "with tokens", "real pair")
    return trial_plots.mosaic(table, f"Flow of the tokens {name} ({by})", heads, rows)


def shift_figure(records, here_N, name, most=300):
    """Motions of the samples and their mean by domain."""
    means, points = {}, {}
    for domain in records.domains:
        index_M = np.flatnonzero(here_N & (records.domain_N == domain))
        if len(index_M):
            means[domain] = records.motion_N2[index_M].mean(axis=0)
            points[domain] = records.motion_N2[index_M[:: -(-len(index_M) // most)]]
    return trial_plots.shifts(
        means, points, records.domains, list(means), records.unit, f"Motions with the tokens {name}"
    )


def summary(records, made, kind, number, found, q):
    """The numbers of one sequence, for summary.json."""
    here_N = kind.number_N == number
    moving_N = here_N & records.moving_N
    numbers = {
        "tokens": kind.names[number], "samples": int(here_N.sum()),
        "moving": int(moving_N.sum()), "episodes": len(np.unique(records.episode_N[here_N])),
        "agreement": float(found["value"][number]), "agreement_low": float(found["low"][number]),
        "agreement_high": float(found["high"][number]), "by_chance": float(found["null"][number]),
        "p": float(found["p"][number]), "q": float(q),
    }  # fmt: skip
    mean_2 = records.motion_N2[moving_N].mean(axis=0) if moving_N.any() else np.full(2, np.nan)
    numbers |= {"right": mean_2[0], "down": mean_2[1], "unit": records.unit}
    numbers["domains"] = {
        domain: one_domain(records, here_N & (records.domain_N == domain))
        for domain in records.domains
    }
    if made is not None and numbers["tokens"] in made.names:
        place = made.names.index(numbers["tokens"])
        angle_Q = decoded.angles(made.motion_SQ2[place], made.truth_S2[place])
        numbers["decoded_angle_degrees"] = float(stats.known_mean(angle_Q))
    return numbers


def one_domain(records, here_N):
    """Numbers and mean motion of these samples, `Records.unit`: a dict."""
    moving_N = here_N & records.moving_N
    mean_2 = records.motion_N2[moving_N].mean(axis=0) if moving_N.any() else (np.nan, np.nan)
    return {"samples": int(here_N.sum()), "moving": int(moving_N.sum()),
            "right": float(mean_2[0]), "down": float(mean_2[1])}  # fmt: skip


def reading(numbers, rows, headline):
    frequent = max(rows, key=lambda row: row["samples"])
    found = (
        f"{numbers['with_a_direction']} of {numbers['reports']} sequences looked at have a "
        f"direction of their own"
    )
    if headline is not None:
        found += f" (mean agreement {headline.value:.2f}, {headline.null:.2f} by chance)"
    return f"{found}; the most frequent, {frequent['tokens']}, has {frequent['samples']} samples."

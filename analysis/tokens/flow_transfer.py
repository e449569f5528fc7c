"""Analysis 7: one sequence on many images, many sequences on one image, tokens swapped between
samples that start alike.

S inspected sequences, Q first frames, M swaps, R draws of a null, W weightings.
"""

import jax
import numpy as np

from analysis.tokens import decoded, kinds
from analysis.tokens.result import Estimate, Result, nothing
from lam import plots, trial_plots
from lam.ops import motion, stats

QUESTION = (
    "Does a sequence of tokens move every image the same way, and different ones differently?"
)
HOW = (
    "Decoded motions of S sequences on Q first frames are a table. Its variance has three parts: "
    "`token`, what a sequence does on every image; `image`, what every sequence does on that "
    "image; and `rest`, what only this sequence does on this image. The headline is `separation`: "
    "on one image, the share of the variance between sequences that is the same on all images, "
    "token / (token + rest), corrected for what is there by chance. 1: a sequence means one "
    "motion, whatever the image; 0: what it means depends on the image. By chance: on every "
    "image, motions dealt out to sequences at random. `agreement` is the length of the mean "
    "direction of one sequence over images, 1 all the same, 0 none, without what few images give "
    "by chance. Intervals are over the episodes of the first frames. The similar-start swap "
    "decodes the tokens of one sample on the frame of the sample of the same domain that starts "
    "most like it; its angle is between what is decoded and what moved in the sample that gave "
    "the tokens, by chance with the tokens of another of these samples.\n\n"
    "`same_token_different_images`: a row is a sequence, a column an image; rows should be of one "
    "hue. `different_tokens_one_image`: a row is an image; hues along it should differ. "
    "`similar_start_swap`: the pair that gave the tokens, the frame they were applied to, what "
    "was predicted and its flow, to compare with the flow of the pair. Hues of flow are "
    "directions: right red, down yellow, left cyan, up violet; white is no motion."
)
PIXELS, DECODER = "flow of the decoded pixels", "flow decoder"
ROWS, COLUMNS, IMAGES, SWAPS = 8, 7, 4, 6


def run(records, options):
    """The Result; see HOW."""
    made, lacking = decoded.applied(records, options)
    if made is None:
        return nothing(QUESTION, HOW, lacking)
    by = DECODER if "apply_decoder_flow" in records.pictures else PIXELS
    missing = () if by == DECODER else (
        "The model has no flow decoder: all flow here is measured between the first frame and the "
        "decoded pixels.",
    )  # fmt: skip
    flow_SQ = records.pictures["apply_decoder_flow" if by == DECODER else "apply_flow"]
    motion_SQ2 = vectors(flow_SQ) if by == DECODER else made.motion_SQ2
    draws_of = made.sampling(options)
    figures = table_figures(records, made, flow_SQ, by)
    numbers = {"flow_by": by, "sequences": len(made.names), "first_frames": len(made.first_Q)}
    headline = None
    if not np.nan_to_num(motion_SQ2).any():
        missing += ("In no decoded frame does anything move, so there are no shares to tell.",)
    elif len(made.names) > 1 and len(made.first_Q) > 1:
        headline = separation(motion_SQ2, draws_of, options)
        numbers |= {"separation": headline, "shares": parts(motion_SQ2),
                    "agreement": agreement(motion_SQ2, draws_of, options)}  # fmt: skip
    else:
        missing += ("One sequence or one first frame gives no table to take apart.",)
    tables = {"sequences": rows_of(motion_SQ2, made)}
    swap, lacking = swaps(records, options)
    if swap is None:
        missing += (lacking,)
    else:
        numbers["swap"] = swap["estimate"]
        numbers["swap_nearest_by"] = swap["by"]
        figures["similar_start_swap"] = swap_figure(records, swap)
    return Result(QUESTION, reading(headline, numbers, by), HOW, headline, numbers, tables, figures,
                  missing)  # fmt: skip


@jax.jit
def _weighted(flow_NHW2):
    return motion.summary(flow_NHW2)["median"]["weighted"]


def vectors(flow_SQHW2):
    """The motion of flow fields as in the records: shares of (W, H), float64 [S,Q,2]."""
    lead, size = flow_SQHW2.shape[:2], np.array(flow_SQHW2.shape[3:1:-1])
    found = _weighted(np.asarray(flow_SQHW2, np.float32).reshape(-1, *flow_SQHW2.shape[2:]))
    return np.asarray(found, np.float64).reshape(*lead, 2) / size


def parts(motion_SQ2):
    """Shares of the variance of the table: {"token", "image", "rest"}, together 1, corrected for
    the numbers of sequences and images; None where nothing varies."""
    sums = squares(motion_SQ2, np.ones((1, motion_SQ2.shape[1])))
    S, Q = motion_SQ2.shape[:2]
    rest = sums["rest"][0] / ((S - 1) * (Q - 1))
    token = max(sums["token"][0] / (S - 1) - rest, 0) / Q
    image = max(sums["image"][0] / (Q - 1) - rest, 0) / S
    total = token + image + rest
    if not np.isfinite(total) or total <= 0:
        return None
    return {"token": token / total, "image": image / total, "rest": rest / total}


def squares(motion_SQ2, weight_WQ):
    """Sums of squares of the two-way table for weights of the images: {name: [W]}."""
    mass_W = weight_WQ.sum(axis=1)
    token_WS2 = np.einsum("wq,sqd->wsd", weight_WQ, motion_SQ2) / mass_W[:, None, None]
    mean_W2 = token_WS2.mean(axis=1)
    image_Q2, count = motion_SQ2.mean(axis=0), len(motion_SQ2)
    token_W = mass_W * ((token_WS2 - mean_W2[:, None]) ** 2).sum(axis=(1, 2))
    image_WQ2 = image_Q2 - mean_W2[:, None]
    image_W = count * np.einsum("wq,wqd->w", weight_WQ, image_WQ2**2)
    within_W = np.einsum("wq,sqd->w", weight_WQ, (motion_SQ2 - image_Q2) ** 2)
    return {"token": token_W, "image": image_W, "rest": np.maximum(within_W - token_W, 0)}


def share(motion_SQ2, weight_WQ):
    """token / (token + rest) on one image, 0 on average by chance: [W]; NaN where none differ."""
    found = squares(motion_SQ2, weight_WQ)
    S, Q = motion_SQ2.shape[0], weight_WQ.sum(axis=1)
    rest = found["rest"] / ((S - 1) * np.maximum(Q - 1, 1e-9))
    total = (found["token"] + found["rest"]) / ((S - 1) * Q)
    return np.where(total > 0, 1 - rest / np.where(total > 0, total, 1.0), np.nan)


def separation(motion_SQ2, draws_of, options):
    """Estimate of `share`; null deals motions out to sequences on every image by itself."""
    motion_SQ2 = np.nan_to_num(motion_SQ2)
    count, images = motion_SQ2.shape[:2]
    ones_1Q, rng = np.ones((1, images)), np.random.default_rng(options.seed)
    own_S, own_Q = np.arange(count)[:, None], np.arange(images)
    null_R = np.empty(options.permutations)
    for draw in range(len(null_R)):
        dealt_SQ = rng.permuted(np.tile(own_S, (1, images)), axis=0)
        null_R[draw] = share(motion_SQ2[dealt_SQ, own_Q], ones_1Q)[0]
    weighted_W = share(motion_SQ2, draws_of.bootstrap_RN.astype(np.float64))
    if draws_of.episodes < 2:
        weighted_W = np.full_like(weighted_W, np.nan)
    drawn = stats.Drawn(share(motion_SQ2, ones_1Q)[0], null_R, weighted_W, True)
    return Estimate(*drawn.estimate())


def agreement(motion_SQ2, draws_of, options):
    """Estimate of the mean over sequences of R over images, from R^2 without chance."""
    unit_SQ2 = units(motion_SQ2)
    count, images = unit_SQ2.shape[:2]
    rng, own_Q = np.random.default_rng(options.seed), np.arange(images)
    own_SQ = np.tile(np.arange(count)[:, None], (1, images))
    ones_1Q = np.ones((1, images))
    null_R = np.array([
        lengths(unit_SQ2[rng.permuted(own_SQ, axis=0), own_Q], ones_1Q)[0].mean()
        for _ in range(options.permutations)
    ])  # fmt: skip
    weighted_W = lengths(unit_SQ2, draws_of.bootstrap_RN).mean(axis=1)
    value = lengths(unit_SQ2, ones_1Q)[0].mean()
    return Estimate(*stats.Drawn(value, null_R, weighted_W, True).estimate())


def units(motion_SQ2):
    """Directions as vectors of length 1, 0 where nothing moves or is known."""
    motion_SQ2 = np.nan_to_num(motion_SQ2)
    length = np.linalg.norm(motion_SQ2, axis=-1, keepdims=True)
    return motion_SQ2 / np.where(length > 0, length, 1.0)


def lengths(unit_SQ2, weight_WQ):
    """R of each sequence over images, from R^2 less what images alone give: [W,S], 0..1."""
    sums_WS2 = np.einsum("wq,sqd->wsd", weight_WQ, unit_SQ2)
    self_WS = np.einsum("wq,sq->ws", weight_WQ**2, (unit_SQ2**2).sum(axis=-1))
    pairs_W = weight_WQ.sum(axis=1) ** 2 - (weight_WQ**2).sum(axis=1)
    square_WS = ((sums_WS2**2).sum(axis=-1) - self_WS) / np.maximum(pairs_W, 1e-9)[:, None]
    return np.sqrt(np.clip(square_WS, 0, 1))


def rows_of(motion_SQ2, made):
    """The table of sequences: mean decoded motion and agreement of its directions."""
    unit_SQ2 = units(motion_SQ2)
    length_S = lengths(unit_SQ2, np.ones((1, unit_SQ2.shape[1])))[0]
    mean_S2 = stats.known_mean(motion_SQ2, axis=1)
    turn_S = np.degrees(np.arctan2(mean_S2[:, 1], mean_S2[:, 0]))
    return [
        {"tokens": name, "right": x, "down": y, "direction_degrees": turn, "agreement": length}
        for name, (x, y), turn, length in zip(made.names, mean_S2, turn_S, length_S, strict=True)
    ]


def table_figures(records, made, flow_SQ, by):
    """Flow of sequences by images, and of one image of each domain by sequences."""
    frames, recon_SQ = records.pictures["frames"], records.pictures["apply_recon"]
    shown_S = np.arange(min(len(made.names), ROWS))
    order_Q = np.arange(len(made.first_Q))
    shown_Q = decoded.spread_over(made.domain_Q, order_Q, COLUMNS)
    largest = trial_plots.full_length(flow_SQ[shown_S][:, shown_Q])
    colours = trial_plots.flow_pictures(flow_SQ, largest)
    heads = [plots.short(made.domain_Q[q], 11) for q in shown_Q]
    same = [list(frames[made.first_Q[shown_Q], 0])]
    same += [list(colours[s, shown_Q]) for s in shown_S]
    names = [made.names[s] for s in shown_S]
    few_Q = [np.flatnonzero(made.domain_Q == domain)[0] for domain in np.unique(made.domain_Q)]
    table, labels = [], []
    for q in few_Q[:IMAGES]:
        table.append([frames[made.first_Q[q], 0], *recon_SQ[shown_S, q]])
        table.append([None, *colours[shown_S, q]])
        labels += [plots.short(made.domain_Q[q], 11), "flow"]
    return {
        "same_token_different_images": trial_plots.mosaic(
            same, f"One sequence on different images ({by})", heads, ["first frame", *names]
        ),
        "different_tokens_one_image": trial_plots.mosaic(
            table, f"Different sequences on one image ({by})", ["first frame", *names], labels
        ),
    }


def swaps(records, options):
    """({"angle_M", "estimate", ...}, "") or (None, why there are no swaps)."""
    lacking = decoded.lacks(records, "swap_motion", "swap between samples that start alike")
    if lacking:
        return None, lacking
    found = records.pictures
    source_M = found["row"][found["swap_source"]]
    truth_M2 = records.motion_N2[source_M]
    made_M2 = decoded.still(found["swap_motion"], found["swap_moves"])
    here_M = np.flatnonzero(records.moving_N[source_M])
    if not len(here_M):
        return None, "No sample of the similar-start swap moves, so its direction says nothing."
    truth_M2, made_M2, source_M = truth_M2[here_M], made_M2[here_M], source_M[here_M]
    domain_M = records.domain_N[source_M]
    dealt_RM = within(domain_M, options)
    null_R = stats.known_mean(decoded.angles(truth_M2[dealt_RM], made_M2[None]))
    draws_of = options.draws(records.episode_N[source_M], domain_M)
    angle_M = decoded.angles(truth_M2, made_M2)
    found = decoded.mean_estimate(angle_M, draws_of, null_R)
    by = " and ".join(np.unique(records.pictures["swap_by"]).tolist())
    return {"estimate": found, "by": by, "here_M": here_M, "domain_M": domain_M}, ""


def within(domain_M, options):
    """Random orders of trials within their domains: int [R,M]."""
    rng = np.random.default_rng(options.seed)
    found_RM = np.tile(np.arange(len(domain_M)), (options.permutations, 1))
    for domain in np.unique(domain_M):
        here_M = np.flatnonzero(domain_M == domain)
        found_RM[:, here_M] = rng.permuted(found_RM[:, here_M], axis=1)
    return found_RM


def swap_figure(records, swap):
    """A row for each of some swaps; the nearest starts of every domain first."""
    found = records.pictures
    near_M = np.argsort(found["swap_distance"][swap["here_M"]], kind="stable")
    rows = swap["here_M"][decoded.spread_over(swap["domain_M"], near_M, SWAPS)]
    source, first = found["swap_source"][rows], found["swap_first"][rows]
    frames, recon, flow = found["frames"], found["swap_recon"][rows], found["swap_flow"][rows]
    colours = trial_plots.flow_pictures(flow)
    table = [
        [*frames[a], frames[b, 0], made, colour]
        for a, b, made, colour in zip(source, first, recon, colours, strict=True)
    ]
    heads = ("tokens of:\nframe 1", "\nframe 2", "similar start", "predicted", "its flow")
    names = records.tokens_NL[found["row"][source]]
    labels = [
        f"{plots.short(records.domain_N[found['row'][a]])}\n{kinds.label(sequence_L)}"
        for a, sequence_L in zip(source, names, strict=True)
    ]
    title = f"Tokens swapped between similar starts, by {swap['by']} ({PIXELS})"
    return trial_plots.mosaic(table, title, heads, labels)


def reading(headline, numbers, by):
    found = "No table of sequences by images could be made"
    if headline is not None:
        found = (
            f"On one image, {100 * headline.value:.0f} % of what differs between sequences is the "
            f"same on all images ({100 * headline.null:.0f} % by chance)"
        )
    if "swap" in numbers:
        swap = numbers["swap"]
        found += (
            f"; swapped to a similar start, tokens move {swap.value:.0f} degrees off "
            f"({swap.null:.0f} by chance)"
        )
    return f"{found}; by the {by}."

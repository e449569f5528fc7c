"""Analysis 4: does an inspected sequence move other pictures as it moves its own samples?

S inspected sequences, Q first frames of every domain, R draws of a null.
"""

import numpy as np

from analysis.tokens import decoded
from analysis.tokens.result import Result, nothing
from lam import plots, trial_plots
from lam.ops import stats

QUESTION = (
    "Applied to other first frames, does a sequence of tokens decode to the motion that its own "
    "samples show?"
)
HOW = (
    "Every inspected sequence was applied to the same first frames, some of every domain. The "
    "angle is between what then moves in the decoded frame and the mean motion of the real "
    "samples with this sequence: 0 degrees is the same direction, 90 is unrelated, 180 opposed; a "
    "decoded frame in which nothing moves counts as 90. By chance: the same decoded motions "
    "compared with the mean motion of a sequence dealt out at random. The interval is over the "
    "episodes of the first frames. `centred` takes from each motion the mean of its domain (real "
    "and decoded apart), so that a motion that all samples of a domain share does not count.\n\n"
    "In `angles` a row is a sequence, a dot one first frame in the colour of its domain. A figure "
    "`sequence_...` has a row for each first frame: the frame, its real future, the future "
    "predicted with the sequence of the title, the flow of the prediction, the flow of the real "
    "pair. The hue of a flow is its direction: right red, down yellow, left cyan, up violet. The "
    "real pair did another action, so its flow may differ; the flow of the prediction should have "
    "one hue in all rows. Sequences with too few moving samples have no mean motion and are left "
    "out of the numbers."
)
ROWS, FIGURES = 6, 16


def run(records, options):
    """The Result; see HOW."""
    made, lacking = decoded.applied(records, options)
    if made is None:
        return nothing(QUESTION, HOW, lacking)
    draws_of = made.sampling(options)
    names = made.names
    known_S = np.isfinite(made.truth_S2).all(axis=1)
    missing = left_out(names, known_S, options.support)
    figures = pictures(records, made, names)
    if not known_S.any():
        sentence = f"No inspected sequence has {options.support} moving samples or more."
        return Result(QUESTION, f"Nothing can be said. {sentence}", HOW, figures=figures,
                      missing=(sentence,))  # fmt: skip
    if not np.isfinite(made.motion_SQ2).any():
        sentence = "The flow of all decoded frames is unknown (not finite)."
        return nothing(QUESTION, HOW, sentence)
    raw = compare(made.motion_SQ2[known_S], made.truth_S2[known_S], draws_of, options)
    centred = compare(made.centred_SQ2()[known_S], made.centred_S2[known_S], draws_of, options)
    headline, angle_SQ, null_S = raw
    kept = [name for name, known in zip(names, known_S, strict=True) if known]
    rows = []
    for name, row_Q, null in zip(kept, angle_SQ, null_S, strict=True):
        found = decoded.mean_estimate(row_Q, draws_of, np.array([null]))
        rows.append({"tokens": name, "angle": found.value, "low": found.low, "high": found.high,
                     "by_chance": null, "first_frames": int(np.isfinite(row_Q).sum())})  # fmt: skip
    by_domain = {
        str(domain): stats.known_mean(angle_SQ[:, made.domain_Q == domain].ravel())
        for domain in np.unique(made.domain_Q)
    }
    if known_S.sum() == 1:
        missing += (
            "With a single sequence there is no other to compare with, so no null and no p.",
        )
    figures["angles"] = trial_plots.rows_of_values(
        angle_SQ, [made.domain_Q] * len(kept), records.domains, kept,
        [(row["angle"], row["low"], row["high"]) for row in rows], null_S,
        "angle between decoded and mean real motion, degrees", "Sequences on other first frames",
        (0, 180),
    )  # fmt: skip
    numbers = {
        "centred": centred[0], "by_domain_of_first_frame": by_domain, "moved": made.moved,
        "sequences": len(kept), "first_frames": len(made.first_Q),
    }  # fmt: skip
    return Result(QUESTION, reading(headline, centred[0], made), HOW, headline, numbers,
                  {"angles": rows}, figures, missing)  # fmt: skip


def compare(motion_SQ2, truth_S2, draws_of, options):
    """(Estimate of the mean angle, angle_SQ, what each sequence has by chance [S])."""
    table_SSQ = decoded.angles(motion_SQ2[:, None], truth_S2[None, :, None])
    count = len(truth_S2)
    own_S = np.arange(count)
    angle_SQ = table_SSQ[own_S, own_S]
    mean_SS = stats.known_mean(table_SSQ)
    null_R = np.full(options.permutations, np.nan)
    if count > 1:
        dealt_RS = decoded.orders(count, options.permutations, options.seed)
        null_R = mean_SS[own_S, dealt_RS].mean(axis=1)
    others_SS = np.where(np.eye(count, dtype=bool), np.nan, mean_SS)
    headline = decoded.mean_estimate(stats.known_mean(angle_SQ, axis=0), draws_of, null_R)
    return headline, angle_SQ, stats.known_mean(others_SS)


def reading(raw, centred, made):
    found = f"Decoded motion is {raw.value:.0f} degrees from the sequence's own"
    by_chance = f" ({raw.null:.0f} by chance)" if np.isfinite(raw.null) else ""
    less = f"; {centred.value:.0f} once what a domain's samples share is taken away"
    moved = f"Something moves in {100 * made.moved:.0f} % of the decoded frames."
    return f"{found}{by_chance}{less}. {moved}"


def left_out(names, known_S, support):
    """A sentence, in a tuple, about the sequences that have no mean motion; () if all have."""
    lost = [name for name, known in zip(names, known_S, strict=True) if not known]
    if not lost:
        return ()
    return (
        f"{len(lost)} of {len(names)} inspected sequences have fewer than {support} moving samples "
        f"and no mean motion: {', '.join(lost[:8])}.",
    )


def pictures(records, made, names):
    """A figure for each of the first FIGURES sequences."""
    arrays = {key: records.pictures[key] for key in ("frames", "apply_recon", "apply_flow")}
    true_Q = records.pictures["apply_true_flow"]
    found = {}
    for number, name in enumerate(names[:FIGURES]):
        figure = sheet(made, arrays, true_Q, number, f"Tokens {name} on other first frames")
        found[f"sequence_{decoded.folder(name)}"] = figure
    return found


def sheet(made, arrays, true_Q, number, title, rows=ROWS):
    """First frame, real future, predicted future, its flow and the real flow, a row for each."""
    shown = decoded.spread_over(made.domain_Q, np.arange(len(made.first_Q)), rows)
    frames_THWC = arrays["frames"][made.first_Q[shown]]
    flow, true = arrays["apply_flow"][number, shown], true_Q[shown]
    largest = trial_plots.full_length(flow, true)
    table = [
        [first, second, recon, *trial_plots.flow_pictures(np.stack([found, real]), largest)]
        for (first, second), recon, found, real in zip(
            frames_THWC, arrays["apply_recon"][number, shown], flow, true, strict=True
        )
    ]
    heads = (
        "first frame",
        "real future",
        "predicted",
        "flow of the\nprediction",
        "flow of the\nreal pair",
    )
    labels = [plots.short(made.domain_Q[one]) for one in shown]
    return trial_plots.mosaic(table, title, heads, labels)

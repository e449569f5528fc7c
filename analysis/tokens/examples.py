"""Analysis 3: pairs of frames that share their tokens, to look at, and how alike they move.

N samples, T sequences, G domains, E episodes, B bins of direction, F waves.
"""

import jax
import jax.numpy as jnp
import numpy as np

from analysis.tokens import decoded, kinds, moving
from analysis.tokens.result import Estimate, Result
from lam import plots, trial_plots
from lam.ops import circular, stats

QUESTION = "Do pairs of frames that share a sequence of tokens show the same motion?"
HOW = (
    "Of the most frequent sequences, all pairs of moving samples that share one are compared, "
    "only samples of different episodes with each other. The number is the mean angle between "
    "their motions: 0 the same direction, 90 unrelated. By chance: tokens taken from other "
    "episodes of the same domain, so that pairs are as random as they can be without leaving "
    "their domains. `same_domain` and `across_domains` are the same for pairs of one and of two "
    "domains. Directions are rounded to 3 degrees. The interval is over episodes.\n\n"
    "A gallery `sequence_...` shows pairs with that sequence, the domains in turn: frame 1, frame "
    "2 beside it, and above them the domain in its colour and the direction of the motion (down "
    "is down in the picture). `angles` shows how often which angle occurs among pairs that share "
    "their tokens, and among pairs of all."
)
BINS = 120
ROWS, PAIRS, FIGURES = 6, 3, 16
ARROWS = ("→", "↘", "↓", "↙", "←", "↖", "↑", "↗")


def run(records, options):
    """The Result; see HOW."""
    figures, missing = galleries(records, options)
    moving_N = records.moving_N
    kind = kinds.sequences(records.tokens_NL, options.top)
    number_N = np.where(moving_N & kind.single_T[kind.number_N], kind.number_N, -1)
    if not repeated(number_N, records.episode_N):
        sentence = "No two moving samples of different episodes share a sequence of tokens."
        return Result(QUESTION, f"Nothing can be said. {sentence}", HOW, figures=figures,
                      missing=(*missing, sentence))  # fmt: skip
    here = records.select(moving_N)
    drawn = draw(here, number_N[moving_N], len(kind), options)
    with np.errstate(invalid="ignore"):
        found = [drawn.map(lambda x, i=i: ratio(x[..., i, :])) for i in range(3)]
    every, same, across = (
        Estimate(*one.estimate("less"), unit=decoded.DEGREES) for one in found
    )  # fmt: skip
    numbers = {"samples": int((number_N >= 0).sum()), "sequences": int(kind.single_T.sum()),
               "same_domain": same, "across_domains": across,
               "static_share": float(1 - moving_N.mean())}  # fmt: skip
    if not np.isfinite(across.value):
        missing += ("No sequence is shared by moving samples of two domains.",)
    figures["angles"] = angle_figure(here, number_N[moving_N], len(kind))
    rows = table(here, number_N[moving_N], kind)
    return Result(QUESTION, reading(every, across), HOW, every, numbers, {"sequences": rows},
                  figures, missing)  # fmt: skip


def repeated(number_N, episode_N):
    """Whether a sequence occurs in two episodes."""
    some_N = number_N >= 0
    pairs = np.unique(np.stack([number_N[some_N].astype(str), episode_N[some_N]]), axis=1)
    return bool(len(pairs[0]) and np.unique(pairs[0], return_counts=True)[1].max() > 1)


def directions(records):
    """Bin of the direction of each sample, int32 0..B-1."""
    turn_N = np.asarray(circular.angle(records.motion_N2)) / (2 * np.pi) * BINS
    return np.rint(turn_N).astype(np.int32) % BINS


def gaps():
    """Degrees between directions of two bins [B,B]."""
    apart = np.abs(np.subtract.outer(np.arange(BINS), np.arange(BINS)))
    return np.minimum(apart, BINS - apart) * 360 / BINS


def draw(records, number_N, sequences, options):
    """Drawn of [3,2]: summed angle and number of pairs of (all, one domain, two domains)."""
    sampling = options.sampling(records)
    domain_N = moving.number_of(records.domain_N, records.domains)
    bin_N = directions(records)
    columns = np.stack([bin_N, domain_N, sampling.number_N], axis=1).astype(np.int32)
    return stats.draw(
        pair_sums, number_N.astype(np.int32), sampling, columns, bootstrap=True,
        sequences=sequences, domains=len(records.domains), episodes=sampling.episodes,
    )  # fmt: skip


def pair_sums(number_N, weight_N, columns_N3, sequences, domains, episodes):
    """Summed angles and numbers of the pairs that share a sequence, not their episode: [3,2]."""
    bin_N, domain_N, episode_N = columns_N3.T
    weight_N = weight_N * (number_N >= 0)
    number_N = jnp.maximum(number_N, 0)
    # the angle of two bins is a sum of cosines of odd multiples, so that pairs need no loop
    waves_BF, share_F = waves()
    wave_NF = jnp.asarray(waves_BF, jnp.float32)[bin_N] * weight_N[:, None]
    place_N = number_N * domains + domain_N
    sums_TGF = jax.ops.segment_sum(wave_NF, place_N, sequences * domains)
    sums_TF = sums_TGF.reshape(sequences, domains, -1).sum(axis=1)
    own = jax.ops.segment_sum(wave_NF, episode_N * sequences + number_N, episodes * sequences)
    every, same, mine = (_sums(sums_MF, share_F) for sums_MF in (sums_TF, sums_TGF, own))
    return jnp.stack([every - mine, same - mine, every - same])


def waves():
    """(1, cosines and sines of odd multiples of each bin's direction [B,F], the part of each in the
    angle between two bins, degrees [F])."""
    part_F = np.fft.rfft(gaps()[0]).real[1::2] * 2 / BINS
    turn_BF = np.outer(np.arange(BINS), np.arange(1, BINS // 2, 2)) * 2 * np.pi / BINS
    waves_BF = np.concatenate([np.ones((BINS, 1)), np.cos(turn_BF), np.sin(turn_BF)], axis=1)
    return waves_BF, np.concatenate([[90.0], part_F, part_F])


def _sums(sums_MF, share_F):
    """(summed angle, number) of all ordered pairs within rows of summed waves."""
    angle = jnp.sum(jnp.asarray(share_F, jnp.float32) * sums_MF**2)
    return jnp.stack([angle, jnp.sum(sums_MF[:, 0] ** 2)])


def ratio(sums):
    """Mean angle from summed angle and number; NaN where there is hardly a pair."""
    some = sums[..., 1] > 0.5
    return np.where(some, sums[..., 0] / np.where(some, sums[..., 1], 1.0), np.nan)


def table(records, number_N, kind):
    """Support, domains and mean motion of each sequence."""
    rows = []
    for number in np.flatnonzero(kind.single_T):
        here_N = number_N == number
        if not here_N.any():
            continue
        x, y = records.motion_N2[here_N].mean(axis=0)
        rows.append({"tokens": kind.names[number], "moving_samples": int(here_N.sum()),
                     "episodes": len(np.unique(records.episode_N[here_N])),
                     "domains": len(np.unique(records.domain_N[here_N])),
                     "right": x, "down": y})  # fmt: skip
    return rows


def angle_figure(records, number_N, sequences):
    """How often which angle occurs among pairs that share tokens and among pairs of all."""
    bin_N, some_N = directions(records), number_N >= 0
    counts_TB = np.zeros((sequences, BINS))
    np.add.at(counts_TB, (number_N[some_N], bin_N[some_N]), 1)
    edges = np.linspace(0, 180, 19)
    shares = []
    for counts_MB in (counts_TB, counts_TB.sum(axis=0, keepdims=True)):
        weight_BB = counts_MB.T @ counts_MB - np.diag(counts_MB.sum(axis=0))
        found, _ = np.histogram(gaps().ravel(), edges, weights=weight_BB.ravel())
        shares.append(found / max(found.sum(), 1))
    labels = ("pairs that share their tokens", "pairs of any tokens")
    return trial_plots.histograms(
        shares, edges, labels, (plots.COLOURS[1], "0.55"),
        "angle between their motions, degrees", "Do they move alike?",
    )  # fmt: skip


def galleries(records, options):
    """({name: Figure}, sentences about what could not be shown)."""
    if "frames" not in records.pictures or not len(records.pictures["row"]):
        return {}, ("No pictures were kept when the records were collected, so none are shown.",)
    number_N = kinds.listed("inspected", records.tokens_NL, options.inspected).number_N
    shown_N, rng = records.columns["picture"] >= 0, np.random.default_rng(options.seed)
    frames, found, lost = records.pictures["frames"], {}, []
    for number, sequence_L in enumerate(options.inspected[:FIGURES]):
        name = kinds.label(sequence_L)
        index_M = rng.permutation(np.flatnonzero(shown_N & (number_N == number)))
        if not len(index_M):
            lost.append(name)
            continue
        found[f"sequence_{decoded.folder(name)}"] = gallery(records, frames, index_M, name)
    missing = () if options.inspected else ("No sequence was chosen to be looked at.",)
    if lost:
        missing += (f"No picture was kept of a sample with the tokens {', '.join(lost)}.",)
    return found, missing


def gallery(records, frames, index_M, name, rows=ROWS):
    """Pairs of frames with this sequence, the domains in turn, PAIRS beside each other."""
    chosen = decoded.spread_over(records.domain_N, index_M, rows * PAIRS)
    octant_N = np.asarray(circular.octant(records.motion_N2[chosen]))
    table, notes, colours = [], {}, {}
    for place, (sample, octant) in enumerate(zip(chosen, octant_N, strict=True)):
        row, column = divmod(place, PAIRS)
        if not column:
            table.append([])
        table[-1] += [*frames[records.columns["picture"][sample]]]
        moves = ARROWS[octant] if records.moving_N[sample] and octant >= 0 else "(still)"
        domain = records.domain_N[sample]
        notes[row, 2 * column] = f"{plots.short(domain, 12)} {moves}"
        colours[row, 2 * column] = plots.colour_of(domain, records.domains)
    title = f"Pairs with the tokens {name}"
    return trial_plots.mosaic(table, title, notes=notes, colours=colours, lifted=0.2)


def reading(every, across):
    found = (
        f"Motions of pairs that share a sequence are {every.value:.0f} degrees apart "
        f"({every.null:.0f} by chance)"
    )
    if np.isfinite(across.value):
        found += f"; {across.value:.0f} where the pairs are of different domains"
    return f"{found}."

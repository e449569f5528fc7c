"""Analysis 14: how much do tokens tell of where the robot is, beyond what it does?

N samples with a state, D dims of it, K cells of the state, L positions, G domains.
"""

import jax
import jax.numpy as jnp
import numpy as np

from analysis.tokens import measures, moving, text
from analysis.tokens.result import Result, nothing
from lam import plots, token_plots, trial_plots
from lam.ops import circular, cluster, codes, information, pca, stats

QUESTION = "How much do tokens tell of the state of the robot, beyond the direction it moves in?"
HOW = (
    "A token should say what is done, not where the robot is. In each domain the state at frame 1 "
    "(its dims brought to one scale) is cut into cells by k-means. `beyond_motion` is the "
    "headline: the share of what is not known of a token, once domain and direction of motion "
    "(one of eight, or still) are, that the cell of the state tells; the mean over positions. 0: "
    "the token knows nothing of the state; 1: state and direction say it all. By chance: states "
    "of other episodes of the domain, tokens keep their motion. `ami` is the adjusted mutual "
    "information of token and cell, direction left aside, by chance with tokens of other episodes "
    "of the domain. `share` is the share of the variance of the state between tokens, the same "
    "way. Intervals are over episodes.\n\n"
    "States that depend on the direction (a robot near the left edge moves right) are why the "
    "headline holds the direction fixed. Some of the rest is no flaw: how far or with which joint "
    "a robot moves depends on where it is, too. A figure `states_...` shows the samples of a "
    "domain in the plane of its state (two main components where there are more dims), coloured "
    "by token: a token that knows only the action is scattered over all of it."
)
CELLS, SHOWN, FIGURES = 12, 900, 4


def run(records, options):
    """The Result; see HOW."""
    some_N = known(records)
    if not some_N.any():
        return nothing(
            QUESTION, HOW, "The records have no state (proprioception), so nothing can be compared."
        )
    here = records.select(some_N)
    state_ND, cell_N, cells = cells_of(here, options)
    if cells < 2:
        return nothing(QUESTION, HOW, "The state does not vary in any domain.")
    octant_N = np.where(here.moving_N, np.asarray(circular.octant(here.motion_N2)), 8)
    sampling, tokens_NL = options.sampling(here), here.tokens_NL
    num_codes = max(here.about.num_codes, int(tokens_NL.max()) + 1)
    plain = stats.agreement(tokens_NL, cell_N, sampling, num_codes, cells)
    share = stats.draw(
        measures.variance,
        tokens_NL,
        sampling,
        state_ND.astype(np.float32),
        bootstrap=True,
        labels=num_codes,
    )
    beyond = beyond_motion(here, tokens_NL, cell_N, octant_N, num_codes, cells, sampling)
    headline = text.mean_over(
        [beyond.map(lambda x, i=i: x[:, i]) for i in range(tokens_NL.shape[1])]
    )
    rows = table(plain, share, beyond)
    numbers = {
        "samples": len(here), "dims": int(np.isfinite(here.columns["state"]).any(axis=0).sum()),
        "cells": cells, "ami": {row["position"]: row["ami"] for row in rows},
        "share": {row["position"]: row["share"] for row in rows},
    }  # fmt: skip
    figures = {"positions": bars(plain, share, beyond)} | scatters(here, state_ND, options)
    missing = ()
    if not some_N.all():
        missing = (f"{100 * (1 - some_N.mean()):.0f} % of the samples have no state.",)
    if not np.isfinite(headline.value):
        missing += ("All samples have the same token at every position.",)
    return Result(QUESTION, reading(headline, plain), HOW, headline, numbers, {"positions": rows},
                  figures, missing)  # fmt: skip


def known(records):
    """Samples that have a dim of the state: bool [N]."""
    state_ND = records.columns.get("state")
    if state_ND is None or state_ND.ndim != 2 or not state_ND.shape[1]:
        return np.zeros(len(records), bool)
    return np.isfinite(state_ND).any(axis=1)


def cells_of(records, options):
    """(state on one scale within each domain [N,D], 0 where it lacks a dim; cell of each sample,
    those of one domain side by side; number of cells)."""
    state_ND = np.zeros(records.columns["state"].shape)
    cell_N, total = np.zeros(len(records), np.int32), 0
    for domain in records.domains:
        here_N = records.domain_N == domain
        raw_MD = records.columns["state"][here_N].astype(np.float64)
        raw_MD = np.where(np.isfinite(raw_MD), raw_MD, stats.known_mean(raw_MD, axis=0))
        centred_MD = np.nan_to_num(raw_MD - raw_MD.mean(axis=0))
        spread_D = centred_MD.std(axis=0)
        scaled_MD = np.where(spread_D > 1e-9, centred_MD / np.maximum(spread_D, 1e-9), 0.0)
        state_ND[here_N] = scaled_MD
        count = min(CELLS, len(np.unique(scaled_MD.round(6), axis=0)), max(1, len(scaled_MD) // 20))
        cell_N[here_N] = total + cluster.kmeans(scaled_MD, count, options.seed)[0]
        total += count
    return state_ND, cell_N, total if (state_ND != 0).any() else 1


def beyond_motion(records, tokens_NL, cell_N, octant_N, num_codes, cells, sampling):
    """Drawn of I(token; cell | domain, octant) / H(token | domain, octant), [L].

    What is exchanged are the states of whole episodes, so that tokens keep their motion.
    """
    domain_N = moving.number_of(records.domain_N, records.domains)
    return stats.draw(
        told, cell_N, sampling, tokens_NL, octant_N.astype(np.int32), domain_N,
        codes=num_codes, cells=cells, domains=len(records.domains),
    )  # fmt: skip


def told(cell_N, weight_N, tokens_NL, octant_N, domain_N, codes, cells, domains):
    """Share of what is not known of a token in its domain and octant that its cell tells: [L]."""
    # cells belong to one domain, so (octant, cell) tells the domain, too
    given = ((octant_N * domains + domain_N, 9 * domains), (octant_N * cells + cell_N, 9 * cells))

    def one(token_N):
        rough, fine = (
            information.conditional_entropy_mm(
                information.crosstab(token_N, label_N, codes, count, weight_N)
            )
            for label_N, count in given
        )
        return jnp.where(rough > 1e-6, 1 - fine / jnp.maximum(rough, 1e-6), jnp.nan)

    return jax.vmap(one, in_axes=1)(tokens_NL)


def table(plain, share, beyond):
    """A row for each position."""
    rows = []
    found = [one.estimate() for one in (beyond, plain, share)]
    for place in range(len(plain.value)):
        row = {"position": f"position {place}"}
        for name, one in zip(("beyond_motion", "ami", "share"), found, strict=True):
            row |= {name: one.value[place], f"{name}_low": one.low[place],
                    f"{name}_high": one.high[place], f"{name}_by_chance": one.null[place],
                    f"{name}_p": one.p[place]}  # fmt: skip
        rows.append(row)
    return rows


def bars(plain, share, beyond):
    """All three numbers of each position."""
    found = [one.estimate() for one in (plain, share, beyond)]
    stack = lambda name: np.stack([getattr(one, name) for one in found], axis=1)  # noqa: E731
    return trial_plots.bars(
        stack("value"), stack("low"), stack("high"),
        [f"position {place}" for place in range(len(plain.value))],
        ("AMI with cells", "variance between tokens", "beyond motion"), plots.COLOURS[:3],
        stack("null"), "what a token tells of the state, 0..1", "Tokens and the state",
    )  # fmt: skip


def scatters(records, state_ND, options):
    """{name: Figure} of the states of each domain by token, at most FIGURES."""
    found = {}
    for domain in records.domains[:FIGURES]:
        index_M = np.flatnonzero(records.domain_N == domain)
        rng = np.random.default_rng(options.seed)
        index_M = np.sort(rng.permutation(index_M)[:SHOWN])
        points_MD, names = state_ND[index_M], ("dim 0 of the state", "dim 1")
        if len(index_M) < 3:
            continue
        if points_MD.shape[1] != 2:
            components = pca.fit(points_MD, 2)
            points_MD = pca.apply(components, points_MD)
            points_MD = np.pad(points_MD, ((0, 0), (0, 2 - points_MD.shape[1])))
            names = ("component 1 of the state", "component 2")
        top_SL = codes.sequences(records.tokens_NL[index_M])[0][:6]
        figure = token_plots.scatter(
            points_MD, records.tokens_NL[index_M], top_SL, names, f"State by token, {domain}"
        )
        found[f"states_{domain.replace('/', '_')}"] = figure
    return found


def reading(headline, plain):
    if not np.isfinite(headline.value):
        return "Nothing can be said: tokens do not vary."
    found = text.mean_over([plain.map(lambda x, i=i: x[:, i]) for i in range(len(plain.value))])
    return (
        f"Where domain and direction are known, the state tells {100 * headline.value:.0f} % of "
        f"what is left of a token ({100 * headline.null:.0f} % by chance); adjusted mutual "
        f"information of token and state is {found.value:.3f} ({found.null:.3f} by chance)."
    )

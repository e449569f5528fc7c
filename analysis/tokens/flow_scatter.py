"""Analysis 1: do tokens tell where things move? N samples, P labels of a sample, G domains."""

import numpy as np

from analysis.tokens import measures, moving
from analysis.tokens.result import Result, nothing
from lam import motion_plots
from lam.ops import stats

QUESTION = "Do tokens tell in which direction things move?"
HOW = """\
The number is the adjusted mutual information of a token with the direction of the motion (one of
eight): 0 where the token tells no more than chance, 1 where each tells the other. It is computed
for every position of the tokens by itself, and for the most frequent sequences ("other" for the
rest); the headline is the mean over the positions. "By chance" is the same number after whole
episodes were given the tokens of other episodes of their domain, so it already contains what
tokens and motion share because both are alike within an episode or a domain; p is the share of
500 such exchanges (as set) that reach the number. A position need not tell everything: with
several positions each may tell a part, so compare runs with the same number of positions.
"raw" is the motion as it is, "centred" less the mean motion of its domain (which takes away a
camera that moves). `variance.csv` says which share of the variance of the motion lies between
tokens (debiased: 0 by chance, 1 where tokens say all).

The scatter plots show the motion of each sample, right to the right and down downwards, a panel
for each position. A token has the colour of the direction in which it moves on average over all
domains, and its number stands at its mean. Where tokens tell the direction, a panel looks like a
colour wheel; in the panels of single domains colours should be in the same places."""


def run(records, options):
    """Result: tokens against motion, for all domains and each by itself."""
    ground = moving.of(records, options)
    sentence = moving.why_not(ground)
    if sentence:
        return nothing(QUESTION, HOW, sentence, ground.numbers)
    everywhere_N = np.ones(len(ground), bool)
    drawn = {centred: _agreement(ground, everywhere_N, centred) for centred in (False, True)}
    rows = [one for centred, found in drawn.items() for one in _rows(ground, found, "all", centred)]
    missing = list(ground.missing)
    for number, domain in enumerate(ground.domains):
        here_N = ground.domain_N == number
        if here_N.sum() < options.support:
            missing.append(_few(domain, int(here_N.sum()), options.support))
        else:
            rows += _rows(ground, _agreement(ground, here_N, False), domain, False)
    best = {
        name: moving.over_positions(drawn[centred], ground.length).estimate()
        for centred, name in enumerate(("raw", "centred"))
    }
    variance = _variance(ground)
    rows = moving.with_q(rows)
    headline = moving.headline(best["raw"])
    return Result(
        QUESTION,
        _reading(headline, options.level),
        HOW,
        headline,
        {**ground.numbers, **{f"agreement_{name}": one._asdict() for name, one in best.items()}},
        {"agreement": rows, "variance": variance},
        _figures(ground, rows),
        tuple(missing),
    )


def _few(domain, samples, support):
    return f"{domain}: only {samples} samples in which something moves, of {support} needed."


def _agreement(ground, here_N, centred):
    """Drawn [P] over the samples of a mask."""
    sampling = ground.sampling
    if not here_N.all():
        sampling = ground.options.sampling(ground.records.select(here_N))
    return stats.agreement(
        ground.labels_NP[here_N], ground.octant(centred)[here_N], sampling, ground.labels,
        moving.OCTANTS,
    )  # fmt: skip


def _rows(ground, drawn, domain, centred):
    found = drawn.estimate()
    samples = len(ground) if domain == "all" else int((ground.records.domain_N == domain).sum())
    return [
        {"domain": domain, "kind": one.name, "motion": "centred" if centred else "raw",
         "samples": samples, **moving.row(found, place)}
        for place, one in enumerate(ground.kinds)
    ]  # fmt: skip


def _variance(ground):
    rows = []
    for centred, name in enumerate(("raw", "centred")):
        found = stats.estimate(
            measures.variance, ground.labels_NP, ground.sampling,
            ground.vectors(centred).astype(np.float32), labels=ground.labels,
        )  # fmt: skip
        rows += [
            {"kind": one.name, "motion": name, **moving.row(found, place)}
            for place, one in enumerate(ground.kinds)
        ]
    return rows


def _reading(headline, level):
    if headline is None:
        return "Neither tokens nor directions vary, so nothing can be said."
    told = "Tokens tell" if headline.p < level else "It is not shown that tokens tell"
    return f"{told} the direction of the motion: adjusted mutual information {headline}."


def _figures(ground, rows):
    figures = {}
    for centred, name in enumerate(("raw", "centred")):
        motion_N2 = ground.vectors(centred)
        title = f"Motion by token, all domains, {name}"
        figures[f"scatter_{name}"] = _scatter(ground, motion_N2, np.ones(len(ground), bool), title)
    for number, domain in enumerate(ground.domains):
        here_N = ground.domain_N == number
        if here_N.sum() >= max(2, ground.options.support):
            figures[f"scatter_{moving.file_name(domain)}"] = _scatter(
                ground, ground.motion_N2, here_N, f"Motion by token, {domain}, raw"
            )
    panels = {}
    for one in rows:
        if one["motion"] == "raw":
            low, high = np.clip((one["low"], one["high"]), -1, 1)  # of few episodes it is wider
            bar = one["value"], low, high, one["null"]
            panels.setdefault(one["domain"], {})[one["kind"]] = bar
    figures["agreement"] = motion_plots.bars(
        panels, "How much tokens tell of the direction", "adjusted mutual information"
    )
    return figures


def _scatter(ground, motion_N2, here_N, title):
    length = ground.length
    return motion_plots.scatter(
        motion_N2, ground.labels_NP[:, :length], [one.names for one in ground.kinds[:length]],
        title, ground.records.unit, here_N,
    )  # fmt: skip

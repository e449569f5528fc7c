"""Analysis 5: do all domains use the same tokens? N samples, T kinds, G domains."""

import numpy as np

from analysis.tokens import kinds, moving
from analysis.tokens.result import Result
from lam import motion_plots
from lam.ops import stats

QUESTION = "Do all domains use the same tokens, equally often?"
HOW = """\
Each cell says how many samples of a domain have the token or the sequence, and which percentage of
the domain's samples that is. Columns of one picture can be compared: the same colours in a row mean
that all domains use the token alike. All samples count, also static ones.

The number is the adjusted mutual information of the token with the domain, the mean over positions:
0 where all domains use tokens alike, 1 where the token gives the domain away. "By chance" is that
number after domains were dealt out to whole episodes; p is the share of such deals that reach it.
Cramer's V (bias-corrected after Bergsma) says the same on another scale, 0 to 1. A low number is
good for tokens that are to be shared, but not needed: robots that move differently use tokens
differently. Analysis 9 says whether domains differ where the motion is the same."""


def run(records, options):
    """Result: tables of usage, and what tokens tell of the domain."""
    every = kinds.every(records.tokens_NL, options.top)
    chosen = kinds.listed("inspected", records.tokens_NL, options.inspected)
    domain_N, domains = moving.number_of(records.domain_N, records.domains), records.domains
    counts = {one.name: kinds.supports(one, domain_N, len(domains)) for one in [chosen, *every]}
    samples_G = np.bincount(domain_N, minlength=len(domains))
    missing = []
    if not len(chosen):
        missing.append("No sequence was chosen to be inspected, so there is no picture of these.")
    tables = {
        one.name.replace(" ", "_"): _usage(one, counts[one.name], samples_G, domains)
        for one in [chosen, *every] if len(one)
    }  # fmt: skip
    positions = every[: records.tokens_NL.shape[1]]
    figures = _figures(chosen, positions, counts, samples_G, domains)
    numbers = {"samples": len(records), "domains": domains}
    sentence = _why_not(records)
    if sentence:
        return Result(QUESTION, sentence, HOW, None, numbers, tables, figures, (*missing, sentence))
    sampling = options.sampling(records)
    drawn = [
        stats.agreement(domain_N, one.number_N, sampling, len(domains), len(one),
                        index_RN=sampling.labels_RN)
        for one in every
    ]  # fmt: skip
    found = [one.estimate() for one in drawn]
    tables["agreement"] = moving.with_q([
        {"kind": one.name, "cramers_v": cramers_v(counts[one.name]), **moving.row(estimated)}
        for one, estimated in zip(every, found, strict=True)
    ])  # fmt: skip
    length = records.tokens_NL.shape[1]
    overall = stats.Drawn(
        *(stats.known_mean(np.stack([getattr(one, part) for one in drawn[:length]], axis=-1))
          for part in ("value", "null_R", "weighted_W")), drawn[0].bootstrap,
    ).estimate()  # fmt: skip
    headline = moving.headline(overall)
    return Result(
        QUESTION, _reading(headline, options.level), HOW, headline,
        {**numbers, "agreement": overall._asdict()}, tables, figures, tuple(missing),
    )  # fmt: skip


def cramers_v(counts_TG):
    """Cramer's V with the correction of Bergsma (2013), 0..1; NaN where a label does not vary."""
    counts_TG = np.asarray(counts_TG, np.float64)
    counts_TG = counts_TG[counts_TG.sum(axis=1) > 0][:, counts_TG.sum(axis=0) > 0]
    total, (rows, columns) = counts_TG.sum(), counts_TG.shape
    if min(rows, columns) < 2 or total < 2:
        return float("nan")
    expected_TG = counts_TG.sum(axis=1, keepdims=True) * counts_TG.sum(axis=0) / total
    phi2 = ((counts_TG - expected_TG) ** 2 / expected_TG).sum() / total
    phi2 = max(0.0, phi2 - (rows - 1) * (columns - 1) / (total - 1))
    side = min(x - (x - 1) ** 2 / (total - 1) for x in (rows, columns))
    return float(np.sqrt(phi2 / (side - 1))) if side > 1 else float("nan")


def _why_not(records):
    if len(records.domains) < 2:
        return f"There is only one domain, {records.domains[0]}, so its usage has no other beside."
    if len(np.unique(records.tokens_NL, axis=0)) == 1:
        return "All samples have the same tokens, so these say nothing about the domain."
    return None


def _usage(one, counts_TG, samples_G, domains):
    return [
        {"kind": one.name, "token": name, "domain": domain, "samples": int(counts_TG[kind, number]),
         "share": float(counts_TG[kind, number] / samples_G[number])}
        for kind, name in enumerate(one.names) for number, domain in enumerate(domains)
    ]  # fmt: skip


def _reading(headline, level):
    if headline is None:
        return "Tokens or domains do not vary, so nothing can be said."
    if headline.p < level:
        start = "Domains use tokens differently"
    else:
        start = "It is not shown that domains use tokens differently"
    return f"{start}: adjusted mutual information of token and domain {headline}."


def _figures(chosen, positions, counts, samples_G, domains):
    figures = {}
    if len(chosen):
        panels = {"inspected sequences": (counts[chosen.name], chosen.names)}
        figures["inspected"] = motion_plots.usage(
            panels, samples_G, domains, "Usage of inspected sequences"
        )
    for start in range(0, len(positions), 4):
        some = [one for one in positions[start : start + 4] if len(one) <= 32]
        if some:
            panels = {one.name: (counts[one.name], one.names) for one in some}
            name = "positions" if len(positions) <= 4 else f"positions_{start}"
            figures[name] = motion_plots.usage(
                panels, samples_G, domains, "Usage of tokens by domain"
            )
    return figures

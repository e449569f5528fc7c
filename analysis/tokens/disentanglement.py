"""Analysis 9: do tokens say only the motion, or also the robot and the scene?

N samples, P labels of a sample, B bins of motion or action, G domains, D dims of the action.
"""

import numpy as np

from analysis.tokens import measures, moving
from analysis.tokens.result import Result, nothing
from lam import motion_plots
from lam.ops import circular, stats

QUESTION = "Does the same motion always give the same token?"
BINS = moving.OCTANTS * moving.TERCILES
HOW = """\
Motions are put into 24 bins: eight directions times three speeds (a third of all samples each).
The headline is the share of the entropy of a token that is left when the bin is known (Miller-Madow
corrected), the mean over positions: 0 where the same motion always gives the same token, 1 where
the motion says nothing about it. "By chance" is the share after whole episodes were given the
tokens of other episodes of their domain; p is the share of such exchanges that leave as little. It
cannot be 0 for real tokens: bins are wide, flow has errors, and tokens may say more than motion.

"Of the rest, told by the domain" is the part of what is left that the domain tells: 0 where two
robots with the same motion use the same tokens. Its chance deals domains out to whole episodes.
Where the true action is known, the same is computed with bins of its first two dims (direction and
length; with three dims or more the octant of space of the first three), always within a domain,
because robots have coordinates of their own.

`entropy.csv` has all of it for each position and for the most frequent sequences."""


def run(records, options):
    """Result: entropy of tokens given motion, given action, and what the domain adds."""
    ground = moving.of(records, options)
    sentence = moving.why_not(ground)
    if sentence:
        return nothing(QUESTION, HOW, sentence, ground.numbers)
    missing = list(ground.missing)
    bin_N = bins(ground.octant(), ground.tercile(by_domain=False))
    drawn = _draw(ground, bin_N)
    given = {"motion": drawn.map(lambda x: _share(x, 1, 0))}
    rows = _rows(ground, "motion", given["motion"], "less")
    if len(ground.domains) > 1:
        rest = stats.draw(
            measures.remains_of_domain, ground.domain_N, ground.sampling, ground.labels_NP, bin_N,
            index_RN=ground.sampling.labels_RN, **_sizes(ground),
        ).map(_told_by_domain)  # fmt: skip
        given["domain"] = rest
        rows += _rows(ground, "of the rest, told by the domain", rest, "greater")
    else:
        missing.append("There is only one domain, so it cannot be said what domains tell.")
    action_N, sentence = action_bins(ground)
    if sentence:
        missing.append(sentence)
    else:
        given["action"] = _draw(ground, action_N).map(lambda x: _share(x, 2, 3))
        rows += _rows(ground, "true action", given["action"], "less")
    overall = {
        name: moving.over_positions(one, ground.length).estimate(
            "greater" if name == "domain" else "less"
        ) for name, one in given.items()
    }  # fmt: skip
    headline = moving.headline(overall["motion"])
    return Result(
        QUESTION,
        _reading(overall, headline, options.level),
        HOW,
        headline,
        {**ground.numbers, **{f"given_{name}": one._asdict() for name, one in overall.items()}},
        {"entropy": moving.with_q(rows)},
        {"entropy": _figure(rows)},
        tuple(missing),
    )


def bins(octant_N, tercile_N):
    """0..23, -1 where the direction is not known."""
    return np.where(octant_N < 0, -1, octant_N * moving.TERCILES + tercile_N).astype(np.int32)


def action_bins(ground):
    """(bins int32 [N], -1 where no action is known; None) or (None, why there are none)."""
    action_ND = ground.records.columns.get("action")
    if action_ND is None or not action_ND.shape[1]:
        return None, "There are no true actions, so tokens are compared with the motion only."
    known_N = np.isfinite(action_ND[:, :2]).all(axis=1)
    if action_ND.shape[1] < 2 or known_N.sum() < max(2, ground.options.support):
        return None, "Too few samples have a true action of two dims or more to compare with."
    found_N = np.full(len(action_ND), -1, np.int32)
    for domain in np.unique(ground.domain_N):
        here_N = known_N & (ground.domain_N == domain)
        if here_N.any():
            found_N[here_N] = _of_domain(action_ND[here_N].astype(np.float64))
    return found_N, None


def _of_domain(action_ND):
    known_D = np.isfinite(action_ND).all(axis=0)
    if action_ND.shape[1] > 2 and known_D[:3].all() and np.ptp(action_ND[:, 2]) > 0:
        action_N3 = action_ND[:, :3]
        octant_N = ((action_N3 > 0) * np.array([1, 2, 4])).sum(axis=1)
        return bins(octant_N, moving.terciles(np.linalg.norm(action_N3, axis=1)))
    octant_N = np.asarray(circular.octant(action_ND[:, :2]))
    return bins(octant_N, moving.terciles(np.linalg.norm(action_ND[:, :2], axis=1)))


def _sizes(ground):
    return {"labels": ground.labels, "bins": BINS, "domains": len(ground.domains)}


def _draw(ground, bin_N):
    return stats.draw(
        measures.remains, ground.labels_NP, ground.sampling, bin_N, ground.domain_N,
        **_sizes(ground),
    )  # fmt: skip


def _share(entropy_M4P, given, of):
    return moving.ratio(entropy_M4P[:, given], entropy_M4P[:, of])


def _told_by_domain(entropy_M4P):
    return moving.ratio(entropy_M4P[:, 1] - entropy_M4P[:, 2], entropy_M4P[:, 1])


def _rows(ground, given, drawn, alternative):
    found = drawn.estimate(alternative)
    return [
        {"given": given, "kind": one.name, **moving.row(found, place)}
        for place, one in enumerate(ground.kinds)
    ]


def _reading(overall, headline, level):
    if headline is None:
        return "Tokens do not vary where the motion is known, so nothing can be said."
    found = f"When the motion is known, {100 * headline.value:.0f} % of a token is left open"
    if not headline.p < level:
        found = "It is not shown that the motion says anything about the token"
    found = f"{found}: share of its entropy {headline}."
    domain = overall.get("domain")
    if domain is None or not np.isfinite(domain.value):
        return found
    if domain.p < level:
        return f"{found} Of this the domain tells {100 * domain.value:.0f} %, p = {domain.p:.3f}."
    return f"{found} It is not shown that the domain tells any of this, p = {domain.p:.2f}."


def _figure(rows):
    panels = {}
    for one in rows:
        bar = one["value"], one["low"], one["high"], one["null"]
        head = one["given"] if one["given"].startswith("of") else f"given the {one['given']}"
        panels.setdefault(head, {})[one["kind"]] = bar
    return motion_plots.bars(panels, "What is left open of a token", "share of its entropy")

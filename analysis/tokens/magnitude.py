"""Analysis 12: do tokens tell the direction of the motion, its magnitude, or both?

N samples, P labels of a sample, G domains.
"""

import numpy as np

from analysis.tokens import measures, moving
from analysis.tokens.result import Result, nothing
from lam import motion_plots
from lam.ops import stats

QUESTION = "Do tokens tell the direction of the motion, its magnitude, or both?"
LEAST = 0.02  # above chance, from which a share is called told
HOW = """\
Two shares are compared, both within domains and for each position of the tokens. Direction: of the
uncertainty about the direction (one of eight) that is left when the magnitude is known (slow,
middle or fast for its domain), the share that the token takes away. Magnitude: the same the other
way round. Both are 0 where the token says nothing and 1 where it says all (conditional mutual
information over conditional entropy, Miller-Madow corrected). The headline is direction less
magnitude, the mean over positions: above 0 tokens tell rather the direction, below 0 rather the
magnitude, near 0 both alike or neither; the sentence says which. It calls a share told where p is
below the level and the share at least 2 % above chance. "By chance" and p (two-sided for the
headline) are by giving whole episodes the tokens of other episodes of their domain.

`told.csv` has both shares for each position and for the most frequent sequences, the adjusted
mutual information with either, and which share of the variance of the unit direction and of the
logarithm of the magnitude (less its mean in the domain) lies between tokens, debiased. A code may
leave the magnitude to one position and the direction to another: look at the rows."""


def run(records, options):
    """Result: what tokens tell of direction and of magnitude."""
    ground = moving.of(records, options)
    sentence = moving.why_not(ground)
    if sentence:
        return nothing(QUESTION, HOW, sentence, ground.numbers)
    told = {name: _told(ground, centred) for centred, name in enumerate(moving.UNITS)}
    rows = [
        one
        for name, number, drawn in _measured(ground, told["raw"])
        for one in _rows(ground, name, number, drawn)
    ]
    numbers, main = {}, None
    for name, drawn in told.items():
        parts = {
            "direction": drawn.map(lambda x: x[:, 0]), "magnitude": drawn.map(lambda x: x[:, 1]),
            "difference": drawn.map(lambda x: x[:, 0] - x[:, 1]),
        }  # fmt: skip
        found = {
            key: moving.over_positions(one, ground.length).estimate(
                "both" if key == "difference" else "greater"
            ) for key, one in parts.items()
        }  # fmt: skip
        numbers |= {f"{key}_{name}": one._asdict() for key, one in found.items()}
        main = main or found
    headline = moving.headline(main["difference"])
    verdict, sentence = judge(main, headline, options.level)
    rows = moving.with_q(rows)
    return Result(
        QUESTION,
        sentence,
        HOW,
        headline,
        {**ground.numbers, "verdict": verdict, **numbers},
        {"told": rows},
        {"told": _figure(rows)},
        ground.missing,
    )


def judge(found, headline, level):
    """("direction", "magnitude", "both", "neither" or "unknown", a sentence)."""
    if headline is None:
        return "unknown", "Directions or magnitudes do not vary, so they cannot be compared."
    words = ", ".join(
        f"{100 * found[name].value:.0f} % of the {name} (by chance {100 * found[name].null:.0f} %, "
        f"p = {found[name].p:.3f})"
        for name in ("direction", "magnitude")
    )
    direction, magnitude = (
        found[name].p < level and found[name].value - found[name].null >= LEAST
        for name in ("direction", "magnitude")
    )
    if not direction and not magnitude:
        return "neither", f"It is not shown that tokens tell direction or magnitude: {words}."
    if direction != magnitude:
        verdict, other = ("direction", "magnitude") if direction else ("magnitude", "direction")
        start = f"Tokens tell the {verdict}, and it is not shown that they tell the {other}"
        return verdict, f"{start}: a position tells {words}."
    low, high = headline.low - headline.null, headline.high - headline.null
    start = "Tokens tell both"
    if low > 0 or high < 0:
        start += f", rather the {'direction' if low > 0 else 'magnitude'}"
    return "both", f"{start}: a position tells {words}."


def _told(ground, centred):
    """Drawn [2, P]: shares of direction and of magnitude."""
    return stats.draw(
        measures.both, ground.labels_NP, ground.sampling, ground.octant(centred),
        ground.tercile(by_domain=True), ground.domain_N, labels=ground.labels,
        firsts=moving.OCTANTS, seconds=moving.TERCILES, domains=len(ground.domains),
    ).map(_shares)  # fmt: skip


def _shares(x_M4P):
    return moving.ratio(x_M4P[:, 0::2], x_M4P[:, 1::2])


def _measured(ground, told):
    """(what, measure, Drawn [P]) of all that is told, of motion as it is."""
    octant_N, tercile_N = ground.octant(), ground.tercile(by_domain=True)
    length_N1 = np.linalg.norm(ground.motion_N2, axis=1, keepdims=True)
    log_N1 = np.log(np.maximum(length_N1, 1e-9))
    log_N1 = log_N1 - moving.means(log_N1, ground.domain_N, len(ground.domains))
    values = {"direction": ground.motion_N2 / np.maximum(length_N1, 1e-9), "magnitude": log_N1}
    for number, (name, other_N, count) in enumerate(
        (("direction", octant_N, moving.OCTANTS), ("magnitude", tercile_N, moving.TERCILES))
    ):
        yield name, "share of its uncertainty", told.map(lambda x, at=number: x[:, at])
        yield (
            name,
            "adjusted mutual information",
            stats.agreement(ground.labels_NP, other_N, ground.sampling, ground.labels, count),
        )
        yield name, "share of variance", stats.draw(
            measures.variance, ground.labels_NP, ground.sampling,
            values[name].astype(np.float32), labels=ground.labels,
        )  # fmt: skip


def _rows(ground, name, measure, drawn):
    found = drawn.estimate()
    return [
        {"of": name, "measure": measure, "kind": one.name, **moving.row(found, place)}
        for place, one in enumerate(ground.kinds)
    ]


def _figure(rows):
    panels = {}
    for one in rows:
        if one["measure"] != "adjusted mutual information":
            bar = one["value"], one["low"], one["high"], one["null"]
            panels.setdefault(f"{one['of']}: {one['measure']}", {})[one["kind"]] = bar
    return motion_plots.bars(panels, "What tokens tell of direction and magnitude", "share told")

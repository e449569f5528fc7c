"""Analysis 6: which way does each inspected sequence of tokens point, in each domain?

N samples, T inspected sequences, G domains, E episodes. x right, y down.
"""

import jax
import numpy as np

from analysis.tokens import kinds, measures, moving
from analysis.tokens.result import Result, nothing
from lam import motion_plots
from lam.ops import circular, stats

QUESTION = "Which way does each inspected sequence of tokens point, and is it the same everywhere?"
NUMBERS = ("length", "length2", "axial", "p")  # of `lam.ops.circular.resultants`
OPPOSED = 0.5  # axial second moment from which motions of no direction are called opposed
HOW = """\
An arrow is the mean motion of all samples of a domain that have the sequence; a cell is a sequence,
a colour a domain. In the raw figure arrows can agree only because a robot mostly moves one way (or
its camera does); `dataset_baseline.csv` holds that mean motion of each domain. In the centred
figure it is taken away: arrows that still point the same way in all colours mean the same motion.
Domains with fewer samples of the sequence than the minimum have no arrow.

The number is the mean cosine between the directions of two samples with the same sequence, from
different episodes and any domains, centred: 1 where a sequence is one direction, 0 where it says
nothing ("by chance": episodes were given the tokens of other episodes of their domain).

`compass.csv` has for each sequence and domain ("all" for all together): the mean motion, its
direction in degrees (0 right, 90 down), `length`, the resultant length of the directions (0 none,
1 all the same) and `length2`, its square without what is there by chance (may be below 0), the
Rayleigh test that directions are not uniform (p, and q over all rows), and `axial`: near 1 with a
small length, the sequence has two opposed motions, marked as `opposed`."""


def run(records, options):
    """Result: arrows, resultant lengths and baselines."""
    ground = moving.of(records, options)
    sentence = moving.why_not(ground)
    if sentence:
        return nothing(QUESTION, HOW, sentence, ground.numbers)
    tables = {"dataset_baseline": _baseline(ground)}
    chosen = kinds.listed("inspected", ground.records.tokens_NL, options.inspected)
    if not (chosen.number_N >= 0).any():
        sentence = (
            "No sequence was chosen to be inspected, so there are no arrows."
            if not len(chosen)
            else "In no sample of an inspected sequence does anything move, so there are no arrows."
        )
        return Result(
            QUESTION, sentence, HOW, None, ground.numbers, tables, {}, (sentence, *ground.missing)
        )
    found = {name: _cosine(ground, chosen, name == "centred") for name in moving.UNITS}
    tables["compass"] = rows = _rows(ground, chosen)
    headline = moving.headline(found["centred"], least=-1, most=1)
    missing = list(ground.missing)
    if not any(one["domain"] != "all" for one in rows):
        missing.append(
            f"No inspected sequence has {options.support} moving samples in a domain: no arrows."
        )
    opposed = [one["sequence"] for one in rows if one["opposed"] and one["domain"] == "all"
               and one["motion"] == "centred"]  # fmt: skip
    return Result(
        QUESTION,
        _reading(headline, opposed, options.level),
        HOW,
        headline,
        {**ground.numbers, "inspected": len(chosen), "opposed": opposed,
         **{f"cosine_{name}": one._asdict() for name, one in found.items()}},
        tables,
        _figures(ground, chosen, rows),
        tuple(missing),
    )  # fmt: skip


def _cosine(ground, chosen, centred):
    angle_N = np.arctan2(*ground.vectors(centred).T[::-1]).astype(np.float32)
    return stats.estimate(
        measures.cosine, chosen.number_N, ground.sampling, angle_N, ground.sampling.number_N,
        labels=len(chosen), episodes=ground.sampling.episodes,
    )  # fmt: skip


def _baseline(ground):
    rows = []
    found = _resultants(ground, ground.domain_N, len(ground.domains), False)
    for number, domain in enumerate(ground.domains):
        motion_N2 = ground.motion_N2[ground.domain_N == number]
        if len(motion_N2):
            mean_2 = motion_N2.mean(axis=0)
            rows.append({
                "domain": domain, "samples": len(motion_N2), "x": mean_2[0], "y": mean_2[1],
                "degrees": float(moving.degrees(mean_2)),
                "speed": float(np.linalg.norm(motion_N2, axis=1).mean()),
                "length": float(found["length"][number]), "unit": ground.records.unit,
            })  # fmt: skip
    return rows


_jitted = jax.jit(
    circular.resultants, static_argnames=("kinds", "episodes")
)  # compiled for each number of samples


def _resultants(ground, kind_N, count, centred):
    angle_N = np.arctan2(*ground.vectors(centred).T[::-1]).astype(np.float32)
    found = _jitted(
        angle_N, kind_N, kinds=count, weight_N=np.ones(len(ground), np.float32),
        episode_N=ground.sampling.number_N, episodes=ground.sampling.episodes,
    )  # fmt: skip
    return {name: np.asarray(value, np.float64) for name, value in found.items()}


def _rows(ground, chosen):
    """Rows of compass.csv: each sequence in each domain that has enough, and in all."""
    domains, rows = len(ground.domains), []
    apart_N = np.where(chosen.number_N < 0, -1, chosen.number_N * domains + ground.domain_N)
    for centred, name in enumerate(moving.UNITS):
        motion_N2 = ground.vectors(centred)
        each = _resultants(ground, apart_N, len(chosen) * domains, centred)
        whole = _resultants(ground, chosen.number_N, len(chosen), centred)
        for kind, sequence in enumerate(chosen.names):
            for domain in range(-1, domains):
                place = kind if domain < 0 else kind * domains + domain
                found, number_N = (whole, chosen.number_N) if domain < 0 else (each, apart_N)
                if found["count"][place] < max(1, ground.options.support):
                    continue
                mean_2 = motion_N2[number_N == place].mean(axis=0)
                numbers = {key: float(found[key][place]) for key in NUMBERS}
                rows.append({
                    "sequence": sequence, "motion": name,
                    "domain": "all" if domain < 0 else ground.domains[domain],
                    "samples": int(found["count"][place]), "x": mean_2[0], "y": mean_2[1],
                    "degrees": float(moving.degrees(mean_2)), **numbers,
                })  # fmt: skip
    for one in (rows := moving.with_q(rows)):
        one["opposed"] = one["axial"] > OPPOSED and one["length"] < one["axial"] / 2
    return rows


def _reading(headline, opposed, level):
    if headline is None:
        return "Inspected sequences have too few samples of different episodes to say anything."
    if headline.p < level:
        start = "Inspected sequences point somewhere"
    else:
        start = "It is not shown that inspected sequences point anywhere"
    found = f"{start}: two samples with the same sequence have a mean cosine of {headline}."
    return found + (f" Motions of {', '.join(opposed)} are opposed." if opposed else "")


def _figures(ground, chosen, rows):
    figures, places = {}, {name: number for number, name in enumerate(chosen.names)}
    for name, words in moving.UNITS.items():
        mean_TG2 = np.full((len(chosen), len(ground.domains), 2), np.nan)
        for one in rows:
            if one["motion"] == name and one["domain"] != "all":
                domain = ground.domains.index(one["domain"])
                mean_TG2[places[one["sequence"]], domain] = one["x"], one["y"]
        if np.isfinite(mean_TG2).any():
            figures[f"compass_{name}"] = motion_plots.compass(
                mean_TG2, chosen.names, ground.domains, ground.domains,
                f"Mean motion of each sequence, {words}", ground.records.unit,
            )  # fmt: skip
    return figures

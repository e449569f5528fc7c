"""Analysis 2: does a token mean the same motion in every domain?

N samples, P labels of a sample, T labels, G domains, C columns of sums, M draws.
"""

import itertools

import numpy as np

from analysis.tokens import kinds, measures, moving, rotations
from analysis.tokens.result import Result, nothing
from lam import motion_plots, token_plots
from lam.ops import stats

QUESTION = "Does a token mean the same motion in every domain?"
COLUMN = {"raw": 1, "centred": 4}  # of the sums: x, y and length
UNIT = {"raw": 1, "centred": 3}  # of the sums of unit vectors
UNTOLD = ("weight_MGG", "common_MGG")  # of rotations.Pairs, not in pairs.csv
TURN = 20  # degrees from which a domain is called turned
HOW = """\
The headline is an angle: how far the mean motion of a token in one domain points from the mean
motion of the same token in another domain, the mean over tokens of all positions and pairs of
domains. A token counts by its samples and by how clear its direction is; it must have the minimum
number of samples in both domains. 0 is the same direction, 90 no relation, 180 the opposite. "By
chance" is that angle after episodes were given the tokens of other episodes of their domain. p is
the share of such exchanges in which domains have as clear a direction in common (the mean product
of a token's mean motions in two domains, so clearness counts beside the angle). Motions are less
the mean motion of their domain ("centred"); "raw" are as they are, where tokens that say nothing
also agree if all robots mostly move the same way.

`domains.csv`: for each domain the agreement with all others (mean cosine, 1 the same, 0 none) and
its rotation against the domain that agrees most with all (degrees; positive turns from right
towards down), and the agreement when turned back: a camera from another side shows as a rotation
with a high agreement after it. With two domains it cannot be said which is turned. `tokens.csv`:
for each token the angle and the share of the variance of its directions that lies between domains
(debiased, 0 where domains do not matter), with p by dealing domains out to whole episodes and q,
the false discovery rate over tokens. `old_consistency` is one less the circular variance of the
domains' mean angles, only there to compare with the script this replaces: it has no zero point.

Figures: the mean direction of each token in each domain, marks of one token should lie at one
height (the larger the mark, the clearer the direction); and the angle for each pair of domains."""


def run(records, options):
    """Result: angles between domains, turned domains, and tokens that differ."""
    ground = moving.of(records, options)
    sentence = moving.why_not(ground) or _why_not(ground)
    if sentence:
        return nothing(QUESTION, HOW, sentence, ground.numbers)
    columns_NC = _columns(ground)
    sizes = {"labels": ground.labels, "domains": len(ground.domains)}
    drawn = stats.draw(
        measures.sums, ground.labels_NP, ground.sampling, ground.domain_N, columns_NC, **sizes
    )
    enough_PTG = _enough(ground, drawn.value)
    if not (enough_PTG[: ground.length].sum(axis=-1) > 1).any():
        return nothing(QUESTION, HOW, _too_rare(ground), ground.numbers)
    angles = {name: _headline(drawn, ground.length, enough_PTG, at) for name, at in COLUMN.items()}
    domains, pairs = _domains(ground, drawn, enough_PTG)
    tokens, differing = _tokens(ground, drawn.value, enough_PTG, sizes)
    old = {
        name: drawn.map(
            lambda x, at=at: rotations.old_consistency(x[:, : ground.length],
                                                       enough_PTG[: ground.length], at)
        ).estimate()._asdict() for name, at in COLUMN.items()
    }  # fmt: skip
    headline = moving.headline(angles["centred"], "degrees", 0, 180)
    turned = [one for one in domains if one["turned"]]
    return Result(
        QUESTION,
        _reading(headline, turned, len(ground.domains), options.level),
        HOW,
        headline,
        {
            **ground.numbers, "angle_raw": angles["raw"]._asdict(),
            "angle_centred": angles["centred"]._asdict(), "between_share": differing,
            "old_consistency": old, "turned": {one["domain"]: one["rotation"] for one in turned},
            "tokens_that_differ": sum(one["differs"] for one in tokens),
            "tokens_tested": sum(bool(np.isfinite(one["p"])) for one in tokens),
        },
        {"tokens": tokens, "domains": domains, "pairs": pairs,
         "directions": _directions(ground, drawn.value)},
        _figures(ground, drawn.value, enough_PTG, pairs),
        ground.missing,
    )  # fmt: skip


def _why_not(ground):
    if len(ground.domains) < 2:
        return f"There is only one domain, {ground.domains[0]}, so nothing can be compared."
    if len(np.unique(ground.domain_N)) < 2:
        return "Something moves in only one domain, so nothing can be compared."
    return None


def _too_rare(ground):
    return (
        f"No token has {ground.options.support} samples in each of two domains, so none can be "
        "compared between domains."
    )


def _columns(ground):
    """Ones; motion and length, raw and centred: float32 [N, 7]."""
    found = [np.ones((len(ground), 1))]
    for centred in (False, True):
        motion_N2 = ground.vectors(centred)
        found += [motion_N2, np.linalg.norm(motion_N2, axis=1, keepdims=True)]
    return np.concatenate(found, axis=1).astype(np.float32)


def _enough(ground, sums_PTGC):
    single_PT = np.zeros(sums_PTGC.shape[:2], bool)
    for place, one in enumerate(ground.kinds):
        single_PT[place, : len(one)] = one.single_T
    return (sums_PTGC[..., 0] >= max(1, ground.options.support)) & single_PT[..., None]


def _headline(drawn, length, enough_PTG, column):
    """Estimated of the angle, with the p of what domains have in common; over the positions."""

    def measure(of):
        def one(x_MPTGC):
            found = rotations.products(x_MPTGC[:, :length], enough_PTG[:length], column)
            return of(*found, axes=(1, 2, 3, 4))

        return drawn.map(one)

    found = measure(rotations.mean_angle).estimate("less")
    p = measure(rotations.common).estimate().p
    return found._replace(p=p)


def _domains(ground, drawn, enough_PTG):
    """Rows of domains.csv and pairs.csv, of centred motions; over the positions."""
    enough = enough_PTG[: ground.length]
    of = {
        name: rotations.pairs(
            *rotations.products(x[:, : ground.length], enough, COLUMN["centred"])
        ) for name, x in (("value", drawn.value[None]), ("null", drawn.null_R),
                          ("left", drawn.weighted_W))
    }  # fmt: skip
    rotation_GG = of["value"].rotation_MGG[0]
    base, raw = rotations.reference(rotation_GG), _raw_angles(ground, drawn.value, enough)
    rows = []
    for number, name in enumerate(ground.domains):
        one = {"domain": name, "samples": int((ground.domain_N == number).sum())}
        agreement = [_with_others(of[part], number) for part in ("value", "null", "left")]
        found = _estimated(agreement[0][0], agreement[2], agreement[1])
        common = [of[part].common_MGG.real.sum(axis=2)[:, number] for part in ("value", "null")]
        found["p"] = float(stats.p_value(common[0][0], common[1]))
        one |= {f"agreement_{key}".removesuffix("_value"): v for key, v in found.items()}
        rows.append(one | _rotation(of, number, base))
    q_G = stats.benjamini_hochberg([one["p_turned_back"] for one in rows])
    for one, q in zip(rows, q_G, strict=True):
        sure = min(abs(one["rotation_low"]), abs(one["rotation_high"])) > 0
        same_side = one["rotation_low"] * one["rotation_high"] > 0
        one["turned"] = bool(
            abs(one["rotation"]) >= TURN and sure and same_side and q < ground.options.level
        )
    pairs = []
    for first, second in itertools.combinations(range(len(ground.domains)), 2):
        numbers = {
            key.split("_")[0]: float(value[0, first, second])
            for key, value in of["value"]._asdict().items() if key not in UNTOLD
        }  # fmt: skip
        pairs.append({"domain": ground.domains[first], "other": ground.domains[second],
                      **numbers, "angle_raw": float(raw[first, second])})  # fmt: skip
    return rows, pairs


def _raw_angles(ground, sums_PTGC, enough):
    product = rotations.products(sums_PTGC[None, : ground.length], enough, COLUMN["raw"])
    return rotations.mean_angle(*product, axes=(1, 2))[0]


def _with_others(pairs, number):
    """Agreement of one domain with all others: [M]."""
    weight_MG = pairs.weight_MGG[:, number]
    agreement_MG = np.nan_to_num(pairs.agreement_MGG[:, number])
    return moving.ratio((weight_MG * agreement_MG).sum(axis=1), weight_MG.sum(axis=1))


def _rotation(of, number, base):
    """Rotation of a domain against the reference, and how well they agree after turning back."""
    if number == base:
        return {"rotation": 0.0, "rotation_low": 0.0, "rotation_high": 0.0,
                "agreement_turned_back": 1.0, "p_turned_back": np.nan}  # fmt: skip
    rotation = float(of["value"].rotation_MGG[0, number, base])
    around = rotations.near(of["left"].rotation_MGG[:, number, base], rotation)
    low, high = stats.jackknife(rotation, around)
    value = float(of["value"].turned_MGG[0, number, base])
    common = [np.abs(of[part].common_MGG[:, number, base]) for part in ("value", "null")]
    p = stats.p_value(common[0][0], common[1])
    return {"rotation": rotation, "rotation_low": float(low), "rotation_high": float(high),
            "agreement_turned_back": value, "p_turned_back": float(p)}  # fmt: skip


def _estimated(value, left_W, null_R):
    low, high = stats.jackknife(value, left_W)
    null = stats.known_mean(null_R)
    return {"value": float(value), "low": float(low), "high": float(high), "null": float(null)}


def _tokens(ground, sums_PTGC, enough_PTG, sizes):
    """Rows of tokens.csv, and the share between domains over all tokens, raw and centred."""
    motions = [ground.vectors(centred).astype(np.float32) for centred in (False, True)]
    own_1N = np.arange(len(ground), dtype=np.int32)[None]
    dealt = stats.permuted(
        measures.units_of_domain, ground.domain_N,
        np.concatenate([own_1N, ground.sampling.labels_RN]), ground.labels_NP, *motions, **sizes,
    )  # fmt: skip
    shares = {name: rotations.shares(dealt[0], at) for name, at in UNIT.items()}
    nulls = {name: rotations.shares(dealt[1:], at) for name, at in UNIT.items()}
    p_PT = stats.p_value(shares["centred"][0], nulls["centred"][0])
    p_PT = np.where(enough_PTG.sum(axis=-1) > 1, p_PT, np.nan)
    product = rotations.products(sums_PTGC[None], enough_PTG, COLUMN["centred"])
    angle_PT = rotations.mean_angle(*product, axes=(3, 4))[0]
    rows = [
        {"kind": one.name, "token": name, "samples": int(sums_PTGC[place, kind, :, 0].sum()),
         "domains": int(enough_PTG[place, kind].sum()), "angle": float(angle_PT[place, kind]),
         "share_raw": float(shares["raw"][0][place, kind]),
         "share_centred": float(shares["centred"][0][place, kind]), "p": float(p_PT[place, kind])}
        for place, one in enumerate(ground.kinds) for kind, name in enumerate(one.names)
        if name != kinds.OTHER
    ]  # fmt: skip
    rows = moving.with_q(rows)
    for one in rows:
        one["differs"] = bool(one["q"] < ground.options.level)
    length, overall = ground.length, {}
    for name in UNIT:
        value = stats.known_mean(shares[name][1][:length])
        null_R = stats.known_mean(nulls[name][1][:, :length])
        overall[name] = {
            "value": float(value), "null": float(stats.known_mean(null_R)),
            "p": float(stats.p_value(value, null_R)),
        }  # fmt: skip
    return rows, overall


def _directions(ground, sums_PTGC):
    """Rows of directions.csv: the mean motion of each token in each domain."""
    rows = []
    for place, one in enumerate(ground.kinds):
        for kind, domain in itertools.product(range(len(one)), range(len(ground.domains))):
            total_C = sums_PTGC[place, kind, domain]
            if total_C[0] < ground.options.support:
                continue
            row = {"kind": one.name, "token": one.names[kind],
                   "domain": ground.domains[domain], "samples": int(total_C[0])}  # fmt: skip
            for name, at in COLUMN.items():
                mean_2 = total_C[at : at + 2] / total_C[0]
                row |= {f"{name}_x": mean_2[0], f"{name}_y": mean_2[1],
                        f"{name}_degrees": moving.degrees(mean_2)}  # fmt: skip
            rows.append(row)
    return rows


def _reading(headline, turned, domains, level):
    if headline is None:
        return "No token has a direction in two domains, so none can be compared."
    found = (
        f"A token's motion in one domain points within {headline.value:.0f} degrees of the same "
        f"token's in the others: {headline}."
    )
    if not headline.p < level:
        found = f"It is not shown that a token means one motion in all domains: {headline}."
    if turned and domains == 2:
        angle = abs(turned[0]["rotation"])
        return f"{found} One of the two domains is turned against the other by {angle:.0f} degrees."
    return found + "".join(
        f" {one['domain']} is turned by {one['rotation']:.0f} degrees against the others: turned "
        f"back it agrees to {one['agreement_turned_back']:.2f}."
        for one in turned
    )


def _figures(ground, sums_PTGC, enough_PTG, pairs):
    figures = {}
    for name, at in COLUMN.items():
        total = sums_PTGC[..., at : at + 2]
        angle_PTG = np.where(enough_PTG, moving.degrees(total), np.nan)
        clear_PTG = moving.ratio(np.linalg.norm(total, axis=-1), sums_PTGC[..., at + 2])
        panels = {}
        for place, one in enumerate(ground.kinds[: ground.length]):
            panels[one.name] = np.arange(len(one)) + place * ground.labels, one.names
        shape = -1, len(ground.domains)
        figures[f"directions_{name}"] = motion_plots.directions(
            angle_PTG.reshape(shape), np.nan_to_num(clear_PTG.reshape(shape)), panels,
            ground.domains, ground.domains, f"Mean direction of each token, {name}",
        )  # fmt: skip
    angle_GG = np.full((len(ground.domains),) * 2, np.nan)
    for one in pairs:
        places = ground.domains.index(one["domain"]), ground.domains.index(one["other"])
        angle_GG[places] = angle_GG[places[::-1]] = one["angle"]
    if np.isfinite(angle_GG).any():
        figures["angles"] = token_plots.angles(
            angle_GG, ground.domains, "Angle between the same token's motions", axes=("", "")
        )
    return figures

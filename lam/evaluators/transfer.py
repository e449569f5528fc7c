"""Do tokens of one robot say the same motion to another? Directions of decoded motion, in degrees.

Tokens of a pair of one domain are applied to first frames of every domain; what moves in the image
of the decoded frame is compared with what moves in the image of the pair, both measured by one
estimator (`lam.flow.directions`). G domains, N pairs, H W pixels.
"""

import logging

import numpy as np

from lam import token_plots
from lam.evaluators import TARGET, pick, predict_samples, take
from lam.flow import directions
from lam.ops import image, resample

log = logging.getLogger(__name__)


class Evaluator:
    """Yields mean angles in degrees, 0..180; decoded frames in which nothing moves count as 90
    angle_within      tokens applied to first frames of other scenes of the same domain
    angle_across      to those of other domains; left out with a single one
    ..._low, ..._high their 95 % bootstrap interval over the scenes of the tokens
    angle_self        tokens applied to the frame they came from: what decoder and estimator allow
    angle_shuffled    control: tokens dealt out to the pairs at random, all ways; about 90
    angle/<A>/<B>     tokens of domain A applied to first frames of domain B
    moved             share of decoded frames in which something moves
    pairs             number of pairs that gave tokens
    matrix            Figure of the angles by domain
    One pair a scene counts, and only those with a clear motion. A domain with fewer than two is
    left out; nothing at all is yielded, with a warning, where no domain has two.

    Robots that move differently in the image for one command have a floor above 0 across domains.

    Config: pairs (of a domain, at most), domains (at most, those with most scenes), batches (to
    choose from), resamples, split, seed. First frames are drawn by (seed, step).
    """

    needs, asks = (), ("latents", "transfer")

    def __init__(
        self,
        predict,
        data,
        pairs=16,
        domains=6,
        batches=16,
        resamples=200,
        split="val",
        seed=0,
    ):
        self.predict, self.data, self.pairs, self.domains = predict, data, pairs, domains
        self.batches, self.resamples, self.split, self.seed = batches, resamples, split, seed
        self.motion, self.sources = directions.Directions(), None

    def run(self, variables, step):
        if self.sources is None:
            self.sources = self._choose()
        if not self.sources:
            log.warning("too few pairs of %s with a clear motion: no transfer", self.split)
            return
        domain, scene, truth = (self.sources[key] for key in ("domain", "scene", "vector"))
        source_M, first_M = cells(domain, np.random.default_rng((self.seed, step)))
        found_M2, moved = self._decode(variables, source_M, first_M)
        angle_M = directions.angles(truth[source_M], found_M2)
        own_M, same_M = source_M == first_M, domain[source_M] == domain[first_M]
        for name, here_M in (("within", same_M & ~own_M), ("across", ~same_M)):
            if here_M.any():
                yield f"angle_{name}", float(angle_M[here_M].mean())
                bounds = resample.mean_interval(
                    angle_M[here_M], scene[source_M[here_M]], self.resamples, seed=self.seed
                )
                yield from zip((f"angle_{name}_low", f"angle_{name}_high"), bounds, strict=True)
        yield "angle_self", float(angle_M[own_M].mean())
        others_MN = domain[source_M][:, None] == domain
        others_MN[np.arange(len(source_M)), source_M] = False
        every_MN = directions.angles(truth, found_M2[:, None])
        null = float(every_MN[others_MN & ~own_M[:, None]].mean())
        yield "angle_shuffled", null
        names = np.unique(domain)
        matrix_GG = np.zeros((len(names), len(names)))
        for row, column in np.ndindex(matrix_GG.shape):
            here_M = (domain[source_M] == names[row]) & (domain[first_M] == names[column]) & ~own_M
            matrix_GG[row, column] = angle_M[here_M].mean()
            yield f"angle/{names[row]}/{names[column]}", float(matrix_GG[row, column])
        yield "moved", moved
        yield "pairs", float(len(domain))
        title = f"Angle of transferred motion, step {step}"
        yield "matrix", token_plots.angles(matrix_GG, names, title, null)

    def _choose(self):
        """Pairs with a clear motion, one a scene, with its `vector`; {} if no domain has two."""
        stream = list(self._places())
        domain_N = np.concatenate([domain for domain, _ in stream])
        scene_N = np.concatenate([scene for _, scene in stream])
        self.size = len(stream[0][0])
        _, first_N = np.unique(scene_N, return_index=True)
        first_N = np.random.default_rng(self.seed).permutation(first_N)
        names, counts = np.unique(domain_N[first_N], return_counts=True)
        names = names[np.argsort(-counts, kind="stable")][: self.domains]
        index = [first_N[domain_N[first_N] == name][: 2 * self.pairs] for name in names]
        stream = self.data(self.split, self.batches, self.seed)
        samples = pick(stream, np.concatenate(index))
        frames = samples["frames"]
        motion = self.motion(frames[:, 0], frames[:, TARGET])
        domain = samples["domain"].astype(str)
        members = [np.flatnonzero((domain == name) & motion["clear"]) for name in names]
        members = [rows[: self.pairs] for rows in members if len(rows) > 1]
        if not members:
            return {}
        rows = np.concatenate(members)
        columns = {"vector": motion["vector"], "scene": samples["scene_id"], "domain": domain}
        return {"batch": take(samples, rows), **take(columns, rows)}

    def _places(self):
        """(domain, scene) of the samples of each batch."""
        for batch in self.data(self.split, self.batches, self.seed):
            yield batch["domain"].astype(str), batch["scene_id"]

    def _decode(self, variables, source_M, first_M):
        """What moves where to in the decoded frames, [M, 2], zero where nothing does; the share of
        those where something does."""
        batch = self.sources["batch"]
        latents = predict_samples(self.predict, "latents", variables, batch, self.size)["latents"]
        given = {**take(batch, first_M), "latents": latents[source_M]}
        recon = predict_samples(self.predict, "transfer", variables, given, self.size)["recon"]
        found = self.motion(image.to_float(given["frames"][:, 0]), recon)
        return np.where(found["moves"][:, None], found["vector"], 0), float(found["moves"].mean())


def cells(domain_N, rng):
    """(which pair gives the tokens, which the first frame) of all that is decoded: two int [M].

    Every pair with itself, with another of its domain, and with one of every other domain.
    """
    everyone = np.arange(len(domain_N))
    source, first = [everyone], [everyone]
    members = [rng.permutation(np.flatnonzero(domain_N == name)) for name in np.unique(domain_N)]
    for row, column in np.ndindex(len(members), len(members)):
        source.append(members[row])
        shifted = np.roll(members[column], rng.integers(1, len(members[column])))
        first.append(np.resize(shifted, len(members[row])))
    return np.concatenate(source), np.concatenate(first)

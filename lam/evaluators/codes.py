"""How many of the codes are alive, position by position, and where latents and sequences lie.

N samples, L tokens, K codes, Z width of a latent, S sequences, G domains.
"""

import numpy as np

from lam import plots, token_plots
from lam.evaluators import collect
from lam.ops import codes, pca


class Evaluator:
    """Yields
    usage_min, usage/<position>            codes that occur at least once, 1..K
    perplexity_min, perplexity/<position>  exp(entropy) of the codes, 1..K
    unique_share                           different token sequences / samples, (0, 1]
    counts                                 Figure: share of samples with each code
    sequences                              Figure: the most frequent sequences, by domain
    embedding                              Figure: the latents of each position along their two
                                           principal components (one if Z is 1), by token

    Config: batches (batches of the set), split, seed, num_codes (K, for the axis of the figure; 0:
    the largest code seen + 1. The numbers do not depend on it), top (sequences to show).
    """

    needs, asks = (), ("tokens", "latents")

    def __init__(self, predict, data, batches=8, split="val", seed=0, num_codes=0, top=20):
        self.predict, self.data, self.top = predict, data, top
        self.batches, self.split, self.seed, self.num_codes = batches, split, seed, num_codes

    def run(self, variables, step):
        batches = self.data(self.split, self.batches, self.seed)
        samples = collect(self.predict, "latents", variables, batches)
        tokens_NL = samples["tokens"]
        counts_LK = codes.counts(tokens_NL, max(self.num_codes, tokens_NL.max() + 1))
        usage_L, perplexity_L = codes.usage(counts_LK), codes.perplexity(counts_LK)
        yield "usage_min", float(usage_L.min())
        yield "perplexity_min", float(perplexity_L.min())
        for position, (used, spread) in enumerate(zip(usage_L, perplexity_L, strict=True)):
            yield f"usage/{position}", float(used)
            yield f"perplexity/{position}", float(spread)
        yield "unique_share", codes.unique_sequences(tokens_NL) / len(tokens_NL)
        title = f"step {step}, {len(tokens_NL)} samples"
        yield "counts", plots.code_counts(counts_LK, title)
        yield "sequences", self._sequences(tokens_NL, samples["domain"], title)
        yield "embedding", embedding(samples["latents"], tokens_NL, f"Latents, {title}")

    def _sequences(self, tokens_NL, domain_N, title):
        found_SL, number_N = codes.sequences(tokens_NL)
        names_G, group_N = np.unique(domain_N, return_inverse=True)
        counts_SG = np.zeros((len(found_SL), len(names_G)), int)
        np.add.at(counts_SG, (number_N, group_N), 1)
        top = slice(self.top)
        return token_plots.sequences(found_SL[top], counts_SG[top], names_G, len(number_N), title)


def embedding(latents_NLZ, tokens_NL, title, codes_LKZ=None):
    """Figure of two principal components of each position's latents; zeros where there is one.

    codes_LKZ: what stands for each code, drawn as its number; None draws none.
    """
    points, shares, marks = [], [], []
    for position, latents_NZ in enumerate(np.moveaxis(latents_NLZ, 1, 0)):
        components = pca.fit(latents_NZ, 2)
        points.append(_plane(components, latents_NZ))
        shares.append(components[2].sum())
        if codes_LKZ is not None:
            marks.append(_plane(components, codes_LKZ[position]))
    return token_plots.embedding(np.stack(points), tokens_NL, shares, title, marks)


def _plane(components, latents_NZ):
    """Coordinates [N,2] along components of which there may be one only."""
    points_NM = pca.apply(components, latents_NZ)
    return np.pad(points_NM, ((0, 0), (0, 2 - points_NM.shape[1])))

"""Pictures to look at: reconstructions, and tokens of one scene applied to the frames of others.

B samples of a batch, T frames, H W pixels, C colours, L tokens, R rows and Q columns of the grid.
"""

import numpy as np

from lam import plots
from lam.evaluators import TARGET, concatenate, predict_samples, take
from lam.ops import image


class Evaluator:
    """Yields two Figures of samples drawn by (seed, step), of the domains in turn
    reconstruction  rows of frame 1, frame 2, reconstruction, absolute error
    transfer        the tokens of the row's pair decoded from the column's first frame

    Config: samples (rows of the first), grid (rows and columns of the second), batches (to draw
    from), split, seed.
    """

    needs, asks = (), ("reconstruct", "latents", "transfer")

    def __init__(self, predict, data, samples=6, grid=4, batches=8, split="val", seed=0):
        self.predict, self.data, self.samples, self.grid = predict, data, samples, grid
        self.batches, self.split, self.seed = batches, split, seed

    def run(self, variables, step):
        rng = np.random.default_rng((self.seed, step))
        drawn, most = [], max(self.samples, 2 * self.grid)
        for batch in self.data(self.split, self.batches, self.seed):
            size = len(batch["frames"])
            drawn.append(take(batch, rng.permutation(size)[:most]))
        pool = concatenate(drawn)
        order = in_turn(pool["domain"].astype(str), rng.permutation(len(pool["frames"])))
        yield "reconstruction", self._reconstruction(variables, pool, order, size, step)
        yield "transfer", self._transfer(variables, pool, order, size, step)

    def _reconstruction(self, variables, pool, order, size, step):
        chosen = take(pool, order[: self.samples])
        recon_BHWC = predict_samples(self.predict, "reconstruct", variables, chosen, size)["recon"]
        frames_BTHWC = image.to_float(chosen["frames"])
        return plots.reconstructions(
            frames_BTHWC[:, 0],
            frames_BTHWC[:, TARGET],
            recon_BHWC,
            chosen["domain"].astype(str),
            f"Reconstruction, step {step}",
        )

    def _transfer(self, variables, pool, order, size, step):
        grid = min(self.grid, len(order) // 2)
        columns, rows = take(pool, order[:grid]), take(pool, order[grid : 2 * grid])
        latents_RLZ = predict_samples(self.predict, "latents", variables, rows, size)["latents"]
        row, column = np.divmod(np.arange(grid * grid), grid)
        pairs = {**take(columns, column), "latents": latents_RLZ[row]}
        recon = predict_samples(self.predict, "transfer", variables, pairs, size)["recon"]
        return plots.transfers(
            image.to_float(rows["frames"]),
            image.to_float(columns["frames"][:, 0]),
            recon.reshape(grid, grid, *recon.shape[1:]),
            rows["domain"].astype(str),
            columns["domain"].astype(str),
            f"Token transfer, step {step}",
        )


def in_turn(domains_N, order):
    """The same order, dealt out so that the domains take turns: the first of each, the second..."""
    rank, seen = {}, {}
    for index in order:
        rank[index] = seen[domains_N[index]] = seen.get(domains_N[index], -1) + 1
    return np.array(sorted(order, key=rank.get))

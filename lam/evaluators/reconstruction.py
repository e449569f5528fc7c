"""How well frame 2 comes back from frame 1 and the tokens, and whether the tokens matter.

B samples of a batch, T frames, H W pixels, C colours, L tokens. Every PSNR here is that of the MEAN
squared error over all samples of the set (samples weigh equally), in dB, for images in [0, 1].
"""

import numpy as np

from lam.errors import UserError
from lam.evaluators import TARGET
from lam.ops import image


class Evaluator:
    """Yields
    mse             mean squared error of the reconstruction, images in [0, 1]
    psnr            PSNR of the reconstruction, dB
    psnr_copy       PSNR of answering with frame 1 unchanged, dB
    psnr_over_copy  psnr - psnr_copy: what the tokens bring beyond standing still, dB
    delta_psnr      psnr - PSNR with the tokens of a random OTHER sample of the batch, dB: 0 when
                    the decoder ignores the tokens. The other sample is drawn by (seed, step).

    Config: batches (batches of the set), split, seed.
    """

    needs = ()

    def __init__(self, predict, data, batches=8, split="val", seed=0):
        self.predict, self.data = predict, data
        self.batches, self.split, self.seed = batches, split, seed

    def run(self, variables, step):
        rng = np.random.default_rng((self.seed, step))
        errors = [
            self._errors(variables, batch, rng)
            for batch in self.data(self.split, self.batches, self.seed)
        ]
        mse, mse_copy, mse_other = np.concatenate(errors, axis=1).mean(axis=1)
        psnr, psnr_copy, psnr_other = (float(image.psnr(m)) for m in (mse, mse_copy, mse_other))
        yield "mse", float(mse)
        yield "psnr", psnr
        yield "psnr_copy", psnr_copy
        yield "psnr_over_copy", psnr - psnr_copy
        yield "delta_psnr", psnr - psnr_other

    def _errors(self, variables, batch, rng):
        """Squared errors of the samples, float64 [3, B]: reconstruction, copy, other tokens."""
        output = self.predict("reconstruct", variables, batch)
        other_B = random_other(len(output["latents"]), rng)
        swapped = {**batch, "latents": output["latents"][other_B]}
        other_BHWC = self.predict("transfer", variables, swapped)["recon"]
        frames_BTHWC = image.to_float(batch["frames"])
        target_BHWC = frames_BTHWC[:, TARGET]
        answers = (output["recon"], frames_BTHWC[:, 0], other_BHWC)
        return np.stack(
            [np.square(a - target_BHWC, dtype=np.float64).mean(axis=(1, 2, 3)) for a in answers]
        )


def random_other(size, rng):
    """For each of `size` samples the index of a different one: int [size]."""
    if size < 2:
        raise UserError(
            f"The evaluator 'reconstruction' compares samples of a batch, which has {size};"
            " set --config.batch_size to 2 or more."
        )
    return (np.arange(size) + rng.integers(1, size, size)) % size

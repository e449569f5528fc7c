"""How well frame 2 comes back from frame 1 and the tokens, and whether the tokens matter.

B samples of a batch, T frames, H W pixels, C colours, L tokens, R resamples. Every PSNR here is
that of the MEAN squared error over all samples of the set (samples weigh equally), in dB, for
images in [0, 1].
"""

import numpy as np

from lam.errors import UserError
from lam.evaluators import TARGET
from lam.ops import image, resample


class Evaluator:
    """Yields
    mse             mean squared error of the reconstruction, images in [0, 1]
    psnr            PSNR of the reconstruction, dB
    psnr_copy       PSNR of answering with frame 1 unchanged, dB
    psnr_over_copy  psnr - psnr_copy: what the tokens bring beyond standing still, dB
    delta_psnr      psnr - PSNR with the tokens of a random OTHER sample of the batch, dB: 0 when
                    the decoder ignores the tokens. The other sample is drawn by (seed, step).
                    The latents for a model without tokens
    delta_psnr_low, delta_psnr_high  95 % bootstrap interval over the scenes (from two scenes on)

    Config: batches (batches of the set), resamples, split, seed.
    """

    needs, asks = (), ("reconstruct", "transfer")

    def __init__(self, predict, data, batches=8, resamples=200, split="val", seed=0):
        self.predict, self.data, self.resamples = predict, data, resamples
        self.batches, self.split, self.seed = batches, split, seed

    def run(self, variables, step):
        rng = np.random.default_rng((self.seed, step))
        errors, scenes = [], []
        for batch in self.data(self.split, self.batches, self.seed):
            errors.append(self._errors(variables, batch, rng))
            scenes.append(batch["scene_id"])
        errors_N3, scene_N = np.concatenate(errors, axis=1).T, np.concatenate(scenes)
        mse, mse_copy, mse_other = errors_N3.mean(axis=0)
        psnr, psnr_copy, psnr_other = (float(image.psnr(m)) for m in (mse, mse_copy, mse_other))
        yield "mse", float(mse)
        yield "psnr", psnr
        yield "psnr_copy", psnr_copy
        yield "psnr_over_copy", psnr - psnr_copy
        yield "delta_psnr", psnr - psnr_other
        if len(np.unique(scene_N)) > 1:
            columns = np.concatenate([errors_N3[:, [0, 2]], np.ones((len(scene_N), 1))], axis=1)
            totals_R3 = resample.sums(columns, scene_N, self.resamples, self.seed)
            own_R, other_R = image.psnr(totals_R3[:, :2] / totals_R3[:, 2:]).T
            low, high = resample.interval(own_R - other_R)
            yield "delta_psnr_low", low
            yield "delta_psnr_high", high

    def _errors(self, variables, batch, rng):
        """Squared errors of the samples, float64 [3, B]: reconstruction, copy, other tokens."""
        output = self.predict("reconstruct", variables, batch)
        frames_BTHWC = image.to_float(batch["frames"])
        target_BHWC = frames_BTHWC[:, TARGET]
        other_B = random_other(len(output["latents"]), rng)
        swapped = {**batch, "latents": output["latents"][other_B]}
        other_BHWC = self.predict("transfer", variables, swapped)["recon"]
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

"""Small LAQs of LAPA's kind with random weights under which tokens vary, and frames for them.

Weights come from names and shapes alone, so that LAPA's own code can be given the same ones, live
(tests/test_lapa_oracles.py) or once, for the recorded answers (tests/record_lapa.py).
"""

import jax
import numpy as np

from lam.convert import laq as convert
from lam.models import laq_weights
from lam.models.laq import LAQ

# case: (num_tokens, num_codes, image size); patches of 4 pixels
CASES = {"1": (1, 8, 32), "2": (2, 16, 32), "4": (4, 8, 32), "16": (16, 4, 64), "64": (64, 8, 64)}
SMALL = {"width": 32, "encoder_depth": 2, "decoder_depth": 2, "heads": 2, "patch": 4}


def model_of(case, **other):
    """(LAQ with quirks, image size) of a case."""
    num_tokens, num_codes, size = CASES[case]
    fields = {**convert.NEEDED, **SMALL, "num_tokens": num_tokens, "num_codes": num_codes, **other}
    return LAQ(**fields), size


def random_arrays(model, size, seed=0):
    """{LAPA's name: float32 array}: all random but what LAPA never uses or changes."""
    like = jax.eval_shape(convert.from_tree, laq_weights.shapes(model, size))
    rng = np.random.default_rng(seed)
    return {name: random_array(rng, name, like[name].shape) for name in sorted(like)}


def random_array(rng, name, shape):
    if name.endswith(".beta"):
        return np.zeros(shape, np.float32)
    if name.endswith(".1.context_norm.gamma"):
        return np.ones(shape, np.float32)
    x = rng.normal(size=shape)
    if name == "vq.codebooks":
        x *= 0.5  # as long as the differences that these encoders give
    elif name.endswith("null_kv"):
        pass
    elif len(shape) > 1:
        x /= np.sqrt(np.prod(shape[1:]))
    elif name.endswith("bias"):
        x *= 0.1
    else:
        x = 1 + 0.2 * x  # gains
    return x.astype(np.float32)


def frames_of(count, size, seed=1):
    """Pairs of coarse pictures with grain, half of the second one that of the first: uint8
    [count,2,size,size,3]. Without grain some patches would be almost even, and their norm in
    float32 a matter of chance."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 192, (count, 2, 8, 8, 3), dtype=np.uint8)
    coarse[:, 1, :, :4] = coarse[:, 0, :, :4]
    grain = rng.integers(0, 64, (count, 1, size, size, 3), dtype=np.uint8)
    return coarse.repeat(size // 8, axis=2).repeat(size // 8, axis=3) + grain

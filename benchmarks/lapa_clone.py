"""LAPA's latent action quantizer, run as published from a clone of LatentActionPretraining/LAPA.

Nothing of the clone is changed or copied: its package is imported without the trainer, which needs
far more libraries than the net, and its fixed "cuda" device is replaced from outside. Needs torch,
einops and beartype (launch/requirements-oracles.txt).
"""

import importlib
import sys
import types
from pathlib import Path

MODULE = "laq_model"


def quantizer(clone):
    """The class LatentActionQuantization of the clone, as it is but for the device.

    Args:
      clone: folder of the clone, which holds laq/laq_model.

    Raises:
      FileNotFoundError: there is no such folder.
    """
    folder = Path(clone) / "laq" / MODULE
    if not folder.is_dir():
        raise FileNotFoundError(f"{clone} is no clone of LatentActionPretraining/LAPA: no {folder}")
    package = types.ModuleType(MODULE)
    package.__path__ = [str(folder)]
    sys.modules[MODULE] = package
    module = importlib.import_module(f"{MODULE}.latent_action_quantization")
    original = importlib.import_module(f"{MODULE}.nsvq").NSVQ
    module.NSVQ = lambda **options: original(**{**options, "device": "cpu"})
    return module.LatentActionQuantization


def sized(
    clone, *, width, depth, heads, patch, image_size, num_tokens=4, num_codes=8, code_width=32
):
    """A net of this size with torch's current random state; `depth` of all its transformers."""
    return quantizer(clone)(
        dim=width, spatial_depth=depth, temporal_depth=depth, heads=heads, patch_size=patch,
        image_size=image_size, code_seq_len=num_tokens, codebook_size=num_codes,
        quant_dim=code_width,
    )  # fmt: skip

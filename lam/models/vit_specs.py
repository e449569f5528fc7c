"""What differs between the towers of lam/models/vit.py: families, and the published sizes."""

import dataclasses


@dataclasses.dataclass(frozen=True)
class Family:
    """What all sizes of a family share.

    Attributes:
      mean, std: of the colours in [0,1], by which images are normalised.
      cls: a token in front that stands for the whole image.
      layer_scale: a learned gain on what each half of a block adds.
    """

    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    cls: bool
    layer_scale: bool


IMAGENET = {"mean": (0.485, 0.456, 0.406), "std": (0.229, 0.224, 0.225)}
HALF = {"mean": (0.5, 0.5, 0.5), "std": (0.5, 0.5, 0.5)}
FAMILIES = {
    "dinov2": Family(**IMAGENET, cls=True, layer_scale=True),
    "dinov3": Family(**IMAGENET, cls=True, layer_scale=True),
    "siglip": Family(**HALF, cls=False, layer_scale=False),  # SigLIP 2 of one fixed size, too
    "siglip2": Family(**HALF, cls=False, layer_scale=False),  # SigLIP 2 of any size ("NaFlex")
}


@dataclasses.dataclass(frozen=True)
class Spec:
    """One tower. Hashable and of plain numbers, so that it fits a text of its file.

    Attributes:
      family: a name in FAMILIES.
      width, depth, heads: D, blocks, heads of attention.
      hidden: X, width within the MLP.
      patch: pixels of a side.
      grid: side of the grid of learned positions; 0 = rotary positions (DINOv3).
      resampling: of the learned positions to another grid, see lam/ops/resize.py.
      registers: tokens beside the cls token that stand for nothing.
      gated: SwiGLU instead of a plain MLP.
      activation: "gelu", "gelu_tanh" or "silu".
      epsilon: of the norms.
      biases: of query, key, value.
      rope_base: of the rotary positions.
    """

    family: str
    width: int
    depth: int
    heads: int
    hidden: int
    patch: int
    grid: int = 0
    resampling: str = "cubic"
    registers: int = 0
    gated: bool = False
    activation: str = "gelu"
    epsilon: float = 1e-6
    biases: tuple[bool, bool, bool] = (True, True, True)
    rope_base: float = 100.0


def dinov2(width, depth, heads, **more):
    return Spec("dinov2", width, depth, heads, 4 * width, 14, **({"grid": 37} | more))


def dinov3(width, depth, heads, **more):
    usual = {"registers": 4, "epsilon": 1e-5, "biases": (True, False, True)}
    return Spec("dinov3", width, depth, heads, 4 * width, 16, **(usual | more))


def siglip(width, depth, heads, hidden, patch, grid):
    return Spec("siglip", width, depth, heads, hidden, patch, grid, activation="gelu_tanh")


GIANT = {"hidden": 4096, "gated": True, "activation": "silu"}
REGISTERS = {"registers": 4, "resampling": "cubic_antialias"}
DINOV2 = {
    "small": dinov2(384, 12, 6),
    "base": dinov2(768, 12, 12),
    "large": dinov2(1024, 24, 16),
    "giant": dataclasses.replace(dinov2(1536, 40, 24), **GIANT),
}
PUBLISHED = {
    **{f"dinov2_{size}": spec for size, spec in DINOV2.items()},
    **{
        f"dinov2_{size}_registers": dataclasses.replace(spec, **REGISTERS)
        for size, spec in DINOV2.items()
    },
    "dinov3_vits16": dinov3(384, 12, 6),
    "dinov3_vitb16": dinov3(768, 12, 12),
    "dinov3_vitl16": dinov3(1024, 24, 16),
    "siglip_base_patch16_224": siglip(768, 12, 12, 3072, 16, 14),
    "siglip_so400m_patch14_384": siglip(1152, 27, 16, 4304, 14, 27),
}

"""Feature towers against Hugging Face's, live, with random tiny weights (launch/test.sh --oracles).

The way is a user's: the torch model is saved, converted by `lam.convert`, loaded by `lam.tower`.
"""

import functools
import os

import jax
import numpy as np
import pytest
from raft_fixtures import make_torchvision_importable
from vit_fixtures import TINY

from lam import tower
from lam.convert import files, vit_config
from lam.convert import vit as convert
from lam.models.patches import patchify
from lam.models.vit_specs import FAMILIES, PUBLISHED
from lam.ops import resize

pytestmark = pytest.mark.oracle
if not os.environ.get("LAM_ORACLES"):
    pytest.skip("needs torch: bash launch/test.sh --oracles", allow_module_level=True)

make_torchvision_importable()
import torch  # noqa: E402

transformers = pytest.importorskip("transformers")

SIZES = {"native": (12, 12), "larger": (28, 16), "smaller": (8, 4)}  # pixels, 4 a patch
NORMS = ("norm1.weight", "norm2.weight", "layernorm.weight", "norm.weight", "lambda1")


def models_of(spec):
    """The classes (config, model) of a spec, and the fields of its config."""
    fields = {
        "hidden_size": spec.width, "num_hidden_layers": spec.depth, "patch_size": spec.patch,
        "num_attention_heads": spec.heads, "layer_norm_eps": spec.epsilon,
    }  # fmt: skip
    side = {"image_size": spec.patch * (spec.grid or 3)}
    query, key, value = spec.biases
    if spec.family == "dinov2":
        name = "Dinov2WithRegisters" if spec.registers else "Dinov2"
        fields |= side | {"use_swiglu_ffn": spec.gated, "mlp_ratio": 4}
        fields |= {"num_register_tokens": spec.registers} if spec.registers else {}
    elif spec.family == "dinov3":
        name = "DINOv3ViT"
        fields |= side | {
            "intermediate_size": spec.hidden, "num_register_tokens": spec.registers,
            "use_gated_mlp": spec.gated, "query_bias": query, "key_bias": key, "value_bias": value,
            "hidden_act": spec.activation,
        }  # fmt: skip
    else:
        name = spec.family.capitalize() + "Vision"
        fields |= {"intermediate_size": spec.hidden, "vision_use_head": False}
        fields |= {"num_patches": spec.grid**2} if spec.family == "siglip2" else side
    return getattr(transformers, f"{name}Config"), getattr(transformers, f"{name}Model"), fields


@functools.cache
def torch_model(name):
    """A model of transformers with random weights, none at its start value."""
    config, model, fields = models_of(TINY[name])
    torch.manual_seed(0)
    model = model(config(**fields)).eval()
    with torch.no_grad():
        for path, x in model.named_parameters():
            near = 1.0 if x.ndim == 1 and path.endswith(NORMS) else 0.0
            x.copy_(near + 0.3 * torch.randn(x.shape))
    return model


@pytest.fixture(scope="module", params=TINY)
def pair(request, tmp_path_factory):
    """(spec, torch's model, our tower, folder of its files), converted with its config.json."""
    folder = tmp_path_factory.mktemp("tower")
    torch_model(request.param).save_pretrained(folder)
    convert.convert(folder, folder / "ours.safetensors")
    found = tower.load(folder / "ours.safetensors")
    return TINY[request.param], torch_model(request.param), found, folder


def theirs(spec, model, image_BHWC):
    """Features of the tokens by torch: float32 [B,N,D]."""
    family = FAMILIES[spec.family]
    image_BHWC = ((image_BHWC - family.mean) / family.std).astype(np.float32)
    with torch.inference_mode():
        if spec.family == "siglip2":
            patches = np.asarray(patchify(image_BHWC, spec.patch))
            rows, columns = patches.shape[1:3]
            patches = torch.from_numpy(patches.reshape(len(patches), rows * columns, -1))
            sizes = torch.tensor([[rows, columns]] * len(patches))
            mask = torch.ones(patches.shape[:2], dtype=torch.int64)
            return model(patches, mask, sizes).last_hidden_state.numpy()
        more = {"interpolate_pos_encoding": True} if spec.family == "siglip" else {}
        image = torch.from_numpy(image_BHWC).permute(0, 3, 1, 2)
        return model(image, **more).last_hidden_state.numpy()


def test_the_config_says_the_spec(pair):
    spec, _, found, folder = pair
    assert found.spec == spec == vit_config.read(folder / "config.json")


@pytest.mark.parametrize("size", SIZES)
def test_features_agree(pair, size):
    """All patches and the cls token to 1e-5, at the grid of the learned positions and at others."""
    spec, model, found, _ = pair
    image = np.random.default_rng(0).random((2, *SIZES[size], 3), np.float32)
    expected = theirs(spec, model, image)
    ours = found(image)
    patches = np.asarray(ours.patches).reshape(2, -1, spec.width)
    assert expected.std() > 0.5, "these weights would show nothing"
    error = np.abs(patches - expected[:, -patches.shape[1] :]).max()
    print(f"{spec.family} {size}: {error:.2g}")
    assert error < 1e-5
    assert (ours.cls is None) == spec.family.startswith("siglip")
    if ours.cls is not None:
        np.testing.assert_allclose(ours.cls, expected[:, 0], atol=1e-5, rtol=0)


def test_back_is_what_transformers_wrote_and_loads(pair):
    """The same arrays; a model made from them sees the same."""
    spec, model, _, folder = pair
    back = folder / "back"
    convert.convert(folder / "ours.safetensors", back / "model.safetensors", names="huggingface")
    (back / "config.json").write_bytes((folder / "config.json").read_bytes())
    written, again = (files.read(path / "model.safetensors") for path in (folder, back))
    written = {k: x for k, x in written.items() if x.size}
    prefix = convert.PREFIXES[spec.family]
    assert {k.removeprefix(prefix) for k in again} == {k.removeprefix(prefix) for k in written}
    for name, x in again.items():
        np.testing.assert_array_equal(x, written.get(name, written.get(name.removeprefix(prefix))))
    loaded = type(model).from_pretrained(back)
    for name, x in model.state_dict().items():
        assert torch.equal(loaded.state_dict()[name], x), name


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_sizes_are_those_of_transformers(name):
    """As many numbers as a model of that config has, made without memory."""
    config, model, fields = models_of(PUBLISHED[name])
    with torch.device("meta"):
        expected = sum(x.numel() for x in model(config(**fields)).parameters())
    shapes = convert.expected(PUBLISHED[name]).values()
    assert sum(int(np.prod(shape)) for shape, _ in shapes) == expected


@pytest.mark.parametrize("new", [(3, 5), (7, 7), (14, 9)])
@pytest.mark.parametrize("method", resize.METHODS)
def test_resampling_agrees(method, new):
    image = np.random.default_rng(0).random((2, 7, 9, 3), np.float32)
    kind, _, antialias = method.partition("_")
    expected = torch.nn.functional.interpolate(
        torch.from_numpy(image).permute(0, 3, 1, 2),
        size=new,
        mode={"linear": "bilinear", "cubic": "bicubic"}[kind],
        antialias=bool(antialias),
    )
    found = jax.jit(resize.resize, static_argnums=(1, 2, 3))(image, *new, method)
    np.testing.assert_allclose(found, expected.permute(0, 2, 3, 1), atol=2e-6, rtol=0)

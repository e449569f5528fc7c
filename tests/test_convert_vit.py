"""lam.convert vit: Hugging Face's names to ours and back. With torch: test_vit_oracles.py."""

import json

import numpy as np
import pytest
from vit_fixtures import TINY, random_weights

from lam import command, tower
from lam.convert import __main__ as program
from lam.convert import files, vit_config
from lam.convert import vit as convert
from lam.errors import UserError
from lam.models import weights
from lam.models.vit_specs import PUBLISHED

SIGLIP = {
    "hidden_size": 24, "num_hidden_layers": 2, "num_attention_heads": 3, "intermediate_size": 40,
    "image_size": 12, "patch_size": 4,
}  # fmt: skip


def equal(one, other):
    assert one.keys() == other.keys()
    for name, x in one.items():
        np.testing.assert_array_equal(other[name], x, strict=True)


@pytest.mark.parametrize("name", TINY)
def test_there_and_back_is_identical(name):
    spec, tree = TINY[name], random_weights(TINY[name])
    arrays = convert.from_tree(tree, spec)
    found, skipped = convert.to_tree(arrays, spec)
    assert skipped == []
    equal(weights.flatten(tree), weights.flatten(found))
    equal(arrays, convert.from_tree(found, spec))


@pytest.mark.parametrize(
    ("spec", "entries", "some"),
    [
        ("dinov2_base", 223, {
            "embeddings.cls_token": (1, 1, 768),
            "embeddings.mask_token": (1, 768),
            "embeddings.position_embeddings": (1, 1370, 768),
            "embeddings.patch_embeddings.projection.weight": (768, 3, 14, 14),
            "encoder.layer.11.attention.attention.query.weight": (768, 768),
            "encoder.layer.0.attention.output.dense.bias": (768,),
            "encoder.layer.0.mlp.fc1.weight": (3072, 768),
            "encoder.layer.0.layer_scale2.lambda1": (768,),
            "layernorm.weight": (768,),
        }),
        ("dinov2_giant", 727, {
            "encoder.layer.39.mlp.weights_in.weight": (8192, 1536),
            "encoder.layer.0.mlp.weights_out.weight": (1536, 4096),
        }),
        ("dinov3_vits16", 211, {
            "embeddings.mask_token": (1, 1, 384),
            "embeddings.register_tokens": (1, 4, 384),
            "layer.0.attention.k_proj.weight": (384, 384),
            "layer.0.mlp.up_proj.bias": (1536,),
            "norm.bias": (384,),
        }),
        ("siglip_base_patch16_224", 197, {
            "embeddings.position_embedding.weight": (196, 768),
            "embeddings.patch_embedding.bias": (768,),
            "encoder.layers.3.self_attn.out_proj.weight": (768, 768),
            "post_layernorm.bias": (768,),
        }),
    ],
)  # fmt: skip
def test_names_are_those_of_published_files(spec, entries, some):
    found = {name: shape for name, (shape, _) in convert.expected(PUBLISHED[spec]).items()}
    assert len(found) == entries
    assert {name: found.get(name) for name in some} == some


def test_halves_of_swiglu_are_one_array_the_gate_first():
    spec, tree = TINY["dinov2_swiglu"], random_weights(TINY["dinov2_swiglu"])
    arrays, mlp = convert.from_tree(tree, spec), tree["params"]["block_1"]["mlp"]
    both = np.concatenate([mlp["gate"]["kernel"].T, mlp["up"]["kernel"].T])
    np.testing.assert_array_equal(arrays["encoder.layer.1.mlp.weights_in.weight"], both)


def siglip_folder(path, **changes):
    """A whole SigLIP as published: both halves, its head, a config without what is usual."""
    arrays = convert.from_tree(random_weights(TINY["siglip"]), TINY["siglip"])
    arrays = {f"vision_model.{name}": x for name, x in arrays.items()}
    more = ("text_model.final_layer_norm.bias", "vision_model.head.probe", "logit_scale")
    files.write(path / "model.safetensors", arrays | {name: np.zeros(3) for name in more} | changes)
    config = {"model_type": "siglip", "text_config": {}, "vision_config": SIGLIP}
    (path / "config.json").write_text(json.dumps(config))
    return arrays


def test_a_whole_siglip_gives_its_vision_tower(tmp_path, capsys):
    arrays = siglip_folder(tmp_path)
    ours, back = (str(tmp_path / name) for name in ("ours.safetensors", "back.safetensors"))
    program.main(["vit", str(tmp_path), ours])
    said = capsys.readouterr().out
    assert "siglip of 2 x 24, 40 arrays, without 3 of no tower (" in said
    assert tower.read_spec(ours) == TINY["siglip"]
    program.main(["vit", ours, back, "--names=huggingface"])
    equal({name.removeprefix("vision_model."): x for name, x in arrays.items()}, files.read(back))


def test_published_sizes_need_no_config(tmp_path, monkeypatch):
    """And DINOv3's names may have "model." in front, as transformers has them in memory."""
    spec, tree = TINY["dinov3"], random_weights(TINY["dinov3"])
    arrays = convert.from_tree(tree, spec)
    arrays = {f"model.{k}" if k.startswith("layer.") else k: x for k, x in arrays.items()}
    files.write(tmp_path / "a.safetensors", arrays)
    with pytest.raises(UserError, match=r"fits none of the published.*put its config.json beside"):
        convert.convert(tmp_path / "a.safetensors", tmp_path / "b.safetensors")
    monkeypatch.setitem(PUBLISHED, "dinov3_tiny", spec)
    said = convert.convert(tmp_path / "a.safetensors", tmp_path / "b.safetensors", dtype="float16")
    assert "dinov3_tiny, 41 arrays\n" in said
    del arrays["model.layer.0.norm1.bias"]
    files.write(tmp_path / "c.safetensors", arrays)
    with pytest.raises(UserError, match=r"as dinov3_tiny does not fit.*1 missing: layer.0.norm1"):
        convert.convert(tmp_path / "c.safetensors", tmp_path / "d.safetensors")
    flat = weights.flatten(tower.read(tmp_path / "b.safetensors", dtype=None)[1])
    assert {x.dtype.name for x in flat.values()} == {"float16"}
    assert tower.load(tmp_path / "b.safetensors").about["model"] == "dinov3_tiny"


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        ({"model_type": "siglip_vision_model"}, "siglip_base_patch16_224"),
        ({"model_type": "siglip", "vision_config": {}}, "siglip_base_patch16_224"),
        ({"model_type": "dinov2", "image_size": 518}, "dinov2_base"),
        (
            {"model_type": "dinov2_with_registers", "image_size": 518, "patch_size": 14},
            "dinov2_base_registers",
        ),
        ({"model_type": "dinov3_vit", "num_register_tokens": 4}, "dinov3_vits16"),
    ],
)
def test_what_is_usual_is_left_out_of_a_config(tmp_path, config, expected):
    (tmp_path / "config.json").write_text(json.dumps(config))
    assert vit_config.read(tmp_path / "config.json") == PUBLISHED[expected]


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ("{", "is no config.json"),
        ("[]", "is no config.json"),
        ({"model_type": "vit"}, "is of 'vit'; we have dinov2, dinov2_with_registers, dinov3_vit"),
        ({"model_type": "dinov2", "num_channels": 1}, "num_channels=1 is not supported, only 3"),
        ({"model_type": "dinov2", "image_size": [4, 8]}, r"image_size=\[4, 8\] is not supported"),
        ({"model_type": "dinov2", "hidden_act": "relu"}, "hidden_act=relu is not supported: gelu"),
    ],
)
def test_configs_that_we_cannot_use(tmp_path, config, message):
    text = config if isinstance(config, str) else json.dumps(config)
    (tmp_path / "config.json").write_text(text)
    with pytest.raises(UserError, match=message):
        vit_config.read(tmp_path / "config.json")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"vision_model.odd": np.zeros(2)}, "1 unexpected: odd"),
        ({"vision_model.post_layernorm.bias": np.zeros(2)}, r"bias \[2\] for \[24\]"),
        ({"vision_model.post_layernorm.bias": np.zeros(0)}, "1 missing: post_layernorm.bias"),
    ],
)
def test_arrays_that_do_not_fit_are_listed(tmp_path, changes, message):
    siglip_folder(tmp_path, **changes)
    with pytest.raises(UserError, match=message) as caught:
        convert.convert(tmp_path, tmp_path / "ours.safetensors")
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "ours.safetensors").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["vit", "a.npz", "b.safetensors"], "weights of towers are .safetensors files"),
        (["vit", "a.safetensors", "b"], "b: a name must end in one of"),
        (["vit", "a.safetensors", "b.safetensors"], "there is no such file"),
        (["vit", "a.safetensors", "b.safetensors", "--names=princeton"], "huggingface"),
    ],
)
def test_wrong_arguments_are_told_in_one_line(arguments, message):
    with pytest.raises(SystemExit) as caught:
        command.run(lambda: program.main(arguments))
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)

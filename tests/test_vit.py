"""Feature towers without torch: sizes, grids, files, mistakes. Parity: test_vit_oracles.py."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from vit_fixtures import TINY, random_weights, write_tower

from lam import tower
from lam.convert import files
from lam.errors import UserError
from lam.models import vit
from lam.models.vit_specs import FAMILIES, PUBLISHED
from lam.ops import resize

PARAMETERS = {
    "dinov2_small": 22_056_576,
    "dinov2_base": 86_580_480,
    "dinov2_large": 304_368_640,
    "dinov2_giant": 1_136_480_768,
    "dinov2_small_registers": 22_058_112,
    "dinov2_base_registers": 86_583_552,
    "dinov2_large_registers": 304_372_736,
    "dinov2_giant_registers": 1_136_486_912,
    "dinov3_vits16": 21_596_544,
    "dinov3_vitb16": 85_660_416,
    "dinov3_vitl16": 303_129_600,
    "siglip_base_patch16_224": 85_797_120,  # the vision tower without its pooling head
    "siglip_so400m_patch14_384": 412_987_248,
}


@pytest.fixture(scope="module")
def image():
    return np.random.default_rng(0).random((2, 12, 12, 3), np.float32)


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_sizes_have_as_many_parameters(name):
    leaves = jax.tree.leaves(vit.shapes(PUBLISHED[name]))
    assert sum(x.size for x in leaves) == PARAMETERS[name]


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_sizes_see_their_images(name):
    spec = PUBLISHED[name]
    side = spec.patch * (spec.grid or 14)
    image = jax.ShapeDtypeStruct((2, 64, 48, 3), jnp.float32)
    found = jax.eval_shape(
        lambda v, x: vit.features(spec, v, x, side, jnp.bfloat16), vit.shapes(spec), image
    )
    patches = side // spec.patch
    assert found.patches.shape == (2, patches, patches, spec.width)
    assert found.patches.dtype == jnp.float32
    assert (found.cls is None) == spec.family.startswith("siglip")


@pytest.mark.parametrize("name", ["dinov3_gated", "siglip"])
def test_images_are_normalised_and_patches_are_in_their_places(name, image):
    """A patch that changes moves its own feature most; colours of the mean are zeros."""
    spec = TINY[name]
    variables = random_weights(spec)
    see = jax.jit(lambda x: vit.features(spec, variables, x).patches)
    changed = image.copy()
    changed[:, 4:8, 8:12] = 1 - changed[:, 4:8, 8:12]
    change_hw = np.abs(see(changed) - see(image)).sum(axis=(0, 3))
    assert np.unravel_index(change_hw.argmax(), (3, 3)) == (1, 2)
    mean = np.broadcast_to(np.float32(FAMILIES[spec.family].mean), image.shape)
    other = jax.tree.map(np.copy, variables)
    other["params"]["embed"]["kernel"][:] = 0
    np.testing.assert_allclose(
        see(mean), vit.features(spec, other, image).patches, atol=1e-5, rtol=0
    )


def test_frames_are_resampled_to_the_size(image):
    spec, variables = TINY["dinov2"], random_weights(TINY["dinov2"])
    found = vit.features(spec, variables, image, 20).patches
    assert found.shape == (2, 5, 5, 24)
    larger = jax.image.resize(image, (2, 20, 20, 3), "linear")
    np.testing.assert_allclose(found, vit.features(spec, variables, larger).patches, atol=1e-5)


@pytest.mark.parametrize("method", resize.METHODS)
def test_resampling_keeps_a_constant_and_the_same_size(method, image):
    constant = resize.resize(jnp.full((1, 7, 5, 1), 0.25), 4, 11, method)
    np.testing.assert_allclose(constant, 0.25, atol=1e-6)
    np.testing.assert_allclose(resize.matrix(6, 6, method), np.eye(6), atol=1e-7)
    assert resize.resize(image, 12, 12, method) is image


def test_antialiased_linear_shrinks_by_the_triangle():
    expected = [[3 / 7, 3 / 7, 1 / 7, 0], [0, 1 / 7, 3 / 7, 3 / 7]]
    np.testing.assert_allclose(resize.matrix(4, 2, "linear_antialias"), expected, atol=1e-7)


def test_bfloat16_is_near(image):
    """The stream and the norms are float32, so that little is lost."""
    spec, variables = TINY["dinov3"], random_weights(TINY["dinov3"])
    exact, rough = (
        vit.features(spec, variables, image, 0, dtype).patches
        for dtype in (jnp.float32, jnp.bfloat16)
    )
    assert rough.dtype == jnp.float32
    assert 0 < np.abs(exact - rough).max() < 0.05 * np.abs(exact).max()


def test_a_tower_takes_uint8_and_says_what_it_is(tmp_path):
    path = write_tower(tmp_path / "t.safetensors", TINY["dinov2_registers"])
    found = tower.load(path)
    assert found.spec == TINY["dinov2_registers"]
    assert found.about["model"] == "dinov2 of 2 x 24"
    levels = np.random.default_rng(0).integers(0, 256, (1, 8, 12, 3), np.uint8)
    one, other = found(levels), found(levels.astype(np.float32) / 255)
    np.testing.assert_array_equal(one.patches, other.patches)
    assert one.patches.shape == (1, 2, 3, 24)
    assert one.cls.shape == (1, 24)


def test_mistakes_are_told(tmp_path, image):
    path = write_tower(tmp_path / "t.safetensors", TINY["dinov2"])
    with pytest.raises(UserError, match=r"patches of 4 pixels.*12x10.*choose a multiple of 4"):
        tower.load(path)(image[:, :, :10])
    with pytest.raises(UserError, match="there is no file nowhere"):
        tower.load("nowhere.safetensors")
    files.write(tmp_path / "a.safetensors", {"params/x": np.zeros(3)})
    with pytest.raises(UserError, match=r"does not say which tower.*lam.convert vit"):
        tower.load(tmp_path / "a.safetensors")
    (tmp_path / "b.safetensors").write_bytes(path.read_bytes()[:-9])
    with pytest.raises(UserError, match=r"is no .safetensors file, or it is cut off"):
        tower.load(tmp_path / "b.safetensors")
    files.write(tmp_path / "c.safetensors", {"params/x": np.zeros(3)}, tower.texts(TINY["siglip"]))
    with pytest.raises(UserError, match=r"as siglip of 2 x 24 does not fit.*1 unexpected"):
        tower.load(tmp_path / "c.safetensors")

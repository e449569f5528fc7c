"""One rule for pixels: sizes, colours and formats, and that both readers follow it."""

import concurrent.futures
import io

import numpy as np
import pytest
from PIL import Image
from reader_fixtures import encoded

from input_pipeline import decode


def decoded(data, size, ratio=1, swap=False, fast=False):
    frame_HWC = np.empty((size, size, 3), np.uint8)
    decode.into(data, frame_HWC, ratio, swap, fast)
    return frame_HWC


def smooth(height, width):
    """A picture of slow waves, which the codec and any good filter keep."""
    y, x = np.mgrid[:height, :width]
    waves = [np.sin(x / width * 6 + c) + np.cos(y / height * 5 - c) for c in range(3)]
    return (np.stack(waves, -1) * 60 + 128).astype(np.uint8)


@pytest.mark.parametrize(
    ("shape", "encoding", "size", "ratio"),
    [
        ((256, 320, 3), "jpeg", 256, 1),
        ((480, 640, 3), "jpeg", 256, 2),  # 240 is 15/16 of 256
        ((479, 640, 3), "jpeg", 256, 1),
        ((480, 640, 3), "jpeg", 64, 8),
        ((472, 640, 3), "jpeg", 64, 4),
        ((480, 640, 3), "png", 64, 1),
        ((None, None, 3), "jpeg", 64, 1),
    ],
)
def test_a_jpeg_shrinks_in_the_decoder_while_it_stays_large_enough(shape, encoding, size, ratio):
    assert decode.ratio(shape, encoding, size) == ratio


def test_quick_transforms_are_for_pictures_that_are_made_smaller():
    assert decode.fast((256, 320, 3), 256)
    assert not decode.fast((256, 256, 3), 256)
    assert not decode.fast((64, 64, 3), 256)
    assert not decode.fast((None, None, 3), 256)


@pytest.mark.parametrize("size", [16, 64, 100, 256, 300])
@pytest.mark.parametrize("shape", [(64, 64), (256, 320), (480, 640), (90, 400)])
def test_every_size_looks_like_a_careful_resize(shape, size):
    picture = smooth(*shape)
    careful = np.asarray(Image.fromarray(picture).resize((size, size), Image.Resampling.BOX))
    ratio = decode.ratio((*shape, 3), "jpeg", size)
    fast = decode.fast((*shape, 3), size)
    found = decoded(encoded(picture, quality=97), size, ratio, fast=fast)
    assert np.abs(found.astype(int) - careful).mean() < 3
    png = decoded(encoded(picture, "png"), size)
    assert np.abs(png.astype(int) - careful).mean() < 2.5


def test_pixels_that_keep_their_size_are_kept():
    picture = smooth(64, 64)
    assert np.array_equal(decoded(encoded(picture, "png"), 64), picture)
    exact = np.asarray(Image.open(io.BytesIO(encoded(picture, quality=95))))
    assert np.array_equal(decoded(encoded(picture, quality=95), 64), exact)


@pytest.mark.parametrize("kind", ["jpeg", "png"])
@pytest.mark.parametrize("size", [12, 60])
def test_channels_are_rgb_or_changed_over(kind, size):
    data = encoded(np.full((60, 60, 3), (200, 100, 20), np.uint8), kind)
    np.testing.assert_allclose(decoded(data, size)[5, 5], (200, 100, 20), atol=3)
    np.testing.assert_allclose(decoded(data, size, swap=True)[5, 5], (20, 100, 200), atol=3)


@pytest.mark.parametrize(
    ("mode", "kind"),
    [
        ("L", "png"),
        ("L", "jpeg"),
        ("RGBA", "png"),
        ("P", "png"),
        ("1", "png"),
        ("LA", "png"),
        ("CMYK", "jpeg"),
    ],
)
def test_other_channel_counts_become_rgb(mode, kind):
    picture = Image.new("RGB", (60, 60), (255, 255, 255)).convert(mode)
    frame = decoded(encoded(picture, kind), 12)
    assert np.abs(frame.astype(int) - 255).max() <= 5


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"no image at all", "neither JPEG nor PNG"),
        (b"", "neither JPEG nor PNG"),
        (encoded(smooth(32, 32), "png")[:200], "damaged"),
        (encoded(smooth(64, 64))[:-300], "Premature end"),
        (b"\xff\xd8\xff", "3 bytes of JPEG are damaged"),
        (encoded(Image.new("I;16", (8, 8)), "png"), "16 bits"),
    ],
)
def test_what_is_no_picture_is_refused(data, words):
    with pytest.raises(ValueError, match=words):
        decoded(data, 16)


def test_stripes_are_averaged_when_they_shrink():
    stripes = np.zeros((64, 64, 3), np.uint8)
    stripes[:, ::2] = 200
    assert np.abs(decoded(encoded(stripes, "png"), 8).astype(int) - 100).max() <= 1


def test_what_is_not_averaged_is_bilinear_between_the_centres_of_pixels():
    noise_HWC = np.random.default_rng(0).integers(256, size=(60, 44, 3), dtype=np.uint8)
    rows, columns = (
        np.clip((np.arange(40) + 0.5) * side / 40 - 0.5, 0, side - 1) for side in (60, 44)
    )
    top, left = rows.astype(int), columns.astype(int)
    bottom, right = np.minimum(top + 1, 59), np.minimum(left + 1, 43)
    down, across = (rows - top)[:, None, None], (columns - left)[None, :, None]
    upper = noise_HWC[top][:, left] * (1 - across) + noise_HWC[top][:, right] * across
    lower = noise_HWC[bottom][:, left] * (1 - across) + noise_HWC[bottom][:, right] * across
    found = decoded(encoded(noise_HWC, "png"), 40)  # 60 to 40 is exactly 1.5
    np.testing.assert_allclose(found, upper * (1 - down) + lower * down, atol=1)


@pytest.mark.parametrize("kind", ["jpeg", "png"])
@pytest.mark.parametrize("size", [40, 64, 90])
def test_only_the_place_itself_is_written(kind, size):
    batch_BHWC = np.full((3, size, size, 3), 7, np.uint8)
    data = encoded(np.full((64, 64, 3), 200, np.uint8), kind)
    decode.into(data, batch_BHWC[1])
    assert (batch_BHWC[[0, 2]] == 7).all()
    assert np.abs(batch_BHWC[1].astype(int) - 200).max() <= 2


def test_threads_do_not_disturb_each_other():
    data = [encoded(smooth(60 + 7 * i, 200 - 9 * i)) for i in range(12)]
    alone = [decoded(one, 48) for one in data]
    with concurrent.futures.ThreadPoolExecutor(6) as pool:
        together = list(pool.map(lambda i: decoded(data[i % 12], 48), range(240)))
    for i, frame in enumerate(together):
        np.testing.assert_array_equal(frame, alone[i % 12])

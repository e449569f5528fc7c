"""Reading by tf.data: the right frames, the other reader's pixels, damage, and how it ends."""

import itertools
import threading
import types

import numpy as np
import pytest
from PIL import Image
from reader_fixtures import encoded, layout, source, waves

from input_pipeline import decode, keys, plan, random_access, rlds, scan, stream
from input_pipeline.errors import DataError

LENGTHS = (5, 3, 7, 4, 6)


class Order:
    """An order by hand: rows[s] are (episode, first step) of source s, again and again, in chunks
    of `chunk` rows; frames of a row are one step apart."""

    def __init__(self, cycle, rows, chunk, frames=2):
        self.cycle, self._rows, self._chunk, self._frames = np.array(cycle), rows, chunk, frames

    def position(self, row):
        turn, place = divmod(row, len(self.cycle))
        counts = [
            np.bincount(c, minlength=len(self._rows)) for c in (self.cycle, self.cycle[:place])
        ]
        return counts[0] * turn + counts[1]

    def visits(self, source, position):
        rows = np.array(self._rows[source])[position % len(self._rows[source])]
        return rows[:, 0], rows[:, 1:] + np.arange(self._frames)

    def chunk_end(self, source, position):
        return (position // self._chunk + 1) * self._chunk

    def rows(self, row):
        """Source, episode and times of rows `row`, as the plan tells them."""
        source = self.cycle[row % len(self.cycle)]
        place = np.array([self.position(int(r))[s] for r, s in zip(row, source, strict=True)])
        found = [self.visits(s, place[i : i + 1]) for i, s in enumerate(source)]
        episode, times = (np.concatenate(part) for part in zip(*found, strict=True))
        return {"source": source, "episode": episode, "times": times}


def episodes(seed=0, shape=(24, 32), kind="jpeg"):
    """Encoded pictures, each unlike all others."""
    return [
        [encoded(waves(*shape, seed + e + t / 10), kind) for t in range(length)]
        for e, length in enumerate(LENGTHS)
    ]


def every_start(frames=2, seed=0):
    """All (episode, step) that a row can begin at, in some order."""
    starts = [(e, t) for e, length in enumerate(LENGTHS) for t in range(length - frames + 1)]
    return np.random.default_rng(seed).permutation(starts)


def assert_same(sources, order, size, batch=4, count=6, first=0, frames=2, threads=2, atol=1):
    """Both readers give the same batches."""
    what = layout(size, frames, threads)
    rows = lambda i: order.rows(np.arange(i * batch, (i + 1) * batch))  # noqa: E731
    one = stream.batches(sources, order, what, first, batch)
    other = random_access.batches(sources, rows, what, first)
    for _ in range(count):
        np.testing.assert_allclose(next(one).astype(int), next(other), atol=atol)
    one.close()
    other.close()


@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("chunk", [1, 7])
def test_rows_come_in_the_order_of_the_order(tmp_path, chunk, threads):
    made = [source(tmp_path, episodes())]
    order = Order([0], [every_start(frames=3)], chunk, frames=3)
    assert_same(made, order, 16, batch=4, count=9, frames=3, threads=threads)


def test_sources_take_turns_as_the_cycle_says(tmp_path):
    made = [
        source(tmp_path / "a", episodes(), name="a"),
        source(tmp_path / "b", episodes(5), name="b"),  # which no row is from
        source(tmp_path / "c", episodes(10, (48, 64)), name="c", shape=(48, 64, 3), swap=True),
        source(tmp_path / "d", episodes(20, (16, 16), "png"), name="d", shape=(16, 16, 3)),
    ]
    rows = [every_start(seed=s) for s in range(4)]
    assert_same(made, Order([0, 2, 0, 0, 3], rows, 7), 16, batch=7, count=8, first=3)


@pytest.mark.parametrize("first", [1, 23])
def test_a_stream_begins_anywhere(tmp_path, first):
    made = [source(tmp_path / s, episodes(i), name=s) for i, s in enumerate("ab")]
    starts = np.array([len(LENGTHS), 4], np.int64)
    shares = [
        plan.Share(
            np.arange(5), np.array(LENGTHS) - 1, np.array(LENGTHS) - 1, starts[[0] * 5], (1, 1)
        )
        for _ in made
    ]
    order = plan.make(3, shares, [0.7, 0.3], chunk_bytes=[8, 8])
    whole = stream.batches(made, order, layout(16), 0, 4)
    for _ in range(first):
        next(whole)
    part = stream.batches(made, order, layout(16), first, 4)
    for _ in range(4):
        np.testing.assert_array_equal(next(part), next(whole))
    assert_same(made, order, 16, first=first)


PICTURES = {
    "rt1": encoded(waves(256, 320), quality=95),
    "bridge": encoded(waves(480, 640), quality=95),
    "small": encoded(waves(64, 64), quality=95),
    "exact": encoded(waves(256, 256), quality=95),
    "full chroma": encoded(waves(256, 320), subsampling=0),
    "progressive": encoded(waves(100, 400), progressive=True),
    "grey": encoded(Image.fromarray(waves(256, 320)).convert("L")),
    "cmyk": encoded(Image.fromarray(waves(256, 320)).convert("CMYK")),
    "png": encoded(waves(256, 320), "png"),
    "large png": encoded(waves(500, 600), "png"),
    "grey png": encoded(Image.fromarray(waves(64, 64)).convert("L"), "png"),
    "palette": encoded(Image.fromarray(waves(64, 64)).convert("P"), "png"),
    "transparent": encoded(Image.fromarray(waves(256, 256)).convert("RGBA"), "png"),
}


@pytest.mark.parametrize(
    ("shape", "said"),
    [
        ((256, 320, 3), "jpeg"),
        ((480, 640, 3), "jpeg"),
        ((64, 64, 3), "jpeg"),
        ((None, None, 3), "jpeg"),
        ((256, 320, 3), "png"),
        ((480, 640, 3), ""),
    ],
)
def test_both_readers_give_the_same_pixels(tmp_path, shape, said):
    order = Order([0], [[(0, t) for t in range(len(PICTURES) - 1)]], 5)
    made = source(tmp_path, [list(PICTURES.values()), [PICTURES["rt1"]]])
    made.episode_set.fields = {made.keys.image: rlds.Field("image", shape, "uint8", said)}
    assert_same([made], order, 256, batch=4, count=3)


def test_both_readers_give_the_same_pixels_of_real_clips(real_data):
    sources = []
    for folder in ("rt1_mini/0.1.0", "octo_bridge_debug/bridge_dataset/1.0.0"):
        opened = rlds.open_set(str(real_data / folder))
        chosen = keys.find(opened.fields, keys.options({}, 0, 1), opened.name)
        table = scan.scan(opened, chosen, "error")
        sources.append(
            types.SimpleNamespace(name=opened.name, keys=chosen, table=table, episode_set=opened)
        )
    rows = [[(e, t) for e in range(6) for t in (0, 3)] for _ in sources]
    for size in (64, 256):
        assert_same(sources, Order([0, 1], rows, 4), size, batch=6, count=4)


def complaint(made, order, size=4, again=True):
    """What is said when the stream comes to a damaged place, each time it does."""
    messages = set()
    for _ in range(1 + again):
        batches = stream.batches(made, order, layout(16), 0, size)
        with pytest.raises(DataError) as caught:
            list(itertools.islice(batches, 20))
        messages.add(str(caught.value))
    (message,) = messages
    assert "\n" not in message
    return message


@pytest.mark.parametrize(
    ("picture", "words", "said"),
    [
        (b"no picture at all", "neither JPEG nor PNG", "jpeg"),
        (b"no picture at all", "neither JPEG nor PNG", ""),
        (encoded(waves(24, 32))[:-200], "", "jpeg"),
        (encoded(Image.new("I;16", (32, 24)), "png"), "16 bits", "png"),
    ],
)
def test_a_picture_that_is_none_is_named(tmp_path, picture, words, said):
    pictures = episodes()
    pictures[3][2] = picture
    made = source(tmp_path, pictures, name="kitchen")
    made.episode_set.fields = {made.keys.image: rlds.Field("image", (24, 32, 3), "uint8", said)}
    message = complaint([made], Order([0], [every_start()], 6))
    assert message.startswith("kitchen/episode3@2: ")
    assert words in message
    assert made.episode_set.files[1] in message
    assert "remove the episode" in message


@pytest.mark.parametrize("damage", ["byte", "cut", "gone"])
def test_a_damaged_file_is_named(tmp_path, damage):
    made = source(tmp_path, episodes(), name="kitchen")
    file = tmp_path / "kitchen-1.tfrecord"
    content = bytearray(file.read_bytes())
    if damage == "byte":  # in no frame that is wanted: only the checksum tells
        content[made.table.offset[4] + made.table.length[4] - 1] ^= 1
    else:  # "gone": just before a record, so that the file looks whole
        at = int(made.table.offset[4]) - stream.HEADER
        content = content[: at + (100 if damage == "cut" else 0)]
    file.write_bytes(bytes(content))
    rows = [(0, 0), (0, 1), (0, 2), (1, 0), (4, 0), (4, 1)]
    message = complaint([made], Order([0], [rows], 6))
    assert message.startswith("kitchen/episode4@0: ")
    assert str(file) in message
    assert "copy the file again" in message
    if damage == "byte":
        assert "corrupted record" in message


@pytest.mark.parametrize("threads", [1, 4])
def test_a_stream_can_be_left_at_any_time(tmp_path, threads):
    made = [source(tmp_path / s, episodes(i), name=s) for i, s in enumerate("ab")]
    order = Order([0, 1], [every_start()] * 2, 3)

    def begin_and_leave():
        for count in range(6):
            batches = stream.batches(made, order, layout(16, threads=threads), 0, 4)
            for _ in range(count):
                next(batches)
            batches.close()

    leaving = threading.Thread(target=begin_and_leave, daemon=True)
    leaving.start()
    leaving.join(60)
    assert not leaving.is_alive()


def test_a_chunk_names_each_record_and_each_frame_once(tmp_path):
    made = source(tmp_path, episodes())
    order = Order([0], [every_start()], 100)
    episode_N, times_NT = order.visits(0, np.arange(20))
    file, offset, begin, end, start, length, places = stream._chunk(made, episode_N, times_NT)
    assert len(set(zip(file, offset.tolist(), strict=True))) == len(file) == len(LENGTHS)
    assert end[-1] == len(start) == len(length) == sum(LENGTHS)
    owner = np.repeat(np.arange(len(file)), end - begin)
    step = made.table.first[episode_N][:, None] + times_NT
    np.testing.assert_array_equal(start[places], made.table.frame_offset[step])
    np.testing.assert_array_equal(length[places], made.table.frame_length[step])
    np.testing.assert_array_equal(
        offset[owner[places]] + stream.HEADER,
        np.broadcast_to(made.table.offset[episode_N][:, None], places.shape),
    )


def test_tensorflow_is_kept_from_the_accelerators(monkeypatch):
    tf, hidden = stream._tensorflow(), []
    monkeypatch.setattr(tf.config, "set_visible_devices", lambda *call: hidden.append(call))
    stream._tensorflow.__wrapped__()
    assert hidden == [([], "GPU"), ([], "TPU")]


@pytest.mark.parametrize("shape", [(60, 40), (60, 39), (61, 40), (40, 61), (39, 70), (40, 40)])
def test_both_readers_average_where_a_side_shrinks_by_more_than_half(shape):
    noise_HWC = np.random.default_rng(0).integers(256, size=(*shape, 3), dtype=np.uint8)
    tf, frame_HWC = stream._tensorflow(), np.empty((40, 40, 3), np.uint8)
    found_HWC = stream._resize(tf, tf.constant(noise_HWC), *shape, 40).numpy()
    decode.into(encoded(noise_HWC, "png"), frame_HWC)
    np.testing.assert_allclose(found_HWC.astype(int), frame_HWC, atol=1)

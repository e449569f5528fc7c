"""Episodes that are held out and trained on at the same time, found by what they look like.

A picture becomes a 64-bit perceptual hash (pHash: signs about the median of the 8x8 lowest
frequencies of its cosine transform, without the two zero ones); bits that differ tell how far two
pictures are apart. An episode repeats another if both its first and its middle frame are near
those of the other: first frames alone are alike in every episode of a scene that starts at rest.

Measured at 32x32 pixels: the same frame after JPEG of quality 30, another size or 15 grey levels
more is 0 to 4 bits away. Different episodes of one scene were within THRESHOLD in both frames in
0 of 900 pairs (three cameras of one real kitchen sink, nearest 6) and 1 of 450 (rendered tables);
of different scenes, in 0 of 404,100. The difference hash (dHash) took 11 of those 450 for repeats.
Not found: mirrored or cropped copies, and copies that are cut differently where the camera sees
fast motion (one step less moved real episodes of 3 Hz by up to 16 bits).
N training, M held-out episodes, H W pixels.
"""

import dataclasses

import numpy as np

from input_pipeline import thumbnails

THRESHOLD = 4
FLAT = 2.0  # grey levels of standard deviation below which a picture shows nothing
BLOCK = 2**20  # distances in memory at a time
_FREQUENCY = np.arange(1, 9)[:, None]
_COSINES = np.cos(
    np.pi * _FREQUENCY * (2 * np.arange(thumbnails.SIDE) + 1) / (2 * thumbnails.SIDE)
).astype(np.float32)


@dataclasses.dataclass(frozen=True, eq=False)
class Found:
    """For every held-out episode that could be compared, nearest first: its (source, place), that
    of the training episode nearest to it, bits between their first and between their middle
    frames, and bits to the nearest first frame of train. Counts of episodes: held, train, and
    blank (on either side, of a picture that shows nothing, so not compared)."""

    held_out: list
    trained_on: list
    first: np.ndarray
    middle: np.ndarray
    look: np.ndarray
    held: int
    train: int
    blank: int

    def repeats(self, threshold):
        """How many held-out episodes are in train as well."""
        return int((np.maximum(self.first, self.middle) <= threshold).sum())


def check(train, held, threads):
    """Found: lists of (source, places int64) compared. DataError where a frame cannot be read."""
    sides, hashes, blank = [], [], 0
    for side in (train, held):
        owners = [(source, int(place)) for source, places in side for place in places]
        parts = [_hashed(source, places, threads) for source, places in side if len(places)]
        hash_2N = np.concatenate([np.zeros((2, 0), np.uint64), *(h for h, _ in parts)], axis=1)
        shown = ~np.concatenate([np.zeros(0, bool), *(b for _, b in parts)])
        blank += int((~shown).sum())
        sides.append([owners[i] for i in np.flatnonzero(shown)])
        hashes.append(hash_2N[:, shown])
    near, first, middle, look = nearest(*hashes)
    order = np.lexsort((first + middle, np.maximum(first, middle)))
    return Found(
        held_out=[sides[1][i] for i in order if len(near)],
        trained_on=[sides[0][near[i]] for i in order if len(near)],
        first=first[order],
        middle=middle[order],
        look=look[order],
        held=sum(len(places) for _, places in held),
        train=sum(len(places) for _, places in train),
        blank=blank,
    )


def phash(pictures_NHW):
    """64-bit perceptual hash of grey pictures uint8 [N,32,32]: uint64 [N]."""
    waves_N88 = _COSINES @ pictures_NHW.astype(np.float32) @ _COSINES.T
    waves_NK = waves_N88.reshape(len(pictures_NHW), 64)
    above = waves_NK > np.median(waves_NK, axis=1, keepdims=True)
    return np.packbits(above, axis=1).view(np.uint64)[:, 0]


def nearest(train_2N, held_2M):
    """The training episode nearest to each held-out one, by the hashes uint64 of both frames.

    Returns its number int64 [M], the bits between the first and between the middle frames, and the
    bits to the nearest first frame of any training episode: uint8 [M]. Nothing if one side is
    empty.
    """
    count, trained = held_2M.shape[1], train_2N.shape[1]
    if not trained:
        count = 0
    near = np.zeros(count, np.int64)
    first, middle, look = np.zeros((3, count), np.uint8)
    rows = max(1, BLOCK // max(1, trained))
    for begin in range(0, count, rows):
        mine = np.s_[begin : min(count, begin + rows)]
        first_MN, middle_MN = (
            np.bitwise_count(held_2M[frame, mine, None] ^ train_2N[frame]) for frame in (0, 1)
        )
        near[mine] = np.maximum(first_MN, middle_MN).argmin(axis=1)
        look[mine] = first_MN.min(axis=1)
        at = np.arange(len(first_MN)), near[mine]
        first[mine], middle[mine] = first_MN[at], middle_MN[at]
    return near, first, middle, look


def describe(found, threshold, show):
    """What was found as text, the `show` closest pairs among it; lines of at most 80 columns."""
    alike = int((found.look <= threshold).sum())
    repeats = found.repeats(threshold)
    lines = [
        f"Pictures of {found.held} held-out against {found.train} training episodes, by the bits",
        f"(of 64) in which their perceptual hashes differ; near is up to {threshold}:",
        f"  {alike} held-out episodes start like one of train (first frame near: same look)",
        f"  {repeats} repeat one of train (first and middle frame near: same episode)",
    ]
    if repeats:
        same = sum(
            _same_actions(*pair)
            for pair in zip(found.held_out[:repeats], found.trained_on[:repeats], strict=True)
        )
        lines.append(f"  {same} of these have its actions, too, step by step")
    if found.blank:
        lines.append(f"  {found.blank} show nothing in either frame (one grey) and were left out")
    if found.held_out and show:
        lines.append("closest: bits of first and middle frame, held-out and training episode")
    for (held, place), (train, other), first, middle in list(
        zip(found.held_out, found.trained_on, found.first, found.middle, strict=True)
    )[:show]:
        lines.append(f"{first:4}{middle:4}  {shortened(held.label(place), 70)}")
        lines.append(f"{'':10}{shortened(train.label(other), 70)}")
    return "\n".join(lines)


def shortened(label, columns):
    """A label of at most `columns` letters: its end, which tells more than its start."""
    return label if len(label) <= columns else "..." + label[3 - columns :]


def _hashed(source, places, threads):
    """Hashes of first and middle frame uint64 [2,N], and which episodes are blank, bool [N]."""

    def rows(numbers):
        episode = places[numbers]
        middle = source.table.steps[episode] // 2
        return episode, np.stack([np.zeros_like(middle), middle], axis=1).astype(np.int64)

    hashes, blank = [], []
    for pictures_N2HW in thumbnails.of(source, len(places), rows, threads):
        hashes.append(phash(pictures_N2HW.reshape(-1, *pictures_N2HW.shape[2:])).reshape(-1, 2).T)
        blank.append((pictures_N2HW.std(axis=(2, 3)) < FLAT).any(axis=1))
    return np.concatenate(hashes, axis=1), np.concatenate(blank)


def _same_actions(held, trained):
    """Whether two episodes, as (source, place), have the same actions, and any at all."""
    one, other = (
        source.table.action[source.table.first[place] : source.table.first[place + 1]]
        for source, place in (held, trained)
    )
    return bool(one.size and np.array_equal(one, other))

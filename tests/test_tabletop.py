"""The tabletop set: looks, motion, exact flow, and the RLDS folder.

T steps, H W pixels, D domains.
"""

import json
import subprocess
import sys

import numpy as np
import pytest
import tensorflow_datasets as tfds

from input_pipeline import tabletop
from input_pipeline.errors import DataError
from input_pipeline.tabletop import render
from input_pipeline.tabletop.motion import NOISE, WALL

SMALL = {"scenes": 2, "steps": 6, "image_size": 32, "progress": False}


def episode(domain, number, seed=0, steps=24, **more):
    scene = f"{domain}/{number:04d}"
    return tabletop.episode_from_seed(domain, scene, seed, steps=steps, **more)


@pytest.fixture(scope="module")
def episodes():
    return [episode(domain, number) for domain in tabletop.DOMAINS for number in range(20)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tabletop.write(tmp_path_factory.mktemp("array_record"), **SMALL)


def records(path):
    """{scene: (metadata, steps)} of a folder, by random access or by tf.data."""
    builder = tfds.builder_from_directory(path)
    if builder.info.file_format.value == "array_record":
        rows = builder.as_data_source(split="train")
    else:
        rows = tfds.as_numpy(builder.as_dataset(split="train"))
    found = {row["episode_metadata"]["scene"]: row for row in rows}
    return {key: (row["episode_metadata"], list(row["steps"])) for key, row in found.items()}


def sample(image_HWC, u, v):
    """Bilinear values at the pixels (u, v)."""
    last = image_HWC.shape[0] - 1.001
    u, v = np.clip(u, 0, last), np.clip(v, 0, last)
    column, row = u.astype(int), v.astype(int)
    a, b = (u - column)[..., None], (v - row)[..., None]
    above = (1 - a) * image_HWC[row, column] + a * image_HWC[row, column + 1]
    below = (1 - a) * image_HWC[row + 1, column] + a * image_HWC[row + 1, column + 1]
    return (1 - b) * above + b * below


def inner(mask_HW):
    """The mask less its outermost pixel on every side."""
    kept = np.zeros_like(mask_HW)
    kept[1:-1, 1:-1] = np.lib.stride_tricks.sliding_window_view(mask_HW, (3, 3)).all((2, 3))
    return kept


def test_same_seed_same_episode_and_other_seed_other():
    one, two, other = episode("arm", 3), episode("arm", 3), episode("arm", 3, seed=1)
    assert np.array_equal(tabletop.frames(one), tabletop.frames(two))
    assert one.instruction == two.instruction
    assert not np.array_equal(one.state_T3, other.state_T3)
    # same scene, other episode: the table looks the same where nothing moves
    first, later = render.clean(one)[0], render.clean(other)[0]
    assert np.mean(np.abs(first - later).max(-1) < 0.01) > 0.4
    # another seed of the whole set is another scene
    foreign = render.clean(episode("arm", 3, seed=tabletop.EPISODES_MAX))[0]
    assert np.mean(np.abs(first - foreign).max(-1) < 0.01) < 0.2


def test_domains_look_different_and_scenes_vary(episodes):
    mean_DS3 = np.array([render.clean(one, 32)[0].mean((0, 1)) for one in episodes])
    mean_DS3 = mean_DS3.reshape(len(tabletop.DOMAINS), -1, 3)
    center_D3 = mean_DS3.mean(1)
    away = [np.linalg.norm(mean_DS3 - center, axis=-1) for center in center_D3]
    nearest = np.argmin(away, axis=0)
    assert np.mean(nearest == np.arange(len(center_D3))[:, None]) > 0.9
    assert mean_DS3.std(1).max(-1).min() > 0.02


def test_actions_are_what_was_executed(episodes):
    for one in episodes:
        moved = one.state_T3[-1, :2] - one.state_T3[0, :2]
        commanded = one.action_T3[:-1, :2]
        slack = NOISE * np.abs(commanded).sum(0) + 1e-5
        assert (np.abs(moved - commanded.sum(0)) <= slack).all()
        assert np.abs(one.state_T3[:, :2]).max() <= WALL * (1 + NOISE)
        assert not one.action_T3[-1, :2].any()
        assert set(np.unique(one.action_T3[:, 2])) <= {0.0, 1.0}


def test_motion_is_isotropic_with_idle_steps(episodes):
    way = np.concatenate([one.state_T3[4:, :2] - one.state_T3[:-4, :2] for one in episodes])
    far = np.hypot(*way.T) * 32  # pixels at 64 x 64
    low, middle, high = np.percentile(far, [20, 50, 90])
    assert 2 < low < 7
    assert 6 < middle < 11
    assert 10 < high < 16
    spread = np.linalg.eigvalsh(np.cov(way.T))
    assert spread[1] / spread[0] < 1.4
    turn = np.arctan2(way[:, 1], way[:, 0])[far > 3]
    share = np.histogram(turn, 8, (-np.pi, np.pi))[0] / len(turn)
    assert share.min() > 0.07
    idle = np.mean([(one.action_T3[:-1, :2] == 0).all(1).mean() for one in episodes])
    assert 0.08 < idle < 0.18


@pytest.mark.parametrize("jitter", [0.0, 1.5])
@pytest.mark.parametrize("domain", tabletop.DOMAINS)
def test_warping_by_the_flow_gives_the_earlier_frame(domain, jitter):
    one = episode(domain, 7, camera_jitter=jitter)
    frames_THWC = render.clean(one, 128)
    v, u = np.mgrid[:128, :128]
    errors, before = [], []
    for t in (0, 5, 10, 15):
        flow = tabletop.flow(one, t, gap=4, image_size=128)
        kept = inner(tabletop.visible(one, t, gap=4, image_size=128))
        kept &= np.hypot(flow[..., 0], flow[..., 1]) > 0.5
        warped = sample(frames_THWC[t + 4], u + flow[..., 0], v + flow[..., 1])
        errors.append(np.abs(warped - frames_THWC[t])[kept])
        before.append(np.abs(frames_THWC[t + 4] - frames_THWC[t])[kept])
    error, plain = np.concatenate(errors), np.concatenate(before)
    assert len(error) > 500
    assert error.mean() < 0.025
    assert error.mean() < 0.3 * plain.mean()


def test_flow_of_a_pair_without_motion_is_zero_and_it_scales_with_the_picture():
    one = episode("gantry", 1)
    assert np.abs(tabletop.flow(one, 3, gap=0)).max() < 1e-6
    still = [t for t in range(20) if np.array_equal(one.state_T3[t], one.state_T3[t + 1])]
    for t in still[:3]:
        assert np.abs(tabletop.flow(one, t)).max() < 1e-4
    small, large = (np.abs(tabletop.flow(one, 2, 4, size)).max((0, 1)) for size in (64, 256))
    np.testing.assert_allclose(large, 4 * small, rtol=0.1, atol=0.5)


def test_the_hand_moves_in_the_picture_as_in_the_state():
    one = episode("arm", 2)
    flow, way = tabletop.flow(one, 0, 4), one.state_T3[4, :2] - one.state_T3[0, :2]
    hand = flow[np.hypot(flow[..., 0], flow[..., 1]) > 0.5]
    cosine = hand @ (way * [1, -1]) / np.linalg.norm(hand, axis=1) / np.linalg.norm(way)
    assert np.median(cosine) > 0.6


def test_instruction_names_something_on_the_table_or_a_way():
    texts = {episode(domain, n).instruction for domain in tabletop.DOMAINS for n in range(60)}
    assert len(texts) > 100
    first_words = {text.split()[0] for text in texts}
    assert first_words >= {"push", "go", "move"}


def test_folder_is_rlds_and_recovers_its_episodes(folder):
    rows = records(folder)
    assert len(rows) == 2 * len(tabletop.DOMAINS)
    for metadata, steps in rows.values():
        one = tabletop.episode_from_metadata(metadata)
        assert metadata["control_hz"] == 5.0
        assert [step["is_first"] for step in steps] == [True] + [False] * 5
        assert [step["is_last"] for step in steps] == [False] * 5 + [True]
        assert np.array_equal([step["action"] for step in steps], one.action_T3)
        assert np.array_equal([step["observation"]["state"] for step in steps], one.state_T3)
        assert steps[0]["language_instruction"].decode() == one.instruction
        stored = np.array([step["observation"]["image"] for step in steps], float)
        # brightness only: JPEG halves the resolution of the colours
        assert np.abs((stored - tabletop.frames(one, 32)).mean(-1)).mean() < 4


def test_jitter_is_recovered_from_the_metadata(tmp_path):
    rows = records(tabletop.write(tmp_path, **{**SMALL, "scenes": 1}, camera_jitter=1.1))
    for key, (metadata, _) in rows.items():
        domain, _, number = key.decode().partition("/")
        one = tabletop.episode_from_metadata(metadata)
        other = episode(domain, int(number), steps=6, camera_jitter=1.1)
        assert np.array_equal(tabletop.frames(one, 32), tabletop.frames(other, 32))
        assert np.ptp(one.camera.jitter_T2, axis=0).min() > 0.1


def test_both_formats_hold_the_same(folder, tmp_path):
    one, two = records(folder), records(tabletop.write(tmp_path, file_format="tfrecord", **SMALL))
    assert one.keys() == two.keys()
    for key in one:
        assert one[key][0] == two[key][0]
        for a, b in zip(one[key][1], two[key][1], strict=True):
            assert np.array_equal(a["action"], b["action"])
            # the two readers decode JPEG with different libraries
            gap = a["observation"]["image"].astype(int) - b["observation"]["image"]
            assert np.abs(gap).max() <= 8


def test_finished_folder_is_reused_and_other_arguments_get_another(folder):
    root = folder.split("/tabletop/scenes")[0]
    assert tabletop.write(root, **SMALL) == folder
    assert tabletop.write(root, **{**SMALL, "steps": 3}) != folder


def test_interrupted_run_is_not_taken_for_whole(folder, tmp_path, monkeypatch):
    frames, calls = render.frames, []

    def stop_at_the_third(*arguments):
        calls.append(arguments)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return frames(*arguments)

    monkeypatch.setattr(render, "frames", stop_at_the_third)
    with pytest.raises(KeyboardInterrupt):
        tabletop.write(tmp_path, **SMALL)
    assert not list(tmp_path.glob("tabletop/*/1.0.0"))
    monkeypatch.undo()
    again = tabletop.write(tmp_path, **SMALL)
    assert again != folder
    assert records(again).keys() == records(folder).keys()


def test_command_prints_the_path_and_needs_no_tensorflow(tmp_path):
    program = (
        "import sys; from input_pipeline.tabletop.__main__ import main; "
        "status = main(sys.argv[1:]); assert 'tensorflow' not in sys.modules; sys.exit(status)"
    )
    words = [str(tmp_path), "--scenes", "1", "--steps", "3", "--image_size", "16"]
    done = subprocess.run(
        [sys.executable, "-c", program, *words], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    path = done.stdout.strip()
    assert json.loads((tmp_path / path / "dataset_info.json").read_text())["name"] == "tabletop"


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        ({"scenes": 0}, "scenes"),
        ({"steps": 1}, "steps"),
        ({"image_size": 8}, "image_size"),
        ({"image_size": 64.5}, "image_size"),
        ({"seed": -1}, "seed"),
        ({"camera_jitter": 99.0}, "camera_jitter"),
        ({"camera_jitter": "much"}, "camera_jitter"),
        ({"file_format": "hdf5"}, "file_format"),
    ],
)
def test_wrong_arguments_are_named_in_one_line(tmp_path, arguments, word):
    with pytest.raises(DataError, match=word) as caught:
        tabletop.write(tmp_path, **arguments)
    assert "\n" not in str(caught.value)
    assert not list(tmp_path.iterdir())


def test_a_file_in_the_way_is_named(tmp_path):
    (tmp_path / "tabletop").write_text("")
    with pytest.raises(DataError, match="cannot write"):
        tabletop.write(tmp_path, **SMALL)


def test_wrong_episodes_are_named():
    with pytest.raises(DataError, match="crane"):
        tabletop.episode_from_seed("crane", "crane/0001", 0)
    with pytest.raises(DataError, match="arm/0042"):
        tabletop.episode_from_seed("arm", "gantry/0001", 0)
    with pytest.raises(DataError, match=r"steps 0\.\.23"):
        tabletop.flow(episode("arm", 0), 22, gap=4)

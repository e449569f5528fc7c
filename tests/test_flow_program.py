"""python -m lam.flow: every pair once, numbers as by hand, all or nothing, mistakes in a line."""

import functools
import json
import logging
import pathlib
import subprocess
import sys
import types

import av
import jax
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from interpreter import ROOT
from PIL import Image
from pyarrow import parquet
from raft_fixtures import random_frames, random_weights

from input_pipeline import encode, ordered
from lam import flow, progress
from lam.errors import UserError
from lam.flow import columns, files, program, source, weights
from lam.flow.__main__ import main
from lam.ops import motion

SIZE, RATE, UPDATES = 64, 10, 2
load = functools.cache(flow.load)


@pytest.fixture(scope="module")
def teacher(tmp_path_factory):
    """A file of random weights."""
    path = tmp_path_factory.mktemp("weights") / "random.safetensors"
    weights.save(path, random_weights("small"), "small", about={"trained": "never"})
    return str(path)


@pytest.fixture
def once(monkeypatch, tmp_path):
    """What was compiled by one test serves the others; caches of data sets are of the test."""
    monkeypatch.setattr(flow, "load", load)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))


def moving(count, seed=0):
    """Frames of a texture that moves: list of uint8 [SIZE,SIZE,3]."""
    (image,), _ = random_frames(1, SIZE, SIZE, 3, seed=seed)
    return [(255 * np.roll(image, (t, 2 * t), (0, 1))).astype(np.uint8) for t in range(count)]


def write_video(path, count=6, size=SIZE, seed=0):
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=RATE)
        stream.width = stream.height = size
        stream.pix_fmt = "yuv420p"
        for frame in moving(count, seed):
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(frame[:size, :size]))
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def write_pictures(folder, count):
    folder.mkdir(parents=True)
    for number, frame in enumerate(moving(count)):
        Image.fromarray(frame).save(folder / f"frame_{number + 8}.png")  # 8, 9, 10, ...
    return folder


@pytest.fixture
def videos(tmp_path):
    """A folder of two videos of 6 frames."""
    write_video(tmp_path / "videos" / "a.mp4", 6)
    write_video(tmp_path / "videos" / "more" / "b.mp4", 6, seed=1)
    return tmp_path / "videos"


def run(capsys, given, out, teacher, *more):
    """(Parquet table, what is on stdout) of a run."""
    main([str(given), f"--out={out}", f"--weights={teacher}", f"--updates={UPDATES}", *more])
    return parquet.read_table(out / "summary.parquet"), capsys.readouterr().out


def by_hand(teacher, first, second, seconds):
    """(columns, flow) of frames by the estimator and `motion.summary` alone."""
    found = load(teacher)(np.stack(first), np.stack(second), UPDATES)
    summary = jax.jit(motion.summary)(found, np.asarray(seconds, np.float32))
    flat = {}
    for kind, numbers in summary.items():
        for name, value in numbers.items():
            names = [""] if value.ndim == 1 else ["_x", "_y"]
            for axis, column in zip(names, np.atleast_2d(np.asarray(value).T), strict=True):
                flat[f"{kind}_{name}{axis}"] = column
    return flat, found


def assert_same(table, expected):
    assert set(table.schema.names) == set(columns.PAIR) | set(expected)
    for name, column in expected.items():
        np.testing.assert_allclose(
            table[name].to_numpy(), column, rtol=1e-3, atol=1e-3, err_msg=name
        )


def test_videos_become_numbers_pictures_and_fields(once, videos, tmp_path, teacher, capsys):
    out = tmp_path / "deep" / "out"
    table, said = run(capsys, videos, out, teacher, "--gap=2", "--save=flo", "--pictures=3")
    frames = {name: list(encode.frames(videos / name)) for name in ("a.mp4", "more/b.mp4")}
    pairs = [(name, t) for name in frames for t in range(len(frames[name]) - 2)]
    assert list(zip(table["episode"].to_pylist(), table["step"].to_pylist(), strict=True)) == pairs
    first, second = ([frames[name][t + gap] for name, t in pairs] for gap in (0, 2))
    expected, fields = by_hand(teacher, first, second, [2 / RATE] * len(pairs))
    assert_same(table, expected)
    assert set(table["gap"].to_pylist()) == {2}
    assert set(table["height"].to_pylist()) == set(table["width"].to_pylist()) == {SIZE}
    np.testing.assert_allclose(table["seconds"], 0.2)
    for row, field in enumerate(fields):
        np.testing.assert_allclose(
            files.read(out / "flow" / f"{row:08d}.flo")[0], field, rtol=1e-3, atol=1e-3
        )
    assert sorted(path.name for path in out.iterdir()) == [
        "flow",
        "pictures.png",
        "summary.parquet",
    ]
    with Image.open(out / "pictures.png") as picture:
        assert (picture.format, picture.width) == ("PNG", 720)
    assert said.startswith("8 pairs, 0% static, ")
    assert said.endswith(f": {out}/summary.parquet, {out}/pictures.png, {out}/flow\n")
    about = {key.decode(): value.decode() for key, value in table.schema.metadata.items()}
    assert about["weights"] == teacher
    assert json.loads(about["weights_metadata"])["trained"] == "never"
    assert list(json.loads(about["columns"])) == table.schema.names


def test_pictures_have_no_rate_but_by_hz(once, tmp_path, teacher, capsys):
    given = write_pictures(tmp_path / "shots", 9)
    table, _ = run(capsys, given, tmp_path / "out", teacher, "--pictures=0")
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["summary.parquet"]
    assert table["episode"].to_pylist() == ["shots"] * 8
    frames = moving(9)
    expected, _ = by_hand(teacher, frames[:-1], frames[1:], [np.nan] * 8)
    assert_same(table, expected)
    rates = [name for name in table.schema.names if "rate" in name or name == "seconds"]
    assert len(rates) == 19
    assert all(np.isnan(table[name]).all() for name in rates)
    table, _ = run(capsys, given, tmp_path / "timed", teacher, "--hz=4")
    np.testing.assert_allclose(table["seconds"], 0.25)
    np.testing.assert_allclose(
        table["raw_mean_rate_x"].to_numpy(), expected["raw_mean_x"] / SIZE * 4, rtol=1e-3, atol=1e-4
    )


def test_data_sets_are_read_in_order(once, tabletop, tmp_path, teacher, capsys):
    given = tabletop["array_record"]
    table, _ = run(capsys, given, tmp_path / "out", teacher, f"--size={SIZE}", "--limit=8")
    data = {"sources": given, "image_size": SIZE, "data_dir": str(tmp_path)}
    (batch,) = ordered.pairs(data, 8, limit=8)
    keys = zip(table["episode"].to_pylist(), table["step"].to_pylist(), strict=True)
    assert [f"{episode}@{step}" for episode, step in keys] == batch["key"].tolist()
    expected, _ = by_hand(teacher, *np.moveaxis(batch["frames"], 1, 0), batch["dt"])
    assert_same(table, expected)
    np.testing.assert_allclose(table["seconds"], batch["dt"])
    np.testing.assert_allclose(table["gap"], np.round(0.6 * 5))


def test_real_video_has_its_own_size(once, real_data, tmp_path, teacher, capsys):
    given = real_data / "rt1_clips" / "fractal20220817_eps_00083076.mp4"
    table, _ = run(capsys, given, tmp_path / "out", teacher, "--limit=1", "--hz=3", "--gap=3")
    frames = list(encode.frames(given))
    step = table["step"][0].as_py()
    assert 0 < step < len(frames) - 3
    expected, _ = by_hand(teacher, [frames[step]], [frames[step + 3]], [1.0])
    assert_same(table, expected)
    assert (table["height"][0].as_py(), table["width"][0].as_py()) == (256, 320)


@functools.cache
def found_in(folder, **wanted):
    """All rows of the batches of a source: [(episode, step, gap, frame 1, frame 2)], and total."""
    found = source.find(folder, source.Wanted(**wanted), lambda height, width: 3)
    batches = list(found.batches)
    assert all(len(batch.frames) == 3 for batch in batches[:-1])
    rows = [
        (*row, *batch.frames[i])
        for batch in batches
        for i, row in enumerate(zip(batch.episode, batch.step, batch.gap, strict=True))
    ]
    return rows, found.total


@pytest.fixture(scope="module")
def clips(tmp_path_factory):
    """A folder of a video of 7 frames and a folder of 4 pictures."""
    folder = tmp_path_factory.mktemp("clips")
    write_video(folder / "a.mp4", 7)
    write_pictures(folder / "b", 4)
    return str(folder)


@settings(max_examples=15, deadline=None)
@given(gap=st.integers(1, 6), limit=st.integers(0, 12))
def test_every_pair_of_clips_once_in_order(clips, gap, limit):
    rows, total = found_in(clips, gap=gap, limit=limit)
    pairs = [("a.mp4", t) for t in range(7 - gap)] + [("b", t) for t in range(4 - gap)]
    count = min(limit or len(pairs), len(pairs))
    chosen = [pairs[i] for i in ordered.spread(np.arange(count), count, len(pairs))]
    assert [row[:2] for row in rows] == chosen
    assert total == len(rows)
    frames = {"a.mp4": list(encode.frames(f"{clips}/a.mp4")), "b": moving(4)}
    for name, t, between, first, second in rows:
        assert between == gap
        np.testing.assert_array_equal(first, frames[name][t])
        np.testing.assert_array_equal(second, frames[name][t + gap])


def test_sizes_are_kept_apart_and_seconds_are_made_steps(tmp_path):
    write_video(tmp_path / "a.mp4", 5)
    write_video(tmp_path / "b.mp4", 5, size=32)
    wanted = source.Wanted(gap_seconds=0.3)
    found = source.find(str(tmp_path), wanted, lambda height, width: 8)
    batches = list(found.batches)
    assert [batch.frames.shape for batch in batches] == [(2, 2, s, s, 3) for s in (64, 32)]
    assert [batch.gap.tolist() for batch in batches] == [[3, 3]] * 2
    assert found.total == 4


def test_what_cannot_be_read_can_be_left_out(videos, caplog):
    damaged = videos / "c.mp4"
    damaged.write_bytes((videos / "a.mp4").read_bytes()[:700])
    write_video(videos / "d.mp4", 1)
    with caplog.at_level(logging.WARNING, "lam.flow.pairs"):
        rows, total = found_in(str(videos), on_corrupt="skip")
    assert total == len(rows) == 5 + 5
    assert f"left out: {damaged}: cannot be read" in caplog.text
    assert "1 of 3 videos are too short for a pair" in caplog.text


def test_row_groups_keep_memory_constant(tmp_path, monkeypatch):
    monkeypatch.setattr(columns, "ROW_GROUP", 4)
    frames = np.zeros((3, 2, 8, 8, 3), np.uint8)
    numbers = jax.device_get(jax.jit(motion.summary)(np.ones((3, 8, 8, 2), np.float32)))
    with columns.Writer(tmp_path / "x.parquet", {}) as table:
        for step in range(5):
            one = np.full(3, step, np.int32)
            table.add(source.pairs.Batch(frames, ["e"] * 3, one, one, np.ones(3)), numbers)
    written = parquet.ParquetFile(tmp_path / "x.parquet")
    assert [written.metadata.row_group(i).num_rows for i in range(3)] == [6, 6, 3]
    assert written.read()["step"].to_pylist() == [step for step in range(5) for _ in range(3)]


WRONG = {
    "nothing there": ("nowhere.mp4", "no such video or folder, and no data set of this name"),
    "no video": ("text.txt", "no video by its name"),
    "empty": ("", "SOURCE is empty; give TFDS version folders"),
    "neither": ("empty", "empty: neither videos nor pictures in it, and it is no data set"),
    "set within": ("sets", "it is no data set; did you mean .*sets/1.0.0?"),
    "damaged": ("cut.mp4", "cut.mp4: cannot be read"),
    "no frames": ("zero.mp4", "zero.mp4: cannot be read"),
    "long gap": ("a.mp4 --gap=6", "a.mp4: no two of its 6 frames are 6 apart; set a smaller --gap"),
    "long gap of a set": (
        "SET --gap=99",
        "--gap=99 is longer than .* --gap to at most 7 steps",
    ),
    "no rate": ("shots --gap_seconds=1", "its control frequency is not known, .* set --hz"),
    "hz": ("a.mp4 --hz=fast", "--hz=fast is no frequency"),
    "size": ("a.mp4 --size=64", "--size=64 is for data sets"),
    "small size": ("SET --size=4", "--size=4 must be a whole number from 8"),
    "gap": ("a.mp4 --gap=-1", "--gap=-1 must be a whole number of at least 0"),
    "text": ("a.mp4 --gap=x", "invalid int value: 'x'; see python -m lam.flow --help"),
    "limit": ("a.mp4 --limit=-2", "--limit=-2 must be a whole number from 0"),
    "updates": ("a.mp4 --updates=0", "--updates=0 must be a whole number from 1"),
    "pictures": ("a.mp4 --pictures=1000", "--pictures=1000 must be a whole number from 0 to 200"),
    "save": ("a.mp4 --save=png", "invalid choice: 'png'"),
    "weights": ("a.mp4 --weights=none.safetensors", "there is no file none.safetensors"),
    "out is a file": ("a.mp4 --out=text.txt", "--out=text.txt is a file; name a folder"),
    "out is used": ("a.mp4 --out=used", "used/summary.parquet is there already"),
    "remote": ("gs://bucket/set", "gs://bucket/set: a remote folder cannot be read pair by pair"),
    "registered": ("bridge_dataset", "or set --root to where your copy is"),
}


@pytest.mark.parametrize("case", WRONG)
def test_mistakes_take_one_line(case, once, tabletop, tmp_path, teacher, monkeypatch):
    monkeypatch.chdir(tmp_path)
    arguments, message = WRONG[case]
    write_video(tmp_path / "a.mp4")
    write_pictures(tmp_path / "shots", 3)
    (tmp_path / "cut.mp4").write_bytes((tmp_path / "a.mp4").read_bytes()[:700])
    for name in ("text.txt", "zero.mp4", "used/summary.parquet", "sets/1.0.0/dataset_info.json"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "empty").mkdir()
    arguments = arguments.replace("SET", tabletop["array_record"]).split() or [""]
    with pytest.raises(UserError, match=message) as caught:
        main([f"--weights={teacher}", "--out=out", *arguments])
    assert "\n" not in str(caught.value)
    assert not pathlib.Path("out").exists()


def test_nothing_is_left_of_a_run_that_failed(once, videos, tmp_path, teacher, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device", "pictures.png")

    monkeypatch.setattr(program.plots, "save", full)
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine.txt").touch()
    with pytest.raises(OSError, match="No space left on device"):
        main([str(videos), f"--out={tmp_path / 'out'}", f"--weights={teacher}", "--updates=2"])
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["mine.txt"]


def test_the_program_ends_with_one_line(tmp_path):
    command = [sys.executable, "-m", "lam.flow", "nowhere.mp4", f"--out={tmp_path}"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("error: ")
    assert done.stderr.count("\n") == 1


def test_the_line_of_progress(monkeypatch, capsys):
    clock = iter([0.0, 4.0, 5.0, 8.0])
    monkeypatch.setattr(progress, "time", types.SimpleNamespace(monotonic=lambda: next(clock)))
    shown = progress.Steps(40, 0, "pairs")
    for done in (20, 25, 40):  # the second one comes too early
        shown.update(done)
    first, last = capsys.readouterr().err.splitlines()
    assert first == "[##########          ] 20/40  5.0 pairs/s  0:04 left"
    assert last == "[####################] 40/40  5.0 pairs/s  0:00 left"
    clock = iter([0.0, 4.0])
    progress.Steps(4).update(4, 0.25)
    assert "] 4/4  loss 0.25000  1.0 steps/s" in capsys.readouterr().err

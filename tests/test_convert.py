"""RLDS sets become a record a frame: bit for bit or encoded again, resumable, with checksums.

The tiny sets are those of `pipeline_fixtures`: 12x16 pixels, PNG; the real ones are JPEG.
"""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import simplejpeg
from array_record.python.array_record_data_source import ArrayRecordDataSource
from interpreter import ROOT
from pipeline_fixtures import colour, episode, episodes, features, write
from remote_fixtures import BUCKET, bucket
from scan_fixtures import check_same, images, scanned, write_lists
from train_fixtures import config_of

import input_pipeline
from input_pipeline import convert, decode, rlds, shards, sources
from input_pipeline.errors import DataError
from input_pipeline.options import DEFAULTS
from lam import train

RT1 = "rt1_mini/0.1.0"
BRIDGE = "octo_bridge_debug/bridge_dataset/1.0.0"
PLACES = ("file", "record", "offset", "length", "frame_offset", "frame_length")
TINY_SHARDS = "--shard_mb=0.001"


def run(src, dst, *options):
    """Exit status of the command in this process."""
    return convert.main([str(src), str(dst), "--workers=1", *options])


def records(folder):
    """All records of a converted set, file after file: list of bytes."""
    files = sorted(str(path) for path in Path(folder).glob("*.array_record"))
    return list(ArrayRecordDataSource(files))


def tree(folder):
    """{path: bytes} of all files below a folder."""
    files = [path for path in Path(folder).rglob("*") if path.is_file()]
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


def error(capsys):
    """The one line that tells of a mistake."""
    told = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
    assert len(told) == 1, told
    return told[0]


def psnr(one, other):
    return 10 * np.log10(255**2 / np.mean((one.astype(np.float64) - other) ** 2))


@pytest.mark.parametrize("folder", [BRIDGE, RT1])
def test_frames_and_columns_are_those_of_the_source(real_data, tmp_path, folder):
    """With all that the registry says of the set, as the loader sees it."""
    assert run(real_data / folder, tmp_path / "set", "--shard_mb=0.3") == 0
    data = DEFAULTS | {"sources": str(real_data / folder), "data_dir": str(tmp_path / "cache")}
    (source,) = sources.open_all(data)
    (same,) = sources.open_all(data | {"sources": str(tmp_path / "set")})
    assert (source.keys, source.groups) == (same.keys, same.groups)
    np.testing.assert_array_equal(source.split, same.split)
    source, made = source.table, same.table
    assert records(tmp_path / "set") == images(real_data / folder, source)
    check_same(source, made, without=PLACES)
    opened = rlds.open_set(str(tmp_path / "set"))
    assert len(opened.files) > 2
    assert opened.name == rlds.open_set(str(real_data / folder)).name
    for place in range(len(made)):  # the table names the right records
        stored = ArrayRecordDataSource([opened.files[made.file[place]]])
        steps = slice(*made.first[place : place + 2])
        sizes = [len(stored[int(made.record[place]) + t]) for t in range(made.steps[place])]
        assert sizes == made.frame_length[steps].tolist()
        assert sum(sizes) == made.length[place]


def test_encoded_again_as_training_would_see_them(real_data, tmp_path):
    assert run(real_data / RT1, tmp_path / "set", "--image_size=128") == 0
    folder = real_data / RT1
    source = scanned(folder)
    made, wanted = np.empty((2, 128, 128, 3), np.uint8)
    worst = np.inf
    pairs = zip(records(tmp_path / "set"), images(real_data / RT1, source), strict=True)
    for new, old in pairs:
        decode.into(new, made)
        decode.into(old, wanted, decode.ratio((256, 320, 3), "jpeg", 128))
        worst = min(worst, psnr(made, wanted))
    assert worst > 35
    field = rlds.open_set(str(tmp_path / "set")).fields["steps/observation/image"]
    assert (field.shape, field.encoding) == ((128, 128, 3), "jpeg")
    check_same(source, scanned(tmp_path / "set", held=True), without=PLACES)


def test_all_storages_and_any_number_of_workers_make_the_same(tmp_path):
    for storage in ("tfrecord", "array_record"):
        write(tmp_path / storage, episodes(6), storage=storage, shards=3)
        assert run(tmp_path / storage, tmp_path / f"from_{storage}", TINY_SHARDS) == 0
    assert run(tmp_path / "from_tfrecord", tmp_path / "from_frames", TINY_SHARDS) == 0
    one = tree(tmp_path / "from_tfrecord")
    assert len(one) > 12
    without = [name for name in one if name.endswith(".array_record") or name.startswith("table")]
    for other in ("from_array_record", "from_frames"):
        found = tree(tmp_path / other)
        assert [found[name] == one[name] for name in without] == [True] * len(without)
    command = [str(tmp_path / "tfrecord"), str(tmp_path / "by_two"), TINY_SHARDS, "--workers=2"]
    assert convert.main(command) == 0
    assert tree(tmp_path / "by_two") == one


def test_a_remote_set_is_read_a_file_at_a_time(tmp_path):
    write(tmp_path / "tiny", episodes(4), storage="tfrecord", shards=2)
    with bucket(tmp_path) as store:
        assert run(f"{BUCKET}/tiny", tmp_path / "set") == 0
        opened = [path for call, path in store.calls if call == "open" and "tfrecord" in path]
    assert len(opened) == 4  # each file for the table and for the frames
    assert records(tmp_path / "set") == images(tmp_path / "tiny", scanned(tmp_path / "tiny"))


def test_a_registered_name_and_its_swapped_colours(tmp_path):
    """Copied, the images stay swapped and the set says so; encoded again, they are right."""
    folder = tmp_path / "utaustin_mutex/0.1.0"
    write(folder, episodes(2), name="utaustin_mutex")
    name, root = "utaustin_mutex", f"--root={tmp_path}"
    assert run(name, tmp_path / "copy", root) == 0
    assert run(name, tmp_path / "again", root, "--image_size=8", "--quality=100") == 0
    assert rlds.open_set(str(tmp_path / "copy")).keys.swap
    assert records(tmp_path / "copy")[1] == colour(0, 1)
    assert not rlds.open_set(str(tmp_path / "again")).keys.swap
    for stored, red in zip(records(tmp_path / "again")[:6], [7] * 6, strict=True):
        assert abs(simplejpeg.decode_jpeg(stored)[0, 0, 0].astype(int) - red) < 3


@pytest.mark.parametrize(("split", "part"), [("train[50%:]", (5, 10)), ("train[1:3]", (1, 3))])
def test_a_part_of_a_split(tmp_path, split, part):
    write(tmp_path / "tiny", episodes(5), storage="tfrecord", shards=2)
    assert run(tmp_path / "tiny", tmp_path / "set", f"--split={split}") == 0
    wanted, made = scanned(tmp_path / "tiny", split=split), scanned(tmp_path / "set", held=True)
    check_same(wanted, made, without=PLACES)
    assert records(tmp_path / "set") == [colour(n, t) for n in range(*part) for t in range(6)]


def test_keys_and_first_steps_as_wished(tmp_path):
    """Another camera, no action; what the registry leaves out stays out."""
    flat = [
        one | {"steps/observation/other": [colour(50 + n, t) for t in range(6)]}
        for n, one in enumerate(episodes(2))
    ]
    write(tmp_path / "tiny", flat, features(images=("image", "other")), name="bridge_dataset")
    options = ["--image_key=other", "--action_key=none"]
    assert run(tmp_path / "tiny", tmp_path / "set", *options) == 0
    made = scanned(tmp_path / "set", held=True)
    assert made.action.shape == (4 * 5, 0)  # the first step of each of Bridge's is left out
    assert records(tmp_path / "set")[:5] == [colour(50, t) for t in range(1, 6)]
    assert sorted(rlds.open_set(str(tmp_path / "set")).fields) == [
        "episode_metadata/control_hz", "episode_metadata/scene", "steps/language_instruction",
        "steps/observation/other", "steps/observation/state",
    ]  # fmt: skip


def test_episodes_of_no_and_of_one_step(tmp_path):
    flat = [episode(n, steps, "a") for n, steps in enumerate((1, 0, 4, 0))]
    write_lists(tmp_path / "tiny", flat)
    assert run(tmp_path / "tiny", tmp_path / "set", TINY_SHARDS) == 0
    made = scanned(tmp_path / "set", held=True)
    assert made.steps.tolist() == [1, 0, 4, 0]
    assert records(tmp_path / "set") == [
        colour(n, t) for n, T in ((0, 1), (2, 4)) for t in range(T)
    ]


def damaged(folder, tiny):
    """The file of a TFRecord set of which one byte, in an image of the last record, is another."""
    file = next(Path(write(folder, tiny, storage="tfrecord")).glob("*.tfrecord*"))
    stored = bytearray(file.read_bytes())
    stored[stored.rindex(b"IDAT") + 6] ^= 1
    file.write_bytes(stored)
    return file


def test_a_damaged_record_is_found_and_may_be_skipped(tmp_path, capsys):
    """Even where the damage shows in no length, and after a first run that stopped at it."""
    file = damaged(tmp_path / "tiny", episodes(2))
    assert run(tmp_path / "tiny", tmp_path / "set", TINY_SHARDS) == 1
    assert f"{file}: record 3 cannot be read (its checksum is another)" in error(capsys)
    assert run(tmp_path / "tiny", tmp_path / "set", TINY_SHARDS, "--on_corrupt=skip") == 0
    assert "1 unreadable" in capsys.readouterr().out
    made = scanned(tmp_path / "set", held=True)
    assert (len(made), made.lost) == (3, 1)
    assert len(records(tmp_path / "set")) == 18
    assert run(tmp_path / "tiny", tmp_path / "new", "--on_corrupt=skip") == 0
    assert len(scanned(tmp_path / "new", held=True)) == 3


def test_a_damaged_image_is_found_when_it_is_encoded_again(tmp_path, capsys):
    tiny = episodes(2)
    tiny[1]["steps/observation/image"][4] = colour(1, 4)[:-25]
    write(tmp_path / "tiny", tiny)
    assert run(tmp_path / "tiny", tmp_path / "set", "--image_size=8") == 1
    assert "__1@4: the image cannot be decoded" in error(capsys)
    skip = ["--image_size=8", "--on_corrupt=skip", TINY_SHARDS]
    assert run(tmp_path / "tiny", tmp_path / "other", *skip) == 0
    made = scanned(tmp_path / "other", held=True)
    assert (made.steps.tolist(), made.lost) == ([6, 6, 6], 1)
    reds = [int(simplejpeg.decode_jpeg(one)[0, 0, 0]) for one in records(tmp_path / "other")]
    np.testing.assert_allclose(reds, [0] * 6 + [2] * 6 + [3] * 6, atol=3)


SLOW = """
import sys, time
from input_pipeline import convert, frames
work = frames.write_shard
def slowly(job, path):
    time.sleep(0.1)
    return work(job, path)
frames.write_shard = slowly
convert.main(sys.argv[1:])
"""


def test_a_killed_run_goes_on_where_it_stopped(real_data, tmp_path, capsys):
    """kill -9, twice; the result is that of a run in one go, byte for byte."""
    command = [str(real_data / BRIDGE), str(tmp_path / "set"), "--workers=1", "--shard_mb=0.05"]
    unfinished, inodes = tmp_path / ".set.unfinished", {}
    for wanted in (2, 5):
        process = subprocess.Popen([sys.executable, "-c", SLOW, *command], cwd=ROOT)
        end = time.monotonic() + 60
        while len(list(unfinished.glob("notes/frames*.json"))) < wanted:
            assert process.poll() is None, "the run is over before it could be killed"
            assert time.monotonic() < end
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
        process.wait()
        assert not (tmp_path / "set").exists()
        kept = {path.name: path.stat().st_ino for path in unfinished.glob("frames*")}
        assert inodes.items() <= kept.items()  # finished shards are not written again
        inodes = kept
    assert run(*command[:2], "--shard_mb=0.04") == 1
    assert "made with shard_mb=0.05, now 0.04" in error(capsys)
    assert run(*command[:2], command[3]) == 0
    assert "shards are there already" in capsys.readouterr().err
    made = {path.name: path.stat().st_ino for path in (tmp_path / "set").glob("frames*")}
    assert inodes.items() <= made.items()
    assert len(made) > len(inodes)
    assert run(command[0], tmp_path / "once", command[3]) == 0
    assert tree(tmp_path / "once") == tree(tmp_path / "set")
    assert not unfinished.exists()


def kill_me(job, path):
    """A work whose process is killed, as for want of memory."""
    os.kill(os.getpid(), signal.SIGKILL)


def test_a_killed_worker(tmp_path):
    folder = shards.start(tmp_path / "set", {"on_corrupt": "error"})
    jobs = [{"folder": str(folder), "file": str(n), "episodes": [0]} for n in range(2)]
    with pytest.raises(DataError, match="a worker was killed, perhaps for memory; run the same"):
        shards.run(jobs, kill_me, "tiny", {"workers": 2, "runner": "", "beam_options": ""})


def test_a_line_of_progress(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(shards, "PERIOD", 0.0)
    write(tmp_path / "tiny", episodes(2))
    assert run(tmp_path / "tiny", tmp_path / "set", TINY_SHARDS) == 0
    lines = [line for line in capsys.readouterr().err.splitlines() if "episodes/s" in line]
    assert lines[-1].startswith("tiny: 4 of 4 episodes, 0 MB, ")
    assert lines[-1].endswith("MB/s, 0 s left")


def test_verify_names_what_is_damaged(tmp_path, capsys):
    write(tmp_path / "tiny", episodes(3))
    folder = tmp_path / "set"
    assert run(tmp_path / "tiny", folder, TINY_SHARDS) == 0
    assert run("anything", folder, "--verify") == 0
    capsys.readouterr()
    _, shard, gone, *_ = sorted(folder.glob("*.array_record"))
    table = folder / "table/action.npy"
    for file in (shard, table):
        stored = bytearray(file.read_bytes())
        stored[len(stored) // 2] ^= 1
        file.write_bytes(stored)
    gone.unlink()
    assert run("anything", folder, "--verify") == 1
    said = capsys.readouterr()
    assert sorted(said.out.splitlines()) == sorted(
        [f"{path}: damaged, its checksum is another" for path in (shard, table)]
        + [f"{gone}: missing"]
    )
    assert "3 files are damaged" in said.err


def test_finished_before(tmp_path, capsys):
    write(tmp_path / "tiny", episodes(2))
    assert run(tmp_path / "tiny", tmp_path / "set") == 0
    before = tree(tmp_path / "set")
    capsys.readouterr()
    assert run(tmp_path / "tiny", tmp_path / "set") == 0
    assert "finished before" in capsys.readouterr().out
    assert tree(tmp_path / "set") == before
    assert run(tmp_path / "tiny", tmp_path / "set", "--image_size=8") == 1
    assert "made with image_size=0, now 8; give the same options or choose" in error(capsys)


WRONG = {
    "no such folder": (["nothing", "set"], "nothing: no such folder"),
    "no set": (["empty", "set"], "empty: not a TFDS version folder"),
    "full dst": (["tiny", "full"], "full: exists and is no conversion"),
    "remote dst": (["tiny", "gs://bucket/set"], "conversions write to folders"),
    "nothing to verify": (["tiny", "set", "--verify"], "set: no finished conversion"),
    "image_size": (["tiny", "set", "--image_size=-1"], "allowed are numbers from 0"),
    "workers": (["tiny", "set", "--workers=0"], "--workers=0; allowed are numbers from 1"),
    "key": (["tiny", "set", "--image_key=imag"], "did you mean"),
    "split": (["tiny", "set", "--split=val"], "split val"),
    "local name": (["./berkeley_mvp", "set", "--root=."], "berkeley_mvp: no such folder"),
}


@pytest.mark.parametrize("case", WRONG)
def test_mistakes_are_told_in_one_line(tmp_path, monkeypatch, capsys, case):
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "tiny", episodes(2))
    (tmp_path / "empty").mkdir()
    (tmp_path / "full").mkdir()
    (tmp_path / "full/a.txt").write_text("mine")
    (src, dst, *options), words = WRONG[case]
    assert run(src, dst, *options) == 1
    assert words in error(capsys)
    assert sorted(os.listdir(tmp_path)) == ["empty", "full", "tiny"]


def test_options_of_the_other_kind_are_refused(tmp_path, capsys):
    with pytest.raises(SystemExit):
        run(tmp_path, tmp_path / "set", "--hz=3")
    assert "unrecognized arguments: --hz=3" in capsys.readouterr().err


def test_without_beam_its_package_is_named(tmp_path, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "apache_beam", None)
    write(tmp_path / "tiny", episodes(2))
    assert run(tmp_path / "tiny", tmp_path / "set", "--runner=DirectRunner") == 1
    assert "--runner needs Apache Beam: pip install '.[beam]'" in error(capsys)


def test_beam_makes_the_same(tmp_path):
    pytest.importorskip("apache_beam", reason="Apache Beam is not installed")
    write(tmp_path / "tiny", episodes(3), storage="tfrecord")
    assert run(tmp_path / "tiny", tmp_path / "a", TINY_SHARDS) == 0
    assert run(tmp_path / "tiny", tmp_path / "b", TINY_SHARDS, "--runner=DirectRunner") == 0
    assert tree(tmp_path / "a") == tree(tmp_path / "b")


def test_conversion_imports_neither_tensorflow_nor_jax(tmp_path):
    write(tmp_path / "tiny", episodes(2), storage="tfrecord")
    program = (
        "import sys; from input_pipeline import convert;"
        f"convert.main([{str(tmp_path / 'tiny')!r}, {str(tmp_path / 'set')!r}, '--image_size=8']);"
        "print({'tensorflow', 'jax'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True)
    assert done.stdout.splitlines()[-1] == "set()", done.stderr


def test_from_videos_to_a_training_step(real_data, tmp_path):
    """Videos -> RLDS -> a record a frame -> training; batches are the same from both sets."""
    rlds_set, frames_set = tmp_path / "rlds", tmp_path / "frames"
    assert run(real_data / "rt1_clips", rlds_set, "--to=tfds", "--hz=3") == 0
    assert run(rlds_set, frames_set) == 0
    changes = {"data.gap": 0, "data.gap_seconds": 0.6, "data.backend": "random"}
    changes |= {"data.val_fraction": 0.3, "data.data_dir": str(tmp_path), "total_steps": 2}
    configs = [config_of(folder, **changes) for folder in (rlds_set, frames_set)]
    loaders = [input_pipeline.make(config.data, 4) for config in configs]
    for _ in range(3):
        one, other = map(next, loaders)
        assert one["dt"].tolist() == pytest.approx([2 / 3] * 4)
        for key in one:
            np.testing.assert_array_equal(one[key], other[key], err_msg=key)
    train.train_and_evaluate(configs[1], tmp_path / "run")
    rows = [json.loads(row) for row in (tmp_path / "run/metrics.jsonl").read_text().splitlines()]
    assert len(rows) == 2
    assert all(np.isfinite(row["loss"]) for row in rows)

"""Folders of videos or of frames become RLDS sets that TFDS opens; mistakes take one line."""

import io
import json
import logging
import os
import shutil
import sys

import av
import numpy as np
import pytest
import simplejpeg
import tensorflow_datasets as tfds
from PIL import Image

from input_pipeline import convert, encode, videos


def run(src, dst, *options):
    """Exit status of the command with --to=tfds, in this process."""
    return convert.main([str(src), str(dst), "--to=tfds", "--workers=1", *options])


def episodes(src, dst, *options):
    """{file_path: episode} of a set made from `src`, as TFDS reads it, steps as a list."""
    assert run(src, dst, "--file_format=array_record", *options) == 0
    builder = tfds.builder_from_directory(str(dst))
    found = {}
    for episode in builder.as_data_source("train"):
        metadata = episode["episode_metadata"]
        found[metadata.pop("file_path").decode()] = metadata | {"steps": list(episode["steps"])}
    return found


def images(episode):
    return [step["observation"]["image"] for step in episode["steps"]]


def texts(episode):
    return {step["language_instruction"].decode() for step in episode["steps"]}


def decoded(path):
    """All frames of a video by PyAV alone: list of uint8 [H,W,3]."""
    with av.open(str(path)) as container:
        return [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]


def psnr(one, other):
    error = np.mean((one.astype(np.float64) - other) ** 2)
    return np.inf if error == 0 else 10 * np.log10(255**2 / error)


def picture(value, size=(16, 12), suffix="png"):
    """The bytes of a picture (W, H) of one colour."""
    stream = io.BytesIO()
    Image.new("RGB", size, (value, 20, 30)).save(stream, suffix)
    return stream.getvalue()


def video(path, frames=6, size=(32, 16), rate=10, codec="mpeg4"):
    """Writes a small video whose frames grow brighter."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=rate)
        stream.width, stream.height = size
        stream.pix_fmt = "rgb8" if codec == "gif" else "yuv420p"
        for t in range(frames):
            image_HWC = np.full((size[1], size[0], 3), 10 * t, np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image_HWC, format="rgb24")))
        container.mux(stream.encode(None))
    return path


def test_tfds_reads_what_was_written(real_data, tmp_path):
    """The default format, with TensorFlow, as any other user would."""
    assert run(real_data / "rt1_clips", tmp_path / "set", "--hz=3") == 0
    builder = tfds.builder_from_directory(str(tmp_path / "set"))
    assert builder.info.name == "rt1_clips"
    assert builder.info.splits["train"].num_examples == 6
    assert builder.info.features["steps"]["observation"]["image"].shape == (256, 320, 3)
    captions = json.loads((real_data / "rt1_clips/lang_annotations.json").read_text())
    seen = set()
    for episode in builder.as_dataset(split="train"):
        steps = list(tfds.as_numpy(episode["steps"]))
        name = episode["episode_metadata"]["file_path"].numpy().decode()
        truth = decoded(real_data / "rt1_clips" / name)
        seen.add(name)
        assert len(steps) == len(truth)
        assert episode["episode_metadata"]["control_hz"].numpy() == 3
        assert [bool(s["is_first"]) for s in steps] == [True] + [False] * (len(steps) - 1)
        assert [bool(s["is_last"]) for s in steps] == [False] * (len(steps) - 1) + [True]
        assert {s["language_instruction"].decode() for s in steps} == {captions[name]}
        assert min(map(psnr, (s["observation"]["image"] for s in steps), truth)) > 35
    assert seen == captions.keys()


@pytest.mark.parametrize(
    ("folder", "every", "hz"),
    [("bridge_clips", 1, 5.0), ("calvin_clips", 3, 20.0), ("human_clips", 10, 19.62)],
)
def test_frames_are_those_of_the_video(real_data, tmp_path, folder, every, hz):
    found = episodes(real_data / folder, tmp_path / "set", f"--every={every}")
    assert found.keys() == {path.name for path in (real_data / folder).glob("*.mp4")}
    worst = np.inf
    for name, episode in found.items():
        truth = decoded(real_data / folder / name)[::every]
        assert len(episode["steps"]) == len(truth)
        assert episode["control_hz"] == pytest.approx(hz / every)
        worst = min(worst, *map(psnr, images(episode), truth))
    assert worst > 35


def test_sizes_shrink_and_never_grow(real_data, tmp_path):
    small = episodes(real_data / "bridge_clips", tmp_path / "a", "--image_size=120", "--every=9")
    (episode,) = small.values()
    assert {image.shape for image in images(episode)} == {(120, 160, 3)}
    area = np.array(Image.fromarray(decoded(real_data / "bridge_clips/bridge_real_1.mp4")[0]))
    area = area.reshape(120, 4, 160, 4, 3).mean((1, 3))
    assert psnr(images(episode)[0], area) > 35
    same = episodes(video(tmp_path / "v/a.mp4").parent, tmp_path / "b", "--image_size=120")
    assert images(same["a.mp4"])[0].shape == (16, 32, 3)


def test_episodes_of_several_sizes(tmp_path):
    video(tmp_path / "v/a.mp4")
    video(tmp_path / "v/b.mp4", size=(48, 32))
    found = episodes(tmp_path / "v", tmp_path / "set")
    assert images(found["a.mp4"])[0].shape == (16, 32, 3)
    assert images(found["b.mp4"])[0].shape == (32, 48, 3)
    info = tfds.builder_from_directory(str(tmp_path / "set")).info
    assert info.features["steps"]["observation"]["image"].shape == (None, None, 3)


def test_any_container_nested_folders_captions_and_scenes(tmp_path):
    """mp4, webm, gif; captions by name, by stem, from a file; pictures beside videos are none."""
    video(tmp_path / "v/kitchen_1/10.mp4", frames=3)
    video(tmp_path / "v/kitchen_1/9.webm", frames=4, codec="libvpx")
    video(tmp_path / "v/kitchen_2/deep/one.gif", frames=5, codec="gif")
    (tmp_path / "v/kitchen_1/thumb.png").write_bytes(picture(1))
    (tmp_path / "v/.hidden.mp4").write_bytes(b"nothing")
    (tmp_path / "v/kitchen_1/lang_annotations.json").write_text(json.dumps({"10": "lift"}))
    found = episodes(tmp_path / "v", tmp_path / "a", r"--scene_from=kitchen_\d", "--hz=4")
    steps = {name: len(episode["steps"]) for name, episode in found.items()}
    assert steps == {"kitchen_1/10.mp4": 3, "kitchen_1/9.webm": 4, "kitchen_2/deep/one.gif": 5}
    assert [found[name]["scene"].decode() for name in steps] == [name[:9] for name in steps]
    assert {found[name]["control_hz"] for name in steps} == {4}
    assert texts(found["kitchen_1/10.mp4"]) == {"lift"}
    assert texts(found["kitchen_1/9.webm"]) == {""}
    captions = tmp_path / "mine.json"
    captions.write_text(json.dumps({"kitchen_1/9.webm": "push", "one.gif": "pull"}))
    found = episodes(
        tmp_path / "v", tmp_path / "b", f"--captions={captions}", r"--scene_from=_(\d)/"
    )
    assert {name: texts(found[name]) for name in found} == {
        "kitchen_1/10.mp4": {""}, "kitchen_1/9.webm": {"push"}, "kitchen_2/deep/one.gif": {"pull"}
    }  # fmt: skip
    assert found["kitchen_2/deep/one.gif"]["scene"] == b"2"
    parents = episodes(tmp_path / "v", tmp_path / "c", "--scene_from=parent")
    assert parents["kitchen_2/deep/one.gif"]["scene"] == b"deep"


def test_folders_of_frames(real_data, tmp_path, caplog):
    """Natural order; an RGB JPEG is kept to the byte; the frequency is unknown."""
    shutil.copytree(real_data / "motion/sintel_frames", tmp_path / "v/sintel")
    (tmp_path / "v/number").mkdir()
    for t in (0, 1, 2, 10, 11):
        (tmp_path / f"v/number/frame_{t}.jpg").write_bytes(picture(10 * t, suffix="jpeg"))
    with caplog.at_level(logging.WARNING, "input_pipeline"):
        found = episodes(tmp_path / "v", tmp_path / "set")
    assert "without --hz" in caplog.text
    assert np.isnan(found["number"]["control_hz"])
    assert [round(image.mean((0, 1))[0], -1) for image in images(found["number"])] == [
        0, 10, 20, 100, 110
    ]  # fmt: skip
    stored = [jpeg for jpeg, _ in encode.jpegs(tmp_path / "v/number")]
    assert stored[3] == (tmp_path / "v/number/frame_10.jpg").read_bytes()
    truth = [np.asarray(Image.open(p)) for p in sorted((tmp_path / "v/sintel").iterdir())]
    assert min(map(psnr, images(found["sintel"]), truth)) > 35


def test_pictures_of_other_kinds(tmp_path):
    """Grey, transparent, palette, turned by EXIF: all upright RGB JPEGs."""
    grey = Image.fromarray(np.arange(192, dtype=np.uint8).reshape(12, 16))
    folder = tmp_path / "v"
    folder.mkdir()
    grey.save(folder / "1.jpg", quality=100)
    grey.convert("RGBA").save(folder / "2.png")
    grey.convert("P").save(folder / "3.png")
    exif = Image.Exif()
    exif[encode.ORIENTATION] = 6
    turned = grey.convert("RGB").transpose(Image.Transpose.ROTATE_90)
    turned.save(folder / "4.jpg", quality=100, exif=exif)
    for jpeg, size in encode.jpegs(folder):
        assert size == (12, 16)
        assert simplejpeg.decode_jpeg_header(jpeg)[:3] == (12, 16, "YCbCr")
        assert psnr(simplejpeg.decode_jpeg(jpeg), np.asarray(grey)[..., None]) > 35


def test_upright_and_best_stream(real_data, tmp_path):
    """A display matrix turns the frames; of several streams it is the one that players show."""
    path = video(tmp_path / "v/a.mp4")
    stored = bytearray(path.read_bytes())
    matrix = stored.index(b"tkhd") + 44
    turn = [0, 1 << 16, 0, -(1 << 16), 0, 0, 0, 0, 1 << 30]  # to be turned clockwise
    stored[matrix : matrix + 36] = b"".join(v.to_bytes(4, "big", signed=True) for v in turn)
    path.write_bytes(stored)
    (plain,), (turned,) = decoded(path)[:1], list(encode.frames(path))[:1]
    np.testing.assert_array_equal(turned, np.rot90(plain, -1))
    found = episodes(real_data / "motion/nasa_13013.mp4", tmp_path / "set", "--every=60")
    assert found.keys() == {"nasa_13013.mp4"}
    with av.open(str(real_data / "motion/nasa_13013.mp4")) as container:
        best = max(container.streams.video, key=lambda stream: stream.width)
        assert len(container.streams.video) > 1
    assert images(found["nasa_13013.mp4"])[0].shape == (best.height, best.width, 3)
    assert len(found["nasa_13013.mp4"]["steps"]) == -(-best.frames // 60)


def test_long_videos_are_cut(tmp_path):
    """The pieces have one label up to "#", so that splits keep them together."""
    video(tmp_path / "v/a.mp4", frames=7)
    video(tmp_path / "v/b.mp4", frames=6)
    found = episodes(tmp_path / "v", tmp_path / "set", "--max_steps=3")
    steps = {name: len(episode["steps"]) for name, episode in sorted(found.items())}
    assert steps == {
        "a.mp4#00000": 3, "a.mp4#00001": 3, "a.mp4#00002": 1, "b.mp4#00000": 3, "b.mp4#00001": 3
    }  # fmt: skip
    levels = [image.mean() for name in sorted(found)[:3] for image in images(found[name])]
    assert levels == sorted(levels)


def test_the_rate_of_playing_is_doubted(tmp_path, caplog):
    video(tmp_path / "v/a.mp4", frames=6, rate=30)
    with caplog.at_level(logging.WARNING, "input_pipeline"):
        run(tmp_path / "v", tmp_path / "set")
        assert "30 frames a second" in caplog.text
        caplog.clear()
        run(tmp_path / "v", tmp_path / "other", "--hz=3")
        assert "frames a second" not in caplog.text


def test_names(tmp_path):
    path = video(tmp_path / "My clips 2/a.mp4").parent
    for dst, options, name, version in [
        ("x", [], "my_clips_2", "1.0.0"),
        ("robot_set/2.1.0", [], "robot_set", "2.1.0"),
        ("z", ["--name=Robot"], "Robot", "1.0.0"),
    ]:
        assert run(path, tmp_path / dst, *options) == 0
        info = tfds.builder_from_directory(str(tmp_path / dst)).info
        assert (info.name, str(info.version)) == (name, version)


def test_shards_hold_everything_once(tmp_path):
    for number in range(12):
        video(tmp_path / f"v/{number}.mp4", frames=2)
    found = episodes(tmp_path / "v", tmp_path / "set", "--shard_mb=0.02")
    assert len(list((tmp_path / "set").glob("*.array_record*"))) > 3
    assert len(found) == 12


def test_damaged_videos(real_data, tmp_path, capsys):
    """An error names the file; with --on_corrupt=skip they are counted, and the rest is kept."""
    (tmp_path / "v").mkdir()
    whole = real_data / "human_clips/v_GGSY1Qvo990.mp4"
    (tmp_path / "v/cut.mp4").write_bytes(whole.read_bytes()[:500000])  # in the sound
    (tmp_path / "v/cut_2.mp4").write_bytes(whole.read_bytes()[:300000])  # in a frame
    (tmp_path / "v/empty.mp4").write_bytes(b"")
    (tmp_path / "v/text.mkv").write_bytes(b"no video at all\n" * 50)
    assert run(tmp_path / "v", tmp_path / "set") == 1
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert error.startswith(f"error: {tmp_path}/v/")
    assert "cannot be read" in error
    assert run(tmp_path / "v", tmp_path / "none", "--on_corrupt=skip") == 1
    assert "none of its 4 episodes" in capsys.readouterr().err
    video(tmp_path / "v/good.mp4")
    assert run(tmp_path / "v", tmp_path / "some", "--on_corrupt=skip") == 0
    said = capsys.readouterr().out
    assert "4 unreadable" in said
    assert all(f"left out: {tmp_path}/v/{name}" in said for name in ("cut.mp4", "empty.mp4"))
    assert (
        tfds.builder_from_directory(str(tmp_path / "some")).info.splits["train"].num_examples == 1
    )


def test_a_video_without_pictures_and_frames_of_two_sizes(tmp_path, capsys):
    (tmp_path / "a").mkdir()
    with av.open(str(tmp_path / "a/sound.mp4"), "w") as container:
        stream = container.add_stream("aac", rate=8000)
        sound = np.zeros((1, 8000), np.float32)
        frame = av.AudioFrame.from_ndarray(sound, format="fltp", layout="mono")
        frame.sample_rate = 8000
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    assert run(tmp_path / "a", tmp_path / "set") == 1
    assert "there is no video in it" in capsys.readouterr().err
    (tmp_path / "b").mkdir()
    (tmp_path / "b/0.png").write_bytes(picture(1))
    assert episodes(tmp_path / "b", tmp_path / "itself").keys() == {"b"}
    for t in range(2):
        (tmp_path / f"b/{t}.png").write_bytes(picture(t, size=(16 + t, 12)))
    assert run(tmp_path / "b", tmp_path / "set2") == 1
    assert "frames of (12, 16) and of (12, 17) pixels" in capsys.readouterr().err


def test_an_episode_beyond_two_gigabytes(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(videos, "LARGEST", 2000)
    assert run(video(tmp_path / "v/a.mp4", frames=20).parent, tmp_path / "set") == 1
    assert "over 2 GiB; set --max_steps" in capsys.readouterr().err
    assert run(tmp_path / "v", tmp_path / "cut", "--max_steps=2") == 0


def test_finished_and_other_folders(tmp_path, capsys):
    """The same command again says so; other options, or a changed source, are refused."""
    video(tmp_path / "v/a.mp4")
    assert run(tmp_path / "v", tmp_path / "set") == 0
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "set").iterdir()}
    capsys.readouterr()
    assert run(tmp_path / "v", tmp_path / "set") == 0
    assert "finished before" in capsys.readouterr().out
    assert before == {path: path.stat().st_mtime_ns for path in (tmp_path / "set").iterdir()}
    assert run(tmp_path / "v", tmp_path / "set", "--quality=80") == 1
    assert "made with quality=95, now 80" in capsys.readouterr().err
    video(tmp_path / "v/b.mp4")
    assert run(tmp_path / "v", tmp_path / "set") == 1
    assert "episodes" in capsys.readouterr().err
    assert sorted(os.listdir(tmp_path)) == ["set", "v"]


def test_without_pyav_its_package_is_named(tmp_path, capsys, monkeypatch):
    video(tmp_path / "v/a.mp4")
    monkeypatch.setitem(sys.modules, "av", None)
    assert run(tmp_path / "v", tmp_path / "set") == 1
    assert "needs PyAV: pip install '.[video]'" in capsys.readouterr().err


WRONG = {
    "no such folder": (["nothing", "set"], "nothing: no such folder"),
    "empty": (["empty", "set"], "empty: neither videos nor folders of pictures"),
    "no videos": (["papers", "set"], "papers: neither videos nor"),
    "a file": (["papers/a.txt", "set"], "no video by its name"),
    "full dst": (["v", "papers"], "papers: exists and is no conversion"),
    "dst is a file": (["v", "papers/a.txt"], "exists and is no conversion"),
    "remote": (["v", "gs://bucket/set"], "conversions write to folders"),
    "captions gone": (["v", "set", "--captions=x.json"], "x.json: no captions"),
    "captions no json": (["v", "set", "--captions=papers/a.txt"], "a.txt: no captions"),
    "captions a list": (["v", "set", "--captions=papers/list.json"], "one json object"),
    "captions of others": (["v", "set", "--captions=papers/other.json"], "such as a.mp4"),
    "scene": (["v", "set", "--scene_from=room_(.)"], "matches nothing in a.mp4"),
    "no regex": (["v", "set", "--scene_from=("], "no regular expression"),
    "every": (["v", "set", "--every=0"], "--every=0; allowed are numbers from 1"),
    "quality": (["v", "set", "--quality=101"], "allowed are 1 to 100"),
    "name": (["v", "set", "--name=a b"], "--name=a b; allowed are letters"),
}


@pytest.mark.parametrize("case", WRONG)
def test_mistakes_are_told_in_one_line(tmp_path, monkeypatch, capsys, case):
    monkeypatch.chdir(tmp_path)
    video(tmp_path / "v/a.mp4")
    for folder in ("empty", "papers"):
        (tmp_path / folder).mkdir()
    (tmp_path / "papers/a.txt").write_text("{")
    (tmp_path / "papers/list.json").write_text("[1]")
    (tmp_path / "papers/other.json").write_text('{"x.mp4": "lift"}')
    (src, dst, *options), words = WRONG[case]
    assert run(src, dst, *options) == 1
    told = capsys.readouterr().err.strip().splitlines()
    assert words in told[-1]
    assert len([line for line in told if "error" in line]) == 1
    assert not (tmp_path / "set").exists()

"""Work cut into shards: each is written under a temporary name, renamed, and noted in a json file.

A conversion to DST happens in `.DST.unfinished` beside it. Its folder `notes` says what is made of
what, and of every finished shard the counts and the checksum, so that a killed run goes on at the
first shard without a note. At the end the folder is renamed to DST, whole.
A job is a dict that can be pickled: "folder", "file" (name of the shard), "episodes" (a list), and
whatever its work needs. A work is an importable function (job, path) -> counts, a dict for json.
"""

import concurrent.futures
import functools
import hashlib
import json
import math
import multiprocessing
import os
import shlex
import shutil
import signal
import struct
import sys
import time
import uuid
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path

from input_pipeline.errors import DataError

MANIFESTS = ("frames.json", "conversion.json")  # written last; name the shards and their checksums
NOTES, PLAN = "notes", "plan.json"
HOW = ("workers", "runner", "beam_options")  # options that do not change what is written
PERIOD = 2.0  # seconds between two lines of progress
_done = None  # episodes and bytes of all workers, shared between their processes


def check(options, **lowest):
    """DataError for a number that makes no sense; lowest: {option: least} besides the common."""
    lowest |= {"image_size": 0, "quality": 1, "workers": 1, "shard_mb": 1e-3}
    for option, least in lowest.items():
        if not least <= options[option] < math.inf:
            raise DataError(f"--{option}={options[option]}; allowed are numbers from {least:g}")
    if options["quality"] > 100:
        raise DataError(f"--quality={options['quality']}; allowed are 1 to 100")


def start(dst, options):
    """The folder to work in, or None where `dst` is finished and was made by the same options.

    options: {name: value} of everything that decides what is written. DataError where dst, or an
    unfinished conversion to it, is something else.
    """
    dst = absolute(dst)
    made = _manifest(dst)
    if made:
        _check_same(dst, made["options"], options, "choose another folder")
        shutil.rmtree(dst / NOTES, ignore_errors=True)  # of a run killed at its very end
        return None
    if dst.exists() and not (dst.is_dir() and not any(dst.iterdir())):
        raise DataError(f"{dst}: exists and is no conversion; choose another folder or remove it")
    folder = dst.with_name(f".{dst.name}.unfinished")
    plan = folder / NOTES / PLAN
    if plan.is_file():
        before = json.loads(plan.read_text())
        if before["on_corrupt"] == "error":  # then nothing was skipped in what is there
            before["on_corrupt"] = options["on_corrupt"]
        _check_same(folder, before, options, "remove it to start again")
    try:
        (folder / NOTES).mkdir(parents=True, exist_ok=True)
        write_json(plan, options)
    except OSError as error:
        raise DataError(f"{dst}: cannot be written ({error.strerror}); choose another") from error
    return folder


def run(jobs, work, label, options):
    """The note of every job, in order; jobs that have one already are not done again.

    options: those of HOW; processes of this machine, or a runner of Apache Beam.
    """
    waiting = [job for job in jobs if not _note(job).is_file()]
    if len(waiting) < len(jobs):
        _say(f"{label}: {len(jobs) - len(waiting)} of {len(jobs)} shards are there already")
    if options["runner"]:
        _beam(waiting, work, options["runner"], options["beam_options"])
    elif waiting:
        _pool(waiting, work, label, min(options["workers"], len(waiting)))
    return [json.loads(_note(job).read_text()) for job in jobs]


def finish(folder, dst, manifest, content):
    """Writes the manifest, renames `folder` to `dst` and clears away what it no longer needs.

    content: has "options" (see `start`) and "shards" (list of file, bytes, sha256, ...).
    """
    made = {shard["file"] for shard in content["shards"]}
    rest = [path for path in sorted(folder.rglob("*")) if path.is_file()]
    rest = {path.relative_to(folder).as_posix(): path for path in rest}
    others = {
        name: _digest(path)
        for name, path in rest.items()
        if name not in made and name != manifest and not name.startswith(f"{NOTES}/")
    }
    write_json(folder / NOTES / manifest, content | {"others": others})
    os.replace(folder / NOTES / manifest, folder / manifest)
    os.replace(folder, absolute(dst))
    shutil.rmtree(absolute(dst) / NOTES)


def verify(dst):
    """Yields a line for every damaged file of a finished conversion, by its checksum."""
    dst = absolute(dst)
    made = _manifest(dst)
    if not made:
        raise DataError(f"{dst}: no finished conversion, looked for {' and '.join(MANIFESTS)}")
    digests = {shard["file"]: shard["sha256"] for shard in made["shards"]} | made["others"]
    told = time.monotonic()
    for number, (file, digest) in enumerate(digests.items()):
        if not (dst / file).is_file():
            yield f"{dst / file}: missing"
        elif _digest(dst / file) != digest:
            yield f"{dst / file}: damaged, its checksum is another"
        if time.monotonic() - told > PERIOD:
            told = time.monotonic()
            _say(f"verify: {number + 1} of {len(digests)} files")


def count(episodes, size):
    """To be called by a work as it goes: moves the line of progress on."""
    if _done is not None:
        with _done.get_lock():
            _done[0] += episodes
            _done[1] += size


def one(work, job):
    """Does one job, whole or not at all, and returns its note."""
    path = Path(job["folder"], job["file"])
    unfinished = Path(job["folder"], NOTES, f"{job['file']}.{uuid.uuid4().hex}")
    try:
        counts = work(job, str(unfinished))
        size, digest = unfinished.stat().st_size, _digest(unfinished)
        note = {"file": job["file"], "bytes": size, "sha256": digest, **counts}
        os.replace(unfinished, path)
        write_json(_note(job), note)
    except (OSError, RuntimeError) as error:  # RuntimeError: of ArrayRecord, for a full disk
        raise DataError(f"{path}: cannot be written ({error}); run the command again") from error
    finally:
        unfinished.unlink(missing_ok=True)
    return note


def masked_crc(data):
    """The checksum that TFRecord files hold, as its 4 bytes."""
    import google_crc32c

    crc = google_crc32c.value(data)
    return struct.pack("<I", ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF)


def write_json(path, content):
    """Writes a json file, whole or not at all."""
    unfinished = path.with_name(f"{path.name}.{uuid.uuid4().hex}")
    unfinished.write_text(json.dumps(content, indent=1))
    os.replace(unfinished, path)


def absolute(path):
    """The path without ~, as a pathlib.Path; DataError for an address of a remote store."""
    if "://" in str(path):
        raise DataError(f"{path}: conversions write to folders; give one, or a mounted disk")
    return Path(os.path.abspath(Path(path).expanduser()))


def _pool(jobs, work, label, workers):
    """Does the jobs in `workers` processes, or in a thread of this one where that is 1."""
    context = multiprocessing.get_context("spawn")
    done = context.Array("q", 2)
    if workers > 1:
        pool = concurrent.futures.ProcessPoolExecutor(workers, context, _start_worker, (done,))
    else:
        _share(done)
        pool = concurrent.futures.ThreadPoolExecutor(1)
    total, began = sum(len(job["episodes"]) for job in jobs), time.monotonic()
    told = began
    try:
        waiting = {pool.submit(one, work, job) for job in jobs}
        while waiting:
            ready, waiting = concurrent.futures.wait(waiting, PERIOD, "FIRST_COMPLETED")
            for future in ready:
                future.result()
            if time.monotonic() - told > PERIOD:
                told = time.monotonic()
                _say(f"{label}: {_progress(done, total, told - began)}")
    except BrokenProcessPool as error:
        raise DataError(
            "a worker was killed, perhaps for memory; run the same command again with fewer "
            "--workers, it goes on where it stopped"
        ) from error
    finally:
        pool.shutdown(cancel_futures=True)


def _start_worker(done):
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C: each ends its shard, and no more follow
    _share(done)


def _share(done):
    global _done
    _done = done


def _progress(done, total, seconds):
    episodes, size = done[0], done[1]
    left = f", {(total - episodes) * seconds / episodes:.0f} s left" if episodes else ""
    return (
        f"{episodes} of {total} episodes, {size / 1e6:.0f} MB, "
        f"{episodes / seconds:.1f} episodes/s, {size / seconds / 1e6:.0f} MB/s{left}"
    )


def _beam(jobs, work, runner, options):
    """Does the jobs on Apache Beam, whose workers need source and folder at the same paths."""
    try:
        import apache_beam as beam
    except ImportError as error:
        raise DataError("--runner needs Apache Beam: pip install '.[beam]'") from error
    from apache_beam.options.pipeline_options import PipelineOptions

    try:
        with beam.Pipeline(runner, PipelineOptions(shlex.split(options))) as pipeline:
            shards = pipeline | beam.Create(jobs) | beam.Reshuffle()
            shards | beam.Map(functools.partial(one, work))
    except Exception as error:  # each runner has its own
        what = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise DataError(f"Apache Beam stopped: {what}") from error


def _note(job):
    return Path(job["folder"], NOTES, f"{job['file']}.json")


def _digest(path):
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _manifest(dst):
    """The content of a finished conversion's manifest, None where there is none."""
    found = [dst / name for name in MANIFESTS if (dst / name).is_file()]
    return json.loads(found[0].read_text()) if found else None


def _check_same(folder, before, now, advice):
    now = json.loads(json.dumps(now))
    names = [name for name in {**before, **now} if before.get(name) != now.get(name)]
    if names:
        what = ", ".join(f"{name}={before.get(name)}, now {now.get(name)}" for name in names)
        raise DataError(f"{folder}: made with {what}; give the same options or {advice}")


def _say(line):
    print(line, file=sys.stderr, flush=True)

"""Which episodes lie in a folder: videos, or folders of pictures, with their texts and scenes."""

import functools
import json
import logging
import os
import re
from pathlib import Path

from input_pipeline import encode
from input_pipeline.errors import DataError

CAPTIONS = "lang_annotations.json"
log = logging.getLogger(__name__)


def find(src):
    """The folder to start from and its episodes: [{"path" from there, "pictures", "bytes"}].

    pictures: whether it is a folder of them. In natural order; links are followed once. Pictures
    directly in `src` are an episode only where nothing else is.
    """
    root = Path(src).expanduser()
    if not root.exists():
        raise DataError(f"{root}: no such folder; give a folder of videos or of folders of frames")
    if root.is_file():
        if root.suffix.lower() not in encode.VIDEOS:
            raise DataError(f"{root}: no video by its name; give a folder or a video")
        return root.parent, [{"path": root.name, "pictures": False, "bytes": root.stat().st_size}]
    found, seen = [], set()
    for folder, below, files in os.walk(root, followlinks=True):
        real = os.path.realpath(folder)
        below[:] = [] if real in seen else [name for name in below if name[0] not in "._"]
        if real not in seen:
            found += _episodes_in(root, Path(folder), files)
        seen.add(real)
    if not found:
        raise DataError(
            f"{root}: neither videos nor folders of pictures in it; files count by their ends, "
            "such as .mp4, .webm, .gif, .png, .jpg"
        )
    if [episode["path"] for episode in found] == ["."]:  # a folder of frames itself
        return root.resolve().parent, [found[0] | {"path": root.resolve().name}]
    found = [episode for episode in found if episode["path"] != "."]
    return root, sorted(found, key=lambda episode: encode.natural(episode["path"]))


def _episodes_in(root, folder, files):
    """Those that lie directly in one folder; pictures beside videos are no episode."""
    videos = [name for name in files if Path(name).suffix.lower() in encode.VIDEOS]
    videos = [folder / name for name in videos if name[0] != "."]
    pictures = [] if videos else [folder / name for name in encode.pictures(folder)]
    found = [(path, [path]) for path in videos] + ([(folder, pictures)] if pictures else [])
    return [
        {
            "path": path.relative_to(root).as_posix(),
            "pictures": path == folder,
            "bytes": sum(file.stat().st_size for file in files),
        }
        for path, files in found
    ]


def add_texts(root, episodes, file):
    """Gives every episode its "text", from the file of captions or from the one beside it."""
    used = 0
    for episode in episodes:
        path = Path(episode["path"])
        captions = _captions(Path(file).expanduser() if file else root / path.parent / CAPTIONS)
        names = (path.as_posix(), path.with_suffix("").as_posix(), path.name, path.stem)
        texts = [captions[name] for name in names if name in captions]
        episode["text"] = texts[0] if texts else ""
        used += bool(texts)
    if file and not used:
        raise DataError(
            f"{file}: none of its keys is the name of an episode, such as {episodes[0]['path']}; "
            "they are file names, with or without their ends"
        )
    if used < len(episodes):
        log.warning("%d of %d episodes have no instruction", len(episodes) - used, len(episodes))


@functools.lru_cache(8)
def _captions(file):
    """{name: text} of a json file; nothing where the one that may lie beside videos does not."""
    if file.name == CAPTIONS and not file.exists():
        return {}
    try:
        captions = json.loads(file.read_text())
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or error
        raise DataError(f"{file}: no captions ({why}); give a json file {{name: text}}") from error
    if not isinstance(captions, dict) or not all(isinstance(t, str) for t in captions.values()):
        raise DataError(f"{file}: no captions; give one json object {{file name: text}}")
    return captions


def add_scenes(root, episodes, rule):
    """Gives every episode its "scene"; rule: "parent" (its folder) or a regular expression."""
    try:
        pattern = re.compile(rule)
    except re.error as error:
        raise DataError(f"--scene_from={rule}: no regular expression ({error})") from error
    for episode in episodes:
        path = Path(episode["path"])
        if rule == "parent":
            episode["scene"] = path.parent.name or root.resolve().name
        else:
            match = pattern.search(path.as_posix())
            if not match:
                raise DataError(f"--scene_from={rule} matches nothing in {path.as_posix()}")
            episode["scene"] = match[1] if pattern.groups else match[0]

"""Which flat key of an episode set is the image, the action, the state, ...: by rule or by option.

An option names a key by its full path or its end ("image_0", "observation/image_0"), "none" turns
action, state, language or scene off, "+" joins vectors ("world_vector+rotation_delta"), and commas
give every source its own ("image,image_0"; an empty place means by rule).
"""

import dataclasses
import difflib
import re

from input_pipeline.errors import DataError

OPTIONS = ("image_key", "action_key", "state_key", "language_key", "scene_key")
NOT_MAIN_CAMERA = re.compile(r"wrist|hand|grip|depth|mask|segment|goal|tactile|additional", re.I)
LANGUAGE = ("language_instruction", "natural_language_instruction", "instruction", "task")
SCENES = ("scene", "scene_id", "scene_name", "environment", "environment_id", "env_name")
SCENES += ("location", "location_name", "room", "house", "building", "lab")
EPISODES = ("file_path", "filepath", "recording_folderpath", "path", "episode_path", "episode_key")
RATES = ("control_hz", "control_frequency", "control_freq", "hz")


@dataclasses.dataclass(frozen=True)
class Keys:
    """Chosen flat keys: image, action and state (tuples, joined), the others one key or None."""

    image: str
    action: tuple
    state: tuple
    language: str | None
    scene: str | None
    episode: str | None
    rate: str | None


def options(data, index, count):
    """The five key options meant for source `index` of `count`: {option: text or ""}."""
    return {option: _own(option, data.get(option) or "", index, count) for option in OPTIONS}


def find(fields, chosen, name):
    """Keys of the set `name` from its {flat key: Field} and `options`; DataError if unclear."""
    steps = {key: field for key, field in fields.items() if key.startswith("steps/")}
    return Keys(
        image=_image(steps, chosen["image_key"], name),
        action=_vector(steps, chosen["action_key"], name, "action_key", ("action", "actions")),
        state=_vector(steps, chosen["state_key"], name, "state_key", ("state", "proprio")),
        language=_language(fields, chosen["language_key"], name),
        scene=_scene(fields, chosen["scene_key"], name),
        episode=_under_metadata(fields, EPISODES, ("text",)),
        rate=_under_metadata(fields, RATES, ("number",)),
    )


def _own(option, text, index, count):
    parts = [part.strip() for part in text.split(",")]
    if len(parts) == 1:
        return parts[0]
    if len(parts) != count:
        raise DataError(
            f"config.data.{option}={text} names {len(parts)} keys for {count} sources; "
            "give one for all of them or one for each"
        )
    return parts[index]


def _image(fields, text, name):
    images = _of_kind(fields, "image")
    if text:
        return _named(fields, text, name, "image_key", ("image",))
    if not images:
        raise DataError(
            f"{name}: no key holds 8-bit images; it has {_list(fields)}; use a set with images"
        )
    main = [key for key in images if not NOT_MAIN_CAMERA.search(key)] or images
    plain = [key for key in main if _end(key) == "image"]
    if len(main) == 1 or len(plain) == 1:
        return (plain or main)[0]
    if len({re.sub(r"\d+$", "", key) for key in main}) == 1:  # image_0 .. image_3
        return min(main, key=lambda key: (len(key), key))
    raise _unclear(name, "image", images, "image_key")


def _vector(fields, text, name, option, words):
    if text == "none":
        return ()
    if text:
        return tuple(
            _named(fields, part.strip(), name, option, ("number",)) for part in text.split("+")
        )
    prefix = "steps/" if option == "action_key" else "steps/observation/"
    found = [prefix + word for word in words if prefix + word in fields]
    if not found:
        found = [key for key in fields if any(key.startswith(f"{prefix}{w}/") for w in words)]
    if not found and option == "state_key":
        found = [
            key
            for key in _of_kind(fields, "number")
            if key.startswith(prefix)
            and re.search(r"state|proprio|robot_obs", _end(key))
            and fields[key].shape
        ]
    if len(found) > 1:
        raise _unclear(name, option[:-4], found, option, "+")
    if not found:
        return ()
    return (_supported(fields, found[0], name, option, ("number",)),)


def _language(fields, text, name):
    if text:
        return None if text == "none" else _named(fields, text, name, "language_key", ("text",))
    texts = [key for key in _of_kind(fields, "text") if _end(key) in LANGUAGE]
    if not texts:
        return None
    best = min(LANGUAGE.index(_end(key)) for key in texts)
    texts = [key for key in texts if _end(key) == LANGUAGE[best]]
    if len(texts) > 1:
        raise _unclear(name, "language", texts, "language_key")
    return texts[0]


def _scene(fields, text, name):
    if text:
        kinds = ("text", "number")
        return None if text == "none" else _named(fields, text, name, "scene_key", kinds)
    return _under_metadata(fields, SCENES, ("text", "number"))


def _under_metadata(fields, words, kinds):
    for word in words:
        key = f"episode_metadata/{word}"
        if key in fields and fields[key].kind in kinds and fields[key].shape == ():
            return key
    return None


def _named(fields, text, name, option, kinds):
    found = [key for key in fields if key == text] or [
        key for key in fields if f"/{key}".endswith(f"/{text}")
    ]
    if len(found) > 1:
        raise _unclear(name, f"config.data.{option}={text}", found, option)
    if found:
        return _supported(fields, found[0], name, option, kinds)
    right = [key for key in fields if fields[key].kind in kinds]
    ends = {_end(key): key for key in right}
    near = difflib.get_close_matches(text, [*right, *ends], cutoff=0.5)
    hint = f" (did you mean {near[0]}?)" if near else ""
    raise DataError(f"{name}: config.data.{option}={text} is no key{hint}; choose {_list(right)}")


def _supported(fields, key, name, option, kinds):
    kind = fields[key].kind
    if kind in kinds:
        return key
    right = [key for key in fields if fields[key].kind in kinds]
    raise DataError(
        f"{name}: {key} ({kind}) cannot serve as config.data.{option}, which needs "
        f"{' or '.join(kinds)}; choose {_list(right)}"
    )


def _unclear(name, what, found, option, joiner=""):
    join = " (or several, joined by +)" if joiner else ""
    return DataError(
        f"{name}: {what} is ambiguous, candidates are {_list(found)}; "
        f"set config.data.{option}={_end(found[0])} or another{join}"
    )


def _of_kind(fields, kind):
    return [key for key, field in fields.items() if field.kind == kind]


def _end(key):
    return key.rpartition("/")[2]


def _list(keys):
    short = [key.removeprefix("steps/") for key in sorted(keys)]
    return ", ".join(short) or "nothing (no such key)"

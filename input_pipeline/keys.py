"""Which flat key of an episode set is the image, the action, the state, ...: by option, by the
registry of known sets, or by rule, in this order.

An option names a key by its full path or its end ("image_0", "observation/image_0") or a camera by
its role in the registry ("wrist"), "none" turns action, state, language or scene off, "+" joins
vectors ("world_vector+rotation_delta"), and commas give every source its own ("image,image_0"; an
empty place means the registry or the rule).
"""

import dataclasses
import difflib
import logging
import re

from input_pipeline.errors import DataError

OPTIONS = ("image_key", "action_key", "state_key", "language_key", "scene_key")
NOT_MAIN_CAMERA = re.compile(r"wrist|hand|grip|depth|mask|segment|goal|tactile|additional", re.I)
LANGUAGE = ("language_instruction", "natural_language_instruction", "instruction", "task")
SCENES = ("scene", "scene_id", "scene_name", "environment", "environment_id", "env_name")
SCENES += ("location", "location_name", "room", "house", "building", "lab")
EPISODES = ("file_path", "filepath", "recording_folderpath", "path", "episode_path", "episode_key")
RATES = ("control_hz", "control_frequency", "control_freq", "hz")
log = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class Keys:
    """Chosen flat keys: image, action and state (tuples, joined), the others one key or None.

    success: only episodes where it is not zero count; skip_first: steps left out at the start of
    every episode; swap: the stored images have red and blue changed over; scene_pattern: what
    `scene_of` looks for in the scene's value.
    """

    image: str
    action: tuple
    state: tuple
    language: str | None
    scene: str | None
    episode: str | None
    rate: str | None
    success: str | None = None
    skip_first: int = 0
    swap: bool = False
    scene_pattern: str | None = None


def options(data, index, count):
    """The five key options meant for source `index` of `count`: {option: text or ""}."""
    return {option: own(option, data.get(option) or "", index, count) for option in OPTIONS}


def own(option, text, index, count):
    """The part of a text with commas that is meant for source `index` of `count`."""
    parts = [part.strip() for part in text.split(",")]
    if len(parts) == 1:
        return parts[0]
    if len(parts) != count:
        raise DataError(
            f"config.data.{option}={text} has {len(parts)} parts for {count} sources; "
            "give one for all of them or one for each"
        )
    return parts[index]


def find(fields, chosen, name, defaults=None, held=None):
    """Keys of the set `name` from its {flat key: Field} and `options`; DataError if unclear.

    defaults: what the registry says of the set (images {role: key}, action, state, language, scene
    (key, pattern), success, skip_first, swap), or None. held: the Keys that a converted set was
    made with; it has no others.
    """
    if held:
        return _held(held, chosen, name, defaults)
    steps = {key: field for key, field in fields.items() if key.startswith("steps/")}
    image = _image(steps, chosen["image_key"], name, defaults)
    scene, pattern = _scene(fields, chosen["scene_key"], name, defaults)
    success = _registered(fields, defaults, "success", name, ("number",))
    wrong_colours = defaults.swap if defaults else ()
    return Keys(
        image=image,
        action=_vector(steps, chosen["action_key"], name, "action", defaults),
        state=_vector(steps, chosen["state_key"], name, "state", defaults),
        language=_language(fields, chosen["language_key"], name, defaults),
        scene=scene,
        episode=_under_metadata(fields, EPISODES, ("text",)),
        rate=_under_metadata(fields, RATES, ("number",)),
        success=success[0] if success else None,
        skip_first=defaults.skip_first if defaults else 0,
        swap=any(_ends(image, key) for key in wrong_colours),
        scene_pattern=pattern,
    )


def scene_of(value, pattern):
    """The scene that `value`, the text under the scene key, names.

    Without a pattern it is the value. With one it is what the pattern's groups (or all of it)
    match, joined by "/"; the parent folder, or the value, where it does not match.
    """
    if pattern is None:
        return value
    match = re.search(pattern, value)
    if match is None:
        return value.rpartition("/")[0] or value
    return "/".join(group for group in match.groups() if group) or match[0]


def _held(held, chosen, name, defaults):
    """The keys of a converted set, without those that are turned off."""
    off = {}
    for option in OPTIONS:
        text, part = chosen[option], option.removesuffix("_key")
        holds = getattr(held, part)
        if text == "none" and part != "image":
            off[part] = () if isinstance(holds, tuple) else None
        elif text:
            have = holds if isinstance(holds, tuple) else (holds,) if holds else ()
            wanted = [_camera(one.strip(), defaults) for one in text.split("+")]
            if len(wanted) != len(have) or not all(map(_ends, have, wanted)):
                raise DataError(
                    f"{name}: config.data.{option}={text}, but the set was converted with "
                    f"{_list(have)}; leave the option out or convert the set again with it"
                )
    return dataclasses.replace(held, **off)


def _registered(fields, defaults, what, name, kinds):
    """The registry's keys for `what` as the set calls them (a tuple), None if it names none or,
    with a warning, if one is not there: copies of sets differ."""
    wanted = getattr(defaults, what) if defaults else None
    if what == "images":
        wanted = next(iter(wanted.values()), None) if wanted else None
    elif what == "scene" and wanted:
        wanted = wanted[0]
    if wanted is None:
        return None
    wanted = (wanted,) if isinstance(wanted, str) else tuple(wanted)
    found = [
        [key for key, field in fields.items() if _ends(key, one) and field.kind in kinds]
        for one in wanted
    ]
    lacking = [one for one, keys in zip(wanted, found, strict=True) if not keys]
    if lacking:
        words = "%s: this copy has no readable %s, the registry's key for %s; it is left out"
        log.warning(words, name, ", ".join(lacking), what)
        return None
    return tuple(min(keys, key=len) for keys in found)


def _camera(text, defaults):
    """A key for a camera's role in the registry; the text itself where it is none."""
    return defaults.images.get(text, text) if defaults else text


def _image(fields, text, name, defaults):
    if text:
        return _named(fields, _camera(text, defaults), name, "image_key", ("image",))
    known = _registered(fields, defaults, "images", name, ("image",))
    if known:
        return known[0]
    images = _of_kind(fields, "image")
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


def _vector(fields, text, name, what, defaults):
    option = f"{what}_key"
    if text == "none":
        return ()
    if text:
        return tuple(
            _named(fields, part.strip(), name, option, ("number",)) for part in text.split("+")
        )
    known = _registered(fields, defaults, what, name, ("number",))
    if known is not None:
        return known
    prefix = "steps/" if what == "action" else "steps/observation/"
    words = ("action", "actions") if what == "action" else ("state", "proprio")
    found = [prefix + word for word in words if prefix + word in fields]
    if not found:
        found = [key for key in fields if any(key.startswith(f"{prefix}{w}/") for w in words)]
    if not found and what == "state":
        found = [
            key
            for key in _of_kind(fields, "number")
            if key.startswith(prefix)
            and re.search(r"state|proprio|robot_obs", _end(key))
            and fields[key].shape
        ]
    if len(found) > 1:
        raise _unclear(name, what, found, option, "+")
    if not found:
        return ()
    return (_supported(fields, found[0], name, option, ("number",)),)


def _language(fields, text, name, defaults):
    codes = {k: f for k, f in fields.items() if len(f.shape) == 1 and "int" in f.dtype}
    readable = {k: f for k, f in fields.items() if f.kind == "text" or k in codes}
    kinds = ("text", "number")  # numbers: code points, as language_table has them
    if text:
        return None if text == "none" else _named(readable, text, name, "language_key", kinds)
    known = _registered(readable, defaults, "language", name, kinds)
    if known:
        return known[0]
    texts = [key for key in _of_kind(fields, "text") if _end(key) in LANGUAGE]
    if not texts:
        return None
    best = min(LANGUAGE.index(_end(key)) for key in texts)
    texts = [key for key in texts if _end(key) == LANGUAGE[best]]
    if len(texts) > 1:
        raise _unclear(name, "language", texts, "language_key")
    return texts[0]


def _scene(fields, text, name, defaults):
    """(key or None, pattern or None). The registry's pattern is for the registry's key."""
    if text == "none":
        return None, None
    kinds = ("text", "number")
    key, pattern = (defaults.scene if defaults else None) or (None, None)
    if text:
        named = _named(fields, text, name, "scene_key", kinds)
        return named, pattern if key and _ends(named, key) else None
    known = _registered(fields, defaults, "scene", name, kinds)
    return (known[0], pattern) if known else (_under_metadata(fields, SCENES, kinds), None)


def _under_metadata(fields, words, kinds):
    for word in words:
        key = f"episode_metadata/{word}"
        if key in fields and fields[key].kind in kinds and fields[key].shape == ():
            return key
    return None


def _named(fields, text, name, option, kinds):
    found = [key for key in fields if key == text] or [key for key in fields if _ends(key, text)]
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


def _ends(key, text):
    return f"/{key}".endswith(f"/{text}")


def _of_kind(fields, kind):
    return [key for key, field in fields.items() if field.kind == kind]


def _end(key):
    return key.rpartition("/")[2]


def _list(keys):
    short = [key.removeprefix("steps/") for key in sorted(keys)]
    return ", ".join(short) or "nothing (no such key)"

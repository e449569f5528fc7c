"""Finding keys by option, by the registry, by rule, or with an error that helps."""

import dataclasses
import logging

import pytest

from input_pipeline import keys, oxe
from input_pipeline.errors import DataError
from input_pipeline.rlds import Field

IMAGE = Field("image", (64, 64, 3), "uint8")
TEXT = Field("text", (), "string")
NUMBER = Field("number", (), "float32")
OBS = "steps/observation/"


def vector(size):
    return Field("number", (size,), "float32")


def find(fields, name="set", defaults=None, **options):
    chosen = dict.fromkeys(keys.OPTIONS, "") | options
    return keys.find({OBS + "image": IMAGE} | fields, chosen, name, defaults)


def test_the_common_layout():
    found = find(
        {
            "steps/action": vector(7),
            OBS + "state": vector(8),
            OBS + "wrist_image": IMAGE,
            "steps/language_instruction": TEXT,
            "steps/language_embedding": vector(512),
            "episode_metadata/scene": TEXT,
            "episode_metadata/file_path": TEXT,
            "episode_metadata/control_hz": NUMBER,
        }
    )
    assert found == keys.Keys(
        image=OBS + "image",
        action=("steps/action",),
        state=(OBS + "state",),
        language="steps/language_instruction",
        scene="episode_metadata/scene",
        episode="episode_metadata/file_path",
        rate="episode_metadata/control_hz",
    )


def test_a_set_of_pictures_alone():
    assert find({}) == keys.Keys(OBS + "image", (), (), None, None, None, None)


@pytest.mark.parametrize(
    ("images", "wanted"),
    [
        (("image_0", "image_1", "image_2"), "image_0"),
        (("image_1", "image_2", "wrist_1"), "image_1"),
        (("rgb_static", "rgb_gripper"), "rgb_static"),
        (("agentview_rgb", "eye_in_hand_rgb"), "agentview_rgb"),
        (("top_image", "wrist45_image", "image"), "image"),
        (("wrist_image",), "wrist_image"),
    ],
)
def test_the_main_camera(images, wanted):
    fields = {OBS + name: IMAGE for name in images}
    assert keys.find(fields, dict.fromkeys(keys.OPTIONS, ""), "set").image == OBS + wanted


def test_two_equal_cameras_are_ambiguous():
    fields = {OBS + f"exterior_image_{i}_left": IMAGE for i in (1, 2)}
    with pytest.raises(DataError, match=r"ambiguous.*image_1_left.*image_2_left.*data\.image_key="):
        keys.find(fields, dict.fromkeys(keys.OPTIONS, ""), "droid")


def test_action_in_parts_is_asked_for_and_can_be_joined():
    fields = {"steps/action/" + name: vector(3) for name in ("world_vector", "rotation_delta")}
    with pytest.raises(DataError, match=r"action is ambiguous.*config\.data\.action_key="):
        find(fields)
    found = find(fields, action_key="world_vector+rotation_delta")
    assert found.action == ("steps/action/world_vector", "steps/action/rotation_delta")


def test_state_under_another_name_and_none():
    fields = {OBS + "robot_state": vector(7)}
    assert find(fields).state == (OBS + "robot_state",)
    assert find(fields, state_key="none").state == ()
    with pytest.raises(DataError, match="state is ambiguous"):
        find(fields | {OBS + "state_joint": vector(7)})


def test_a_wrong_key_is_answered_with_a_near_one_and_the_list():
    with pytest.raises(DataError, match=r"did you mean .*image\?.*choose observation/image"):
        find({}, image_key="imgae")


def test_a_key_of_the_wrong_kind():
    with pytest.raises(DataError, match=r"steps/action \(number\) cannot serve.*image_key"):
        find({"steps/action": vector(7)}, image_key="action")


def test_an_action_that_is_stored_compressed():
    zipped = Field("unsupported: an encoded (compressed) tensor", (7,), "float32")
    with pytest.raises(DataError, match="compressed"):
        find({"steps/action": zipped})
    assert find({"steps/action": zipped}, action_key="none").action == ()


def test_an_end_that_fits_two_keys():
    fields = {OBS + "front/rgb": IMAGE, OBS + "back/rgb": IMAGE}
    with pytest.raises(DataError, match=r"ambiguous.*back/rgb.*front/rgb"):
        find(fields, image_key="rgb")
    assert find(fields, image_key="front/rgb").image == OBS + "front/rgb"


def test_a_set_without_images():
    with pytest.raises(DataError, match="no key holds 8-bit images"):
        keys.find({"steps/action": vector(7)}, dict.fromkeys(keys.OPTIONS, ""), "set")


def test_an_option_for_each_source():
    data = {"image_key": "image, image_0", "scene_key": "none"}
    assert keys.options(data, 0, 2)["image_key"] == "image"
    assert keys.options(data, 1, 2)["image_key"] == "image_0"
    assert keys.options(data, 1, 2)["scene_key"] == "none"
    with pytest.raises(DataError, match="2 parts for 3 sources"):
        keys.options(data, 0, 3)


# language as code points


CODES = Field("number", (512,), "int32")


def test_a_language_of_code_points():
    fields = {OBS + "instruction": CODES}
    assert find(fields).language is None  # any numbers could be in it
    assert find(fields, language_key="instruction").language == OBS + "instruction"
    for field in (
        vector(512),
        NUMBER,
        Field("number", (), "int64"),
        Field("number", (2, 3), "int8"),
    ):
        with pytest.raises(DataError, match="language_key=instruction is no key"):
            find({OBS + "instruction": field}, language_key="instruction")


# the registry

REGISTERED = dataclasses.replace(
    oxe.get("bridge_dataset"),
    images={"primary": OBS + "top", "wrist": OBS + "hand"},
    action=("steps/action/move", "steps/action/grip"),
    state=(OBS + "pose", OBS + "joints"),
    language=OBS + "instruction",
    scene=("episode_metadata/file_path", "kitchen[0-9]"),
    success="success",
    skip_first=1,
    swap=(OBS + "hand",),
)
FIELDS = {
    OBS + "top": IMAGE,
    OBS + "hand": IMAGE,
    OBS + "instruction": CODES,
    OBS + "pose": vector(6),
    OBS + "joints": vector(7),
    OBS + "state": vector(8),
    "steps/action/move": vector(6),
    "steps/action/grip": Field("number", (), "bool"),
    "steps/language_instruction": TEXT,
    "episode_metadata/file_path": TEXT,
    "episode_metadata/scene": TEXT,
    "success": Field("number", (), "bool"),
}


def test_the_registry_knows_better_than_the_rules():
    assert find(FIELDS, defaults=REGISTERED) == keys.Keys(
        image=OBS + "top",
        action=("steps/action/move", "steps/action/grip"),
        state=(OBS + "pose", OBS + "joints"),
        language=OBS + "instruction",
        scene="episode_metadata/file_path",
        episode="episode_metadata/file_path",
        rate=None,
        success="success",
        skip_first=1,
        swap=False,
        scene_pattern="kitchen[0-9]",
    )


def test_an_option_is_above_the_registry(caplog):
    found = find(
        FIELDS,
        defaults=dataclasses.replace(REGISTERED, action=("steps/action/none",), state=("gone",)),
        image_key="image",
        action_key="grip",
        state_key="none",
        language_key="language_instruction",
        scene_key="scene",
    )
    assert found.image == OBS + "image"
    assert found.action == ("steps/action/grip",)
    assert found.state == ()
    assert found.language == "steps/language_instruction"
    assert (found.scene, found.scene_pattern) == ("episode_metadata/scene", None)
    assert found.skip_first == 1
    assert not caplog.records  # the registry was not asked


def test_a_scene_option_that_names_the_registry_s_key_keeps_its_pattern():
    found = find(FIELDS, defaults=REGISTERED, scene_key="file_path")
    assert (found.scene, found.scene_pattern) == ("episode_metadata/file_path", "kitchen[0-9]")
    found = find(FIELDS, defaults=REGISTERED, scene_key="none")
    assert (found.scene, found.scene_pattern) == (None, None)


def test_a_camera_by_its_role():
    found = find(FIELDS, defaults=REGISTERED, image_key="wrist")
    assert found.image == OBS + "hand"
    assert found.swap
    with pytest.raises(DataError, match="image_key=wrist is no key"):
        find(FIELDS, image_key="wrist")


def test_what_the_registry_leaves_open_is_found_by_rule():
    defaults = dataclasses.replace(REGISTERED, language=None, scene=None, success=None, state=())
    found = find(FIELDS, defaults=defaults)
    assert found.language == "steps/language_instruction"
    assert (found.scene, found.scene_pattern) == ("episode_metadata/scene", None)
    assert found.success is None
    assert found.state == ()  # the set is known to have none


@pytest.mark.parametrize(
    ("gone", "what", "wanted"),
    [
        (OBS + "top", "images", {"image": OBS + "image"}),
        ("steps/action/grip", "action", {"action": ("steps/action/move",)}),
        (OBS + "joints", "state", {"state": (OBS + "state",)}),
        (OBS + "instruction", "language", {"language": "steps/language_instruction"}),
        ("success", "success", {"success": None}),
        ("episode_metadata/file_path", "scene", {"scene": "episode_metadata/scene"}),
    ],
)
@pytest.mark.parametrize("how", ["absent", "unreadable"])
def test_a_copy_that_lacks_a_registered_key(gone, what, wanted, how, caplog):
    fields = {key: field for key, field in FIELDS.items() if key != gone}
    if how == "unreadable":
        fields[gone] = Field("unsupported: an encoded (compressed) tensor", (), "")
    with caplog.at_level(logging.WARNING):
        if what == "action" and how == "unreadable":  # the rule finds two parts
            with pytest.raises(DataError, match="ambiguous"):
                find(fields, defaults=REGISTERED)
        else:
            found = find(fields, defaults=REGISTERED)
            assert {key: getattr(found, key) for key in wanted} == wanted
    (record,) = caplog.records
    assert f"set: this copy has no readable {gone}, the registry's key for {what}" in (
        record.getMessage()
    )


@pytest.mark.parametrize("name", oxe.SETS)
def test_a_set_that_is_as_the_registry_says(name, caplog):
    registered = oxe.get(name)
    fields = dict.fromkeys(registered.images.values(), IMAGE)
    fields |= dict.fromkeys((*registered.action, *registered.state), vector(3))
    fields |= dict.fromkeys([registered.language] if registered.language else [], TEXT)
    fields |= {registered.scene[0]: TEXT} if registered.scene else {}
    fields |= {registered.success: NUMBER} if registered.success else {}
    found = keys.find(fields, dict.fromkeys(keys.OPTIONS, ""), name, registered)
    assert found.image == registered.images["primary"]
    assert (found.action, found.state) == (registered.action, registered.state)
    assert (found.language, found.success) == (registered.language, registered.success)
    assert (found.scene, found.scene_pattern) == (registered.scene or (None, None))
    assert found.swap == (found.image in registered.swap)
    assert not caplog.records


# converted sets


def test_a_converted_set_has_its_own_keys():
    held = find(FIELDS, defaults=REGISTERED)
    chosen = dict.fromkeys(keys.OPTIONS, "")

    def again(**options):
        return keys.find({}, chosen | options, "set", REGISTERED, held)

    assert again() == held
    assert again(image_key="top", action_key="move+grip", scene_key="file_path") == held
    assert again(image_key="primary") == held
    assert again(action_key="none").action == ()
    assert again(scene_key="none").scene is None
    for options in (
        {"image_key": "wrist"},
        {"image_key": "none"},
        {"action_key": "move"},
        {"action_key": "grip+move"},
        {"state_key": "state"},
        {"language_key": "language_instruction"},
    ):
        with pytest.raises(DataError, match=r"set was converted with .* convert the set again"):
            again(**options)
    with pytest.raises(DataError, match="converted with nothing"):
        keys.find({}, chosen | {"state_key": "x"}, "set", None, dataclasses.replace(held, state=()))


# scenes


@pytest.mark.parametrize(
    ("value", "pattern", "scene"),
    [
        ("/a/kitchen3/put/7", None, "/a/kitchen3/put/7"),
        ("/a/kitchen3/put/7", r"kitchen\d+", "kitchen3"),
        ("/a/kitchen3/put/7", r"(kitchen\d+)/", "kitchen3"),
        ("/a/kitchen3/put/7", r"/(\w)/(kitchen\d+)/", "a/kitchen3"),
        ("/a/kitchen3/put/7", r"(sink\d+)|(kitchen\d+)", "kitchen3"),
        ("/a/desk/put/7", r"kitchen\d+", "/a/desk/put"),
        ("desk", r"kitchen\d+", "desk"),
        ("/desk", r"kitchen\d+", "/desk"),
        ("", r"kitchen\d+", ""),
    ],
)
def test_the_scene_of_a_path(value, pattern, scene):
    assert keys.scene_of(value, pattern) == scene

"""Finding keys in sets nobody has described: by rule, by option, or with an error that helps."""

import pytest

from input_pipeline import keys
from input_pipeline.errors import DataError
from input_pipeline.rlds import Field

IMAGE = Field("image", (64, 64, 3), "uint8")
TEXT = Field("text", (), "string")
NUMBER = Field("number", (), "float32")
OBS = "steps/observation/"


def vector(size):
    return Field("number", (size,), "float32")


def find(fields, name="set", **options):
    chosen = dict.fromkeys(keys.OPTIONS, "") | options
    return keys.find({OBS + "image": IMAGE} | fields, chosen, name)


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

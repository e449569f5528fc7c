"""The registry: every set well described, published weights, scenes of real paths, its lists."""

import json
import math
import re
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st
from interpreter import ROOT

from input_pipeline import mixtures, oxe, oxe_converted, oxe_sets
from input_pipeline.errors import DataError

BRIDGE = oxe.find("bridge_dataset")
NUMPY = "/nfs/kun2/users/homer/datasets/bridge_data_all/numpy_256"
R2D2 = "gs://xembodiment_data/r2d2/r2d2-data-full"
SCENES = (
    ("toykitchen2", f"{NUMPY}/bridge_data_v2/datacol2_toykitchen2/pnp_push_sweep/09/val/out.npy"),
    ("toykitchen2", f"{NUMPY}/bridge_data_v2/deepthought_toykitchen2/drawer/1/train/out.npy"),
    ("toykitchen2", f"{NUMPY}/rss/toykitchen2/pnp_sweep/203/train/out.npy"),
    ("toykitchen2", f"{NUMPY}/bridge_data_v1/berkeley/toykitchen2_room8052/flip_pot/train/out.npy"),
    ("toykitchen7", f"{NUMPY}/bridge_data_v2/datacol2_toykitchen7_white_tray/a/00/train/out.npy"),
    ("toykitchen1", f"{NUMPY}/icra/toykitchen_fixed_cam_resetfree/toykitchen1/a/val/out.npy"),
    ("toysink2", f"{NUMPY}/bridge_data_v1/berkeley/toysink2_bww/put_carrot_on_plate/val/out.npy"),
    ("folding_table", f"{NUMPY}/bridge_data_v2/minsky_folding_table_white_tray/a/00/val/out.npy"),
    ("robot_desk", f"{NUMPY}/bridge_data_v2/deepthought_robot_desk/drawer/01/train/out.npy"),
    ("realkitchen1", f"{NUMPY}/bridge_data_v1/berkeley/realkitchen1_counter/wipe/train/out.npy"),
    ("tabletop_dark_wood", f"{NUMPY}/bridge_data_v2/datacol2_tabletop_dark_wood/a/0/val/out.npy"),
    ("scripted", f"{NUMPY.replace('numpy', 'scripted_numpy')}/2022-12-08_pnp/train/out.npy"),
    ("a_new_room", f"{NUMPY}/bridge_data_v2/a_new_room/stack/00/train/out.npy"),
)


def all_keys(dataset):
    scene = dataset.scene[:1] if dataset.scene else ()
    single = (dataset.language, dataset.success, *scene)
    keys = (*dataset.images.values(), *dataset.action, *dataset.state, *single, *dataset.swap)
    return {key for key in keys if key is not None}


def test_there_are_enough_sets_and_each_is_there_once():
    assert len(oxe.SETS) >= 80
    assert len(oxe.SETS) == len(oxe_sets.ROWS) + len(oxe_converted.ROWS)
    assert not set(oxe.ALIASES) & set(oxe.SETS)
    assert set(oxe.ALIASES.values()) <= set(oxe.SETS)


@pytest.mark.parametrize("name", oxe.SETS)
def test_a_set_is_well_described(name):
    dataset = oxe.SETS[name]
    assert re.fullmatch(r"\w+", dataset.folder)
    assert dataset.version is None or re.fullmatch(r"\d+\.\d+\.\d+", dataset.version)
    assert dataset.version or "folder" in dataset.note
    assert dataset.hz is None or 0 < dataset.hz <= 50
    assert dataset.size is None or 32 <= min(dataset.size) <= max(dataset.size) <= 1000
    assert next(iter(dataset.images)) == "primary"
    assert len(set(dataset.images.values())) == len(dataset.images)
    for key in all_keys(dataset):
        assert re.fullmatch(r"((steps|episode_metadata)(/\w+)+|success)", key), key
    assert all(
        k.startswith("steps/observation/") for k in (*dataset.images.values(), *dataset.state)
    )
    assert all(k.startswith("steps/action") for k in dataset.action)
    assert bool(dataset.action) == bool(dataset.action_dim or dataset.action_dim is None)
    assert dataset.action_meaning
    assert bool(dataset.state) == bool(dataset.state_meaning)
    assert set(dataset.swap) <= set(dataset.images.values())
    assert all(text == text.strip() and "  " not in text for text in (dataset.note, dataset.broken))
    if dataset.scene and dataset.scene[1]:
        assert re.compile(dataset.scene[1]).groups


def test_the_published_facts_of_some_sets():
    wrist_only = oxe.find("berkeley_autolab_ur5")
    assert wrist_only.swap == (wrist_only.images["wrist"],)
    both = {"stanford_hydra_dataset" + oxe.LONG, "utaustin_mutex", "berkeley_fanuc_manipulation"}
    assert {name for name, one in oxe.SETS.items() if len(one.swap) == 2} == both
    assert [name for name, one in oxe.SETS.items() if one.success] == ["kuka"]
    assert {n for n, one in oxe.SETS.items() if one.skip_first} == {
        "bridge", "bridge_dataset", "bridge_data_v2",
    }  # fmt: skip
    assert all(oxe.find(name).broken for name in ("bridge", "uiuc_d3field", "bc_z"))
    assert oxe.find("bc_z").state[0] == "steps/observation/present/xyz"
    rates = {"fractal20220817_data": 3, "bridge_dataset": 5, "droid": 15, "toto": 30, "dobbe": 3.75}
    assert {name: oxe.find(name).hz for name in rates} == rates


def test_the_keys_of_bridge_are_those_of_real_data(real_data):
    folder = real_data / "octo_bridge_debug" / "bridge_dataset" / "1.0.0"
    features = json.loads((folder / "features.json").read_text())
    info = json.loads((folder / "dataset_info.json").read_text())

    def flat(feature, prefix):
        inner = feature.get("sequence", {}).get("feature", feature)
        children = inner.get("featuresDict", {}).get("features")
        if children is None:
            return {prefix}
        return {
            key
            for name, child in children.items()
            for key in flat(child, f"{prefix}/{name}" if prefix else name)
        }

    assert oxe.get(info["name"]) is BRIDGE
    assert all_keys(BRIDGE) <= flat(features, "")
    stored = b"".join(path.read_bytes() for path in folder.glob("*.tfrecord*"))
    paths = set(re.findall(rb"/nfs/[\w/.\-]*?/out\.npy", stored))
    assert len(paths) > 1
    assert {oxe.scene_of(BRIDGE, path) for path in paths} == {"toysink2"}


def test_get_is_exact_and_find_helps():
    assert oxe.get("droid") is oxe.find("droid_101") is oxe.SETS["droid"]
    assert oxe.get("Droid") is oxe.get("droi") is oxe.get("") is None
    with pytest.raises(DataError, match=r"brige_dataset is no .*did you mean bridge_dataset\?"):
        oxe.find("brige_dataset")
    with pytest.raises(DataError, match=rf"did you mean nyu_rot_dataset{oxe.LONG}\?"):
        oxe.find("nyu_rot_dataset")
    with pytest.raises(DataError, match=r"^zzzz is no registered set; python"):
        oxe.find("zzzz")


@pytest.mark.parametrize("root", ["gs://gresearch/robotics", "/data/oxe", "relative"])
def test_a_place_is_the_same_below_every_root(root):
    assert oxe.place("bridge_data_v2", root) == f"{root}/bridge_data_v2/0.0.1"
    assert oxe.place("droid_101", f"{root}/") == f"{root}/droid/1.0.1"
    with pytest.raises(DataError, match="rh20t: no public folder"):
        oxe.place("rh20t", root)


@pytest.mark.parametrize("name", mixtures.MIXTURES)
def test_every_member_of_a_mixture_is_registered(name):
    pairs = oxe.mixture(name)
    assert pairs == list(mixtures.MIXTURES[name])
    assert all(isinstance(weight, float) and weight > 0 for _, weight in pairs)
    assert mixtures.SOURCES[name]


@pytest.mark.parametrize(
    ("name", "count", "weights"),
    [
        ("bridge_rt_1", 2, {"bridge_data_v2": 1, "fractal20220817_data": 1}),
        ("rtx", 11, {"kuka": 0.8341046294, "berkeley_cable_routing": 3, "jaco_play": 2}),
        ("rtx", 11, {"nyu_door_opening_surprising_effectiveness": 5, "roboturk": 1}),
        ("rtx_franka", 25, {"taco_play": 2, "toto": 1, "cmu_play_fusion": 1}),
        ("oxe_magic_soup", 25, {"fractal20220817_data": 0.54087122203, "bc_z": 0.2}),
        ("oxe_magic_soup_plus", 27, {"droid": 0.06, "language_table": 0.1, "dobbe": 0.2, "fmb": 1}),
        ("oxe_magic_soup_plus_minus", 25, {"fractal20220817_data": 1, "kuka": 0.8341046294}),
        ("oxe_flex_act_soup", 32, {"aloha_static_dataset": 3, "robo_set": 0.5, "dobbe": 1}),
        ("omni_magic_soup_plus", 29, {"kuka": 0.1, "bridge": 1, "berkeley_gnm_sac_son": 1}),
        ("omni_magic_soup_plus_plus", 33, {"berkeley_gnm_recon": 2, "ego4d_split_4": 1}),
        ("oxe_spatial_vla_plus", 28, {"rh20t": 0.015, "fmb": 0.2, "toto": 0.5}),
    ],
)
def test_published_weights(name, count, weights):
    mixture = dict(oxe.mixture(name))
    assert len(mixture) == count
    assert {member: mixture[member] for member in weights} == weights


def test_what_a_mixture_leaves_out():
    assert not {"language_table", "droid"} & set(dict(oxe.mixture("oxe_magic_soup_plus_minus")))
    assert "bc_z" not in dict(oxe.mixture("oxe_magic_soup_openvla"))
    assert "droid" not in dict(oxe.mixture("omni_magic_soup_plus"))


@pytest.mark.parametrize(
    ("pairs", "complaint"),
    [
        ((("toto", 1.0), ("viola", 1.0), ("toto", 2.0)), "names toto more than once"),
        ((("bridge_orig", 1.0), ("bridge_dataset", 1.0)), "names bridge_dataset more than once"),
        ((("toto", 0.0),), "gives toto the weight 0.0"),
        ((("toto", -1.0),), "gives toto the weight -1.0"),
        ((("toto", math.nan),), "gives toto the weight nan"),
        ((("toto", math.inf),), "gives toto the weight inf"),
        ((("totto", 1.0),), "totto is no registered set .did you mean toto"),
    ],
)
def test_a_bad_mixture_is_an_error(monkeypatch, pairs, complaint):
    monkeypatch.setitem(mixtures.MIXTURES, "mine", pairs)
    with pytest.raises(DataError, match=complaint):
        oxe.mixture("mine")


def test_an_unknown_mixture_is_answered_with_a_near_one():
    with pytest.raises(DataError, match=r"did you mean oxe_magic_soup_plus\?\); choose one of"):
        oxe.mixture("oxe_magic_soup_pluss")


@pytest.mark.parametrize(("scene", "path"), SCENES)
def test_scenes_of_bridge(scene, path):
    assert oxe.scene_of(BRIDGE, path) == oxe.scene_of(BRIDGE, path.encode()) == scene
    other = {"train": "val", "val": "train"}[path.split("/")[-2]]
    assert oxe.scene_of(BRIDGE, path.replace(path.split("/")[-2], other)) == scene


@given(
    number=st.integers(1, 99),
    before=st.sampled_from(
        ["bridge_data_v2/datacol1_", "rss/", "bridge_data_v1/berkeley/", "icra/"]
    ),
    after=st.sampled_from(["", "_room8052", "_bww", "_white_tray"]),
    task=st.text("abcdefghijklmnopqrstuvwxyz_", min_size=1),
)
def test_one_kitchen_in_every_collection_is_one_scene(number, before, after, task):
    path = f"{NUMPY}/{before}toykitchen{number}{after}/{task}/00/train/out.npy"
    assert oxe.scene_of(BRIDGE, path) == f"toykitchen{number}"


@given(
    st.sampled_from(sorted(oxe.SETS)), st.text(min_size=1) | st.binary(min_size=1) | st.integers()
)
def test_a_scene_is_found_in_any_value(name, value):
    scene = oxe.scene_of(oxe.SETS[name], value)
    assert isinstance(scene, str)
    assert bool(scene) == bool(oxe.SETS[name].scene)


def test_other_scenes():
    droid = oxe.find("droid")
    name = "2023-07-07/Fri_Jul__7_09:42:23_2023/trajectory.h5"
    assert oxe.scene_of(droid, f"{R2D2}/AUTOLab/success/{name}") == "AUTOLab"
    assert oxe.scene_of(droid, f"{R2D2}/AUTOLab/failure/{name}") == "AUTOLab"
    assert oxe.scene_of(droid, "/somewhere/else/trajectory.h5") == "/somewhere/else"
    assert oxe.scene_of(oxe.find("robo_net"), "sawyer") == "sawyer"
    assert oxe.scene_of(oxe.find("spoc"), 17) == "17"
    assert oxe.scene_of(oxe.find("kuka"), "anything") == ""


def printed(capsys, *flags):
    oxe.main(flags)
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= 80
    return lines


def test_the_list_has_every_set_and_80_columns(capsys):
    lines = printed(capsys, "--list")
    names = [line.split()[0] for line in lines[1 : lines.index("")] if not line.startswith(" ")]
    assert [name.replace("~", oxe.LONG) for name in names] == sorted(oxe.SETS)
    droid = next(line for line in lines if line.startswith("droid "))
    assert droid.split() == ["droid", "1.0.1", "Franka", "15", "180x320", "3", "7", "+"]
    bridge = next(line for line in lines if line.startswith("bridge "))
    assert bridge.split() == ["bridge", "0.1.0", "WidowX", "5", "480x640", "1", "7", "1!"]


@pytest.mark.parametrize("name", oxe.SETS)
def test_one_set_is_printed_whole(capsys, name):
    text = "".join("".join(printed(capsys, f"--name={name}")).split())
    for key in all_keys(oxe.SETS[name]):
        assert key in text
    assert "".join(oxe.SETS[name].note.split()) in text
    assert printed(capsys, "--list", name) == printed(capsys, "--name", name)


def test_the_mixtures_are_printed_with_their_weights(capsys):
    lines = printed(capsys, "--mixtures")
    assert "  0.54087122203  fractal20220817_data" in lines
    assert sum(len(pairs) for pairs in mixtures.MIXTURES.values()) == sum(
        bool(re.fullmatch(r"  [\d.]+ +\w+", line)) for line in lines
    )


@pytest.mark.parametrize(
    ("flags", "complaint"),
    [
        (["--list", "droyd"], r"^error: droyd is no registered set \(did you mean droid\?\)"),
        (["--mixtures", "--list"], "^error: --mixtures and --list cannot both be given"),
    ],
)
def test_a_mistake_is_one_line(flags, complaint):
    with pytest.raises(SystemExit, match=complaint) as stopped:
        oxe.main(flags)
    assert "\n" not in str(stopped.value)


def test_the_program_runs():
    done = subprocess.run(
        [sys.executable, "-m", "input_pipeline.oxe", "--name=kuka"],
        cwd=ROOT, capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    assert re.search(r"^success +success$", done.stdout, re.M)

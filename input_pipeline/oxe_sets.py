"""Sets of Open X-Embodiment, first table: the first release (RT-X), Language-Table, Bridge, DROID.

Facts only, from the features of the catalogue of tensorflow_datasets, the readers of Octo, OpenVLA
and UniVLA and the converters of the sets; the second table is in `oxe_converted.py`. Frequencies
are those of the overview of Open X-Embodiment and its converters. What nobody states is None, and
`note` says so. Units are named only where the source names them.
"""

import dataclasses

STEP, OBS, META = "steps/", "steps/observation/", "episode_metadata/"


@dataclasses.dataclass(frozen=True)
class Set:
    """One registered set. Keys are flat: "steps/observation/image", slashes of a key included.

    name: that of its dataset_info.json; folder, version: where it lies below a root (version None:
    no public folder is known); size: (height, width) of the primary camera; images: {role: key},
    "primary" first; action, state: keys whose vectors are joined, action_dim numbers in all;
    hz: steps per second or None; scene: (key, pattern of `keys.scene_of` or None) of the groups to
    split by, or None; success: key that is true for episodes to use; skip_first: steps to leave
    out at the start; swap: images stored with red and blue changed over; broken: what makes the
    data unfit, and what to do; note: all else.
    """

    name: str
    folder: str
    version: str | None
    hz: float | None
    robot: str
    size: tuple | None
    images: dict
    action: tuple
    action_dim: int | None
    action_meaning: str
    state: tuple
    state_meaning: str
    language: str | None
    scene: tuple | None = None
    success: str | None = None
    skip_first: int = 0
    swap: tuple = ()
    broken: str = ""
    note: str = ""


def row(name, version, hz, robot, size, cameras, action, dim, does, state, holds, **facts):
    """A line of a table, with short keys, as a Set.

    cameras: "image wrist=wrist_image", keys under steps/observation/; action: keys under
    steps/action/, or "action" where it is one vector; state: keys under steps/observation/.
    """
    roles = [camera if "=" in camera else f"primary={camera}" for camera in cameras.split()]
    vector = (STEP + "action",) if action == "action" else None
    swap = tuple(OBS + camera for camera in facts.pop("swap", ()))
    return Set(
        name=name,
        folder=name,
        version=version,
        hz=None if hz is None else float(hz),
        robot=robot,
        size=size,
        images={role: OBS + key for role, key in (camera.split("=") for camera in roles)},
        action=vector or tuple(STEP + "action/" + key for key in action.split()),
        action_dim=dim,
        action_meaning=does,
        state=tuple(OBS + key for key in state.split()),
        state_meaning=holds,
        language=facts.pop("language", STEP + "language_instruction"),
        swap=swap,
        **facts,
    )


# The scene of an episode of Bridge is the name of a toy kitchen or a table, wherever it stands in
# the path: the same toykitchen2 is in bridge_data_v2/datacol2_toykitchen2, in rss/toykitchen2 and
# in bridge_data_v1/berkeley/toykitchen2_room8052. What has no such name goes by the environment.
BRIDGE = (
    META + "file_path",
    r"^.*?(toykitchen\d+|toysink\d+|realkitchen\d+|tabletop[a-z_]*|folding_table|robot_desk"
    r"|laundry_machine|tool_chest|scripted)|numpy_256/[^/]+/([^/]+)/",
)
DROID = (META + "file_path", r"([^/]+)/(?:success|failure)/")  # the lab
SAID = {"language": OBS + "natural_language_instruction"}
ARM = "world_vector rotation_delta gripper_closedness_action"
HAND = "world_vector rotation_delta open_gripper"
MOVES = "end-effector displacement x y z, roll pitch yaw"
RELATIVE = "gripper change (1 closes, -1 opens, 0 keeps)"
BLOCKS = ("effector_translation effector_target_translation", "effector x y, its target x y")
CODES = "instruction: code points in int32 [512], filled up with 0"
KITCHEN = (
    "action", 7, MOVES + " (m, rad), gripper 1 open 0 closed",
    "state", "end-effector x y z (m), roll pitch yaw (rad), gripper opening",
)  # fmt: skip
BLACK = "A camera that an episode lacks is black; has_image_k is false even where there is one"

# fmt: off
_FIRST_RELEASE = (
    row("fractal20220817_data", "0.1.0", 3, "Google Robot", (256, 320), "image",
        ARM, 7, f"{MOVES}, in the frame of the base; {RELATIVE}",
        "base_pose_tool_reached gripper_closed", "end-effector x y z, quaternion; gripper closed",
        **SAID, note="RT-1. No scene key: attributes/location_name and env_name exist, whether "
        "they are filled is not known. Some episodes fail."),
    row("kuka", "0.1.0", 10, "Kuka iiwa", (512, 640), "image",
        ARM, 7, f"{MOVES}; {RELATIVE}",
        "clip_function_input/base_pose_tool_reached gripper_closed",
        "end-effector x y z, quaternion; gripper closed",
        **SAID, success="success", note="QT-Opt. Failures are in it; Octo and OpenVLA use the "
        "successes. The state is stored compressed and cannot be read here."),
    row("bridge", "0.1.0", 5, "WidowX", (480, 640), "image", HAND, *KITCHEN[1:],
        **SAID, skip_first=1,
        broken="an old copy of Bridge without a scene key, so that scenes of validation are "
        "trained on; use bridge_data_v2 or bridge_dataset",
        note="25,460 + 3,475 episodes; the first action of an episode is all zero."),
    row("taco_play", "0.1.0", 15, "Franka", (150, 200), "rgb_static wrist=rgb_gripper",
        "rel_actions_world", 7, "relative x y z, yaw pitch roll in the frame of the base; gripper "
        "-1 open 1 closed",
        "robot_obs", "end-effector x y z, Euler angles, gripper width, 7 joints, gripper action",
        **SAID, note="actions (absolute) and rel_actions_gripper exist, too. One fixed scene; "
        "structured_language_instruction names one of 25 tasks."),
    row("jaco_play", "0.1.0", 10, "Jaco 2", (224, 224), "image wrist=image_wrist",
        "world_vector gripper_closedness_action", 4, f"end-effector displacement x y z; {RELATIVE}",
        "end_effector_cartesian_pos", "end-effector pose 6, gripper", **SAID),
    row("berkeley_cable_routing", "0.1.0", 10, "Franka", (128, 128),
        "image wrist=wrist45_image secondary=top_image third=wrist225_image",
        "world_vector rotation_delta", 6, "velocity x y z, angular velocity (about z)",
        "robot_state", "7 joints (so read by Octo; not stated)", **SAID),
    row("roboturk", "0.1.0", 10, "Sawyer", (480, 640), "front_rgb",
        ARM, 7, f"{MOVES}; gripper 1 closed", "", "", **SAID),
    row("nyu_door_opening_surprising_effectiveness", "0.1.0", 3, "Hello Stretch", (720, 960),
        "image", ARM, 7, f"velocity x y z, angular velocity x y z; {RELATIVE}", "", "",
        **SAID, note="Its only camera is on the wrist."),
    row("viola", "0.1.0", 20, "Franka", (224, 224), "agentview_rgb wrist=eye_in_hand_rgb",
        ARM, 7, f"{MOVES}; gripper 1 closed",
        "joint_states gripper_states", "7 joints; gripper width, 0 closed", **SAID),
    row("berkeley_autolab_ur5", "0.1.0", 5, "UR5", (480, 640), "image wrist=hand_image",
        ARM, 7, f"{MOVES}; {RELATIVE}",
        "robot_state", "15 numbers; 6 to 13 are end-effector x y z, quaternion, gripper",
        **SAID, swap=("hand_image",)),
    row("toto", "0.1.0", 30, "Franka", (480, 640), "image",
        HAND, 7, f"{MOVES}; gripper 1 open 0 closed", "state", "7 joint angles", **SAID),
    row("columbia_cairlab_pusht_real", "0.1.0", 10, "UR5", (240, 320), "image wrist=wrist_image",
        ARM, 7, f"{MOVES}; {RELATIVE}", "robot_state", "end-effector x y", **SAID),
    row("bc_z", "0.1.0", 10, "Google Robot", (171, 213), "image",
        "future/xyz_residual future/axis_angle_residual future/target_close", 70,
        "of the next 10 steps: displacement x y z, axis-angle displacement, gripper closure to "
        "reach; those of the step itself are numbers 0-2, 30-32 and 60",
        "present/xyz present/axis_angle present/sensed_close",
        "end-effector x y z, axis angle; gripper closure 0.2 to 1", **SAID,
        broken="versions later than 0.1.0 are reported broken; use 0.1.0",
        note="Slashes belong to its keys. Episodes come from DAgger: present/autonomous."),
)

_LANGUAGE_TABLE = tuple(
    row(f"language_table{name}", "0.0.1" if name else "0.1.0", 10,
        "xArm (sim)" if name else "xArm", (360, 640), "rgb",
        "action", 2, "displacement x y of the effector's target", *BLOCKS,
        language=OBS + "instruction",
        note=f"{episodes:,} episodes of one fixed scene. {CODES}."
        + ("" if name else " Version 0.0.1 exists, too."))
    for name, episodes in (
        ("", 442226), ("_sim", 181020), ("_blocktoblock_sim", 8000),
        ("_blocktoblock_4block_sim", 8298), ("_blocktoblock_oracle_sim", 200000),
        ("_blocktoblockrelative_oracle_sim", 200000), ("_blocktoabsolute_oracle_sim", 200000),
        ("_blocktorelative_oracle_sim", 200000), ("_separate_oracle_sim", 200000),
    )
)

_BRIDGE_AND_DROID = (
    row("bridge_data_v2", "0.0.1", 5, "WidowX", (256, 256),
        "image_0 secondary=image_1 third=image_2 fourth=image_3", *KITCHEN,
        scene=BRIDGE, skip_first=1, note="The Bridge that tensorflow_datasets reads from the "
        f"bucket. Image keys taken from bridge_dataset, its twin. {BLACK}."),
    row("bridge_dataset", "1.0.0", 5, "WidowX", (256, 256),
        "image_0 secondary=image_1 third=image_2 fourth=image_3", *KITCHEN,
        scene=BRIDGE, skip_first=1, note="From the project's site, not in the bucket; "
        "OpenVLA calls it bridge_orig. Its own val repeats the scenes of train. Its feature texts "
        f"are those of another set. {BLACK}."),
    row("bridge_data_msr", "0.0.1", None, "WidowX 250", (480, 640),
        "image_0 secondary=image_1 third=image_2", "action", 7, "as bridge_dataset",
        "state", "as bridge_dataset", note="Frequency, scenes in file_path and an all-zero first "
        "action are not stated. episode_metadata/has_image_k tells which cameras are there."),
    row("droid", "1.0.1", 15, "Franka", (180, 320),
        "exterior_image_1_left wrist=wrist_image_left secondary=exterior_image_2_left",
        "action", 7, "commanded end-effector x y z, Euler angles, gripper 0 open 1 closed",
        "cartesian_position gripper_position", "end-effector x y z, Euler angles; gripper",
        scene=DROID, note="Scene: the lab; the building is not in the data. file_path tells "
        "success from failure, both are in it. Cartesian and joint positions and velocities are "
        "in steps/action_dict. The names in its files are droid_101 (1.0.1) and droid_100 "
        "(a sample). 1.0.0 lacks many instructions, 1.0.1 some."),
)
# fmt: on

ROWS = (*_FIRST_RELEASE, *_LANGUAGE_TABLE, *_BRIDGE_AND_DROID)

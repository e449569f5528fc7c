"""Published mixtures of sets: {name: ((set, weight), ...)}, as data.

In Octo, OpenVLA and UniVLA a weight multiplies the number of steps of its set, and the products are
normalised: weight 1 for every set means shares by size. Names are those of this registry, which are
those of the bucket: bridge_orig (bridge_dataset), fmb_dataset, roboset and aloha_mobile_dataset of
the sources are bridge_data_v2, fmb, robo_set and aloha_mobile here.
"""

RLDS = "_converted_externally_to_rlds"

_RT_X = (  # without nyu_door_opening_surprising_effectiveness, which only has a wrist camera
    ("fractal20220817_data", 0.54087122203),
    ("kuka", 0.8341046294),
    ("bridge_data_v2", 1.0),
    ("taco_play", 2.0),
    ("jaco_play", 2.0),
    ("berkeley_cable_routing", 3.0),
    ("roboturk", 1.0),
    ("viola", 2.0),
    ("berkeley_autolab_ur5", 1.0),
    ("toto", 1.0),
)
_FRANKA = (  # what Octo's Franka sets add; SOURCES tells of those that are in _RT_X, too
    ("stanford_hydra_dataset" + RLDS, 1.0),
    ("austin_buds_dataset" + RLDS, 3.0),
    ("nyu_franka_play_dataset" + RLDS, 3.0),
    ("maniskill_dataset" + RLDS, 0.1),
    ("furniture_bench_dataset" + RLDS, 0.1),
    ("cmu_franka_exploration_dataset" + RLDS, 5.0),
    ("austin_sailor_dataset" + RLDS, 1.0),
    ("austin_sirius_dataset" + RLDS, 1.0),
    ("berkeley_rpt" + RLDS, 1.0),
    ("kaist_nonprehensile" + RLDS, 3.0),
    ("stanford_robocook" + RLDS, 1.0),
    ("iamlab_cmu_pickup_insert" + RLDS, 1.0),
    ("utaustin_mutex", 1.0),
    ("cmu_play_fusion", 1.0),
)
_SOUP = (  # what every soup is made of: OpenVLA's oxe_magic_soup
    ("fractal20220817_data", 0.54087122203),
    ("kuka", 0.8341046294),
    ("bridge_data_v2", 1.0),
    ("taco_play", 2.0),
    ("jaco_play", 1.0),
    ("berkeley_cable_routing", 1.0),
    ("roboturk", 2.0),
    ("viola", 2.0),
    ("berkeley_autolab_ur5", 2.0),
    ("toto", 1.0),
    ("language_table", 0.1),
    ("stanford_hydra_dataset" + RLDS, 2.0),
    ("austin_buds_dataset" + RLDS, 1.0),
    ("nyu_franka_play_dataset" + RLDS, 3.0),
    ("furniture_bench_dataset" + RLDS, 0.1),
    ("ucsd_kitchen_dataset" + RLDS, 2.0),
    ("austin_sailor_dataset" + RLDS, 1.0),
    ("austin_sirius_dataset" + RLDS, 1.0),
    ("dlr_edan_shared_control" + RLDS, 1.0),
    ("iamlab_cmu_pickup_insert" + RLDS, 1.0),
    ("utaustin_mutex", 1.0),
    ("berkeley_fanuc_manipulation", 2.0),
    ("cmu_stretch", 1.0),
)
_DOOR = "nyu_door_opening_surprising_effectiveness"
_PLUS = (("bc_z", 0.2), ("fmb", 1.0), ("dobbe", 0.2))
_FLEX = (
    ("berkeley_mvp" + RLDS, 1.0),
    ("gnm_dataset", 1.0),
    ("aloha_static_dataset", 3.0),
    ("aloha_mobile", 2.0),
    ("dobbe", 1.0),
    ("robo_set", 0.5),
    ("rh20t", 0.5),
)
_GNM = ("berkeley_gnm_recon", "berkeley_gnm_cory_hall", "berkeley_gnm_sac_son")
_EGO4D = tuple((f"ego4d_split_{part}", 1.0) for part in (1, 2, 3, 4))


def _with(pairs, without=(), **weights):
    """The pairs with other weights for the sets named, and without some of them."""
    return tuple((name, weights.get(name, w)) for name, w in pairs if name not in without)


_MAGIC_SOUP_PLUS = (*_SOUP, *_PLUS)
_OMNI = (
    *_with((("bridge", 1.0), *_SOUP), ("bridge_data_v2",), fractal20220817_data=0.5, kuka=0.1),
    *_PLUS,
)
_SPATIAL = (
    *_with(_SOUP, kuka=0.4, toto=0.5, berkeley_fanuc_manipulation=0.5),
    *_with(_PLUS, fmb=0.2),
)

MIXTURES = {
    "bridge": (("bridge_data_v2", 1.0),),
    "rt_1": (("fractal20220817_data", 1.0),),
    "bridge_rt_1": (("bridge_data_v2", 1.0), ("fractal20220817_data", 1.0)),
    "rtx": (*_RT_X, (_DOOR, 5.0)),
    "rtx_openvla": _RT_X,
    "rtx_franka": (*_RT_X, (_DOOR, 5.0), *_FRANKA),
    "oxe_magic_soup": (*_SOUP, (_DOOR, 1.0), ("bc_z", 0.2)),
    "oxe_magic_soup_openvla": _SOUP,
    "oxe_magic_soup_plus": (*_MAGIC_SOUP_PLUS, ("droid", 0.06)),
    "oxe_magic_soup_plus_minus": _with(
        _MAGIC_SOUP_PLUS, without=("language_table",), fractal20220817_data=1.0
    ),
    "oxe_flex_act_soup": (*_SOUP, (_DOOR, 1.0), ("bc_z", 0.2), *_FLEX),
    "omni_magic_soup_plus": (*_OMNI, *((name, 1.0) for name in _GNM)),
    "omni_magic_soup_plus_plus": (*_OMNI, *((name, 2.0) for name in _GNM), *_EGO4D),
    "oxe_spatial_vla_plus": (*_SPATIAL, ("droid", 0.06), ("rh20t", 0.015)),
    "oxe_spatial_vla_plus_stage2": (*_SPATIAL, ("rh20t", 0.015)),
}

SOURCES = {
    "bridge": "Octo, OpenVLA",
    "rt_1": "UniVLA",
    "bridge_rt_1": "OpenVLA, UniVLA",
    "rtx": "Octo",
    "rtx_openvla": "OpenVLA's rtx: Octo's without a set that only has a wrist camera",
    "rtx_franka": "Octo. Published with taco_play, berkeley_cable_routing, viola and toto twice "
    "(2, 3, 2, 1 and again 1 each); these are the first weights, with which Octo and OpenVLA train",
    "oxe_magic_soup": "Octo",
    "oxe_magic_soup_openvla": "OpenVLA's oxe_magic_soup: Octo's without a set that only has a "
    "wrist camera and without bc_z",
    "oxe_magic_soup_plus": "OpenVLA",
    "oxe_magic_soup_plus_minus": "OpenVLA",
    "oxe_flex_act_soup": "Octo 1.5. gnm_dataset, aloha_static_dataset and rh20t have no public "
    "folder",
    "omni_magic_soup_plus": "UniVLA, with the old copy of Bridge",
    "omni_magic_soup_plus_plus": "UniVLA, with the old copy of Bridge and people (Ego4D)",
    "oxe_spatial_vla_plus": "SpatialVLA. rh20t has no public folder",
    "oxe_spatial_vla_plus_stage2": "SpatialVLA. rh20t has no public folder",
}

"""lam.plots: figures show every sample unsmoothed, without global state and without overlap."""

import os
import subprocess
import sys
import types

import numpy as np
import pytest

from lam import plots


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def images(figure):
    return [axis.images[0] for axis in figure.axes if axis.images]


def test_reconstructions_have_four_pictures_a_sample(rng):
    first, second, recon = rng.uniform(size=(3, 5, 16, 16, 3))
    figure = plots.reconstructions(first, second, recon, [f"set/domain{i}" for i in range(5)], "T")
    shown = images(figure)
    assert len(shown) == 20
    assert {picture.get_interpolation() for picture in shown} == {"nearest"}
    np.testing.assert_allclose(shown[2].get_array(), recon[0])
    np.testing.assert_allclose(shown[3].get_array(), np.abs(recon[0] - second[0]).mean(axis=-1))


def test_transfers_put_each_decoded_picture_in_its_cell(rng):
    rows, columns = rng.uniform(size=(3, 2, 16, 16, 3)), rng.uniform(size=(4, 16, 16, 3))
    recon = rng.uniform(size=(3, 4, 16, 16, 3))
    figure = plots.transfers(rows, columns, recon, list("abc"), list("defg"), "title")
    assert len(images(figure)) == 4 + 3 * 2 + 3 * 4
    second_row = images(figure)[4 + 6 : 4 + 12]
    np.testing.assert_allclose(second_row[0].get_array(), rows[1, 0])
    np.testing.assert_allclose(second_row[4].get_array(), recon[1, 2])


def test_code_counts_say_how_many_codes_are_used():
    figure = plots.code_counts(np.array([[5, 0, 5, 0], [1, 2, 3, 4]]), "title")
    texts = [axis.texts[0].get_text() for axis in figure.axes]
    assert texts == ["2 of 4 used", "4 of 4 used"]
    heights = [bar.get_height() for bar in figure.axes[0].patches]
    np.testing.assert_allclose(heights, [0.5, 0, 0.5, 0])


def test_displacements_colour_by_domain(rng):
    targets, predictions = rng.normal(size=(2, 30, 2))
    figure = plots.displacements(targets, predictions, np.array(["s/a", "s/b", "s/c"] * 10), "T")
    assert [len(axis.collections) for axis in figure.axes] == [3, 3]
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["a", "b", "c"]
    np.testing.assert_allclose(
        figure.axes[1].collections[0].get_offsets(),
        np.stack([targets[::3, 1], predictions[::3, 1]], axis=1),
    )


def test_flow_colours_of_the_main_directions():
    """On the published wheel of 55 hues; the longest vector has full saturation."""
    flow = np.array([[(2, 0), (0, 2), (-2, 0), (0, -2)], [(0, 0), (1, 0), (np.nan, 0), (-1, 0)]])
    right, down, left, up = plots.flow_to_image(flow)[0].tolist()
    assert right == [255, 0, 0]
    assert left == [0, 209, 255]  # hue 27 of the wheel
    assert down == [255, 229, 0]  # hue 13.5
    assert up == [88, 0, 255]  # hue 40.5
    still, half_right, unknown, half_left = plots.flow_to_image(flow)[1].tolist()
    assert still == [255, 255, 255]
    assert half_right == [255, 127, 127]
    assert half_left == [127, 232, 255]
    assert unknown == [0, 0, 0]
    assert plots.flow_to_image(flow, largest=4.0)[0, 0].tolist() == half_right
    assert plots.flow_to_image(flow, largest=1.0)[0, 0].tolist() == right


def test_every_flow_of_a_batch_has_its_own_scale(rng):
    flow = rng.normal(size=(3, 6, 5, 2)) * np.array([1, 10, 0])[:, None, None, None]
    together = plots.flow_to_image(flow)
    for one, picture in zip(flow, together, strict=True):
        np.testing.assert_array_equal(plots.flow_to_image(one), picture)
    assert (together[2] == 255).all()


@pytest.mark.oracle
@pytest.mark.skipif(not os.environ.get("LAM_ORACLES"), reason="launch/test.sh --oracles")
def test_flow_to_image_against_torchvision(real_data):
    torch = pytest.importorskip("torch")
    # its compiled part looks for CUDA libraries
    sys.modules.setdefault("torchvision._meta_registrations", types.ModuleType("stub"))
    from torchvision import utils

    for flow in np.load(real_data / "flow" / "synthetic_warps_192.npz")["flow"].astype(np.float32):
        theirs = utils.flow_to_image(torch.tensor(flow).permute(2, 0, 1)).permute(1, 2, 0).numpy()
        difference = plots.flow_to_image(flow).astype(int) - theirs
        assert np.abs(difference).max() <= 1


def test_flows_show_frames_colours_and_arrows(rng):
    first, second = rng.uniform(size=(2, 2, 24, 36, 3))
    flow = rng.normal(size=(2, 24, 36, 2)).astype(np.float32)
    figure = plots.flows(first, second, flow, ["a", "b"], "title", spacing=6)
    shown = images(figure)
    assert len(shown) == 8
    np.testing.assert_allclose(shown[2].get_array(), plots.flow_to_image(flow[0]) / 255)
    arrows = figure.axes[3].collections[0]
    assert arrows.N == 4 * 6
    np.testing.assert_allclose(arrows.U.reshape(4, 6), flow[0, 3::6, 3::6, 0])
    np.testing.assert_allclose(arrows.V.reshape(4, 6), flow[0, 3::6, 3::6, 1])
    assert (arrows.X[0], arrows.Y[0], arrows.scale, arrows.angles) == (3, 3, 1, "xy")
    assert figure.axes[2].get_ylabel().endswith("px")


def test_titles_and_labels_do_not_overlap(rng):
    labels = ["set/a_long_name_of_a_domain"] * 4
    rows, columns = rng.uniform(size=(4, 2, 8, 8, 3)), rng.uniform(size=(4, 8, 8, 3))
    recon = rng.uniform(size=(4, 4, 8, 8, 3))
    for figure in (
        plots.transfers(rows, columns, recon, labels, labels, "title"),
        plots.reconstructions(columns, columns, recon[0], labels, "title"),
    ):
        plots.to_array(figure)
        texts = [
            t for axis in figure.axes for t in (axis.title, axis._left_title, axis.yaxis.label)
        ]
        boxes = [t.get_window_extent() for t in texts if t.get_text()]
        pairs = [(a, b) for i, a in enumerate(boxes) for b in boxes[i + 1 :]]
        assert not any(a.overlaps(b) for a, b in pairs)


def test_to_array_is_the_saved_picture(rng, tmp_path):
    figure = plots.code_counts(np.array([[1, 2]]), "title")
    pixels = plots.to_array(figure)
    assert pixels.dtype == np.uint8
    assert pixels.shape[2] == 3
    assert pixels.min() < 100 < 200 < pixels.max()
    plots.save(figure, tmp_path / "figure.png")
    assert (tmp_path / "figure.png").read_bytes().startswith(b"\x89PNG")


def test_the_same_figure_gives_the_same_bytes(rng, tmp_path):
    """Drawn and saved twice, as PNG and as SVG; constrained layout and clipped lines included."""
    points = rng.normal(size=(2, 40, 2))
    for kind in ("png", "svg"):
        files = [tmp_path / f"{number}.{kind}" for number in range(2)]
        for file in files:
            plots.save(plots.displacements(*points, np.array(["s/a", "s/b"] * 20), "T"), file)
        assert files[0].read_bytes() == files[1].read_bytes()
    assert b"<dc:date>" not in files[0].read_bytes()
    assert b"<svg" in files[0].read_bytes()


def test_a_domain_has_one_colour_and_mark_whatever_is_shown():
    names = [f"set/{letter}" for letter in "dacbefghijk"]
    assert [plots.colour_of(name, names) for name in sorted(names)[:7]] == list(plots.COLOURS)
    assert plots.colour_of("set/c", names) == plots.colour_of("set/c", names[::-1] + names)
    pairs = {(plots.colour_of(name, names), plots.mark_of(name, names)) for name in names}
    assert len(pairs) == len(names)
    figure = plots.Figure()
    plots.name_legend(figure, names, shown=["set/c"])
    handle = figure.legends[0].legend_handles[0]
    assert handle.get_color() == plots.colour_of("set/c", names)
    assert handle.get_marker() == plots.mark_of("set/c", names)


def test_directions_have_the_hues_of_flow(rng):
    flow = rng.normal(size=(3, 4, 2))
    flow[0, 0] = (9, 0)
    drawn = plots.flow_to_image(flow) / 255
    np.testing.assert_allclose(plots.direction_colour(flow, largest=9), drawn, atol=1 / 255)
    np.testing.assert_allclose(plots.direction_colour([0.001, 0.0]), [1, 0, 0], atol=1e-9)
    for nothing in ((0, 0), (np.nan, 1)):
        assert plots.direction_colour(nothing).tolist() == [0.6, 0.6, 0.6]
    axis = plots.direction_wheel(plots.Figure().subplots())
    places, colours = axis.collections[0].get_offsets(), axis.collections[0].get_facecolors()
    np.testing.assert_allclose(colours[:, :3], plots.direction_colour(places))
    assert axis.yaxis_inverted()


def test_drawing_leaves_pyplot_alone():
    program = "import sys; from lam import plots; print('matplotlib.pyplot' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.stdout.strip() == "False", done.stderr

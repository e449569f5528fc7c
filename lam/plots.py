"""Everything that is drawn: numbers in, a matplotlib Figure out, no global state.

N samples, D dims, H W pixels, C colours (float [0, 1]), L token positions, K codes, R rows and
Q columns of a grid. Pixels are never smoothed. A flow field is [H,W,2], (dx, dy) in pixels.

The style: a domain has one colour and one mark in all figures of a report (`colour_of`, `mark_of`;
Okabe and Ito's colours, which colour-blind eyes tell apart); a direction has the hue that it has in
`flow_to_image` (`direction_colour`); figures are WIDTH inches wide or a little more, so that their
letters can be read in one column.
"""

import matplotlib
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

CELL = 1.05  # inches, one picture of a grid
WIDTH = 4.5  # inches, a figure for one column
STYLE = {"font.size": 8, "axes.titlesize": 8, "axes.labelsize": 8, "legend.fontsize": 7}
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
MARKERS = "osD^vP*X"
# hues between red, yellow, green, cyan, blue, magenta and red, and which colour rises or falls
WHEEL = ((15, 1, True), (6, 0, False), (4, 2, True), (11, 1, False), (13, 0, True), (6, 2, False))


def save(figure, path):
    """Writes a figure as PNG at 150 dots an inch or as SVG, by the suffix of the path.

    The same figure gives the same bytes: no date, and no random names inside the SVG.
    """
    vector = str(path).endswith(".svg")
    with matplotlib.rc_context({**STYLE, "svg.hashsalt": "lam"}):
        figure.savefig(path, dpi=150, metadata={"Date": None} if vector else None)


def to_array(figure, dpi=100):
    """A figure as uint8 [H, W, 3], for event files."""
    figure.set_dpi(dpi)
    canvas = FigureCanvasAgg(figure)
    with matplotlib.rc_context(STYLE):
        canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3].copy()


def reconstructions(first_NHWC, second_NHWC, recon_NHWC, labels_N, title):
    """A row for each sample: frame 1, frame 2, reconstruction, absolute error (mean of colours)."""
    error_NHW = np.abs(recon_NHWC - second_NHWC).mean(axis=-1)
    heads = ("frame 1", "frame 2", "reconstruction", "|error|")
    with matplotlib.rc_context(STYLE):
        figure, axes = grid(len(first_NHWC), 4, title)
        for row, pictures in enumerate(zip(first_NHWC, second_NHWC, recon_NHWC, strict=True)):
            for axis, picture in zip(axes[row], pictures, strict=False):
                show(axis, picture)
            shown = show(axes[row, 3], error_NHW[row], cmap="magma", vmin=0.0, vmax=0.25)
            label_row(axes[row, 0], labels_N[row])
        for axis, head in zip(axes[0], heads, strict=True):
            axis.set_title(head)
        bar = figure.colorbar(shown, ax=axes[:, 3], ticks=(0, 0.1, 0.2), fraction=0.08, pad=0.05)
        bar.outline.set_linewidth(0.5)
    return figure


def transfers(rows_RTHWC, columns_QHWC, recon_RQHWC, row_labels, column_labels, title):
    """Tokens of the row's pair (its frames on the left) applied to the column's frame (on top)."""
    with matplotlib.rc_context(STYLE):
        figure, axes = grid(len(rows_RTHWC) + 1, len(columns_QHWC) + 2, title, gap=0.25)
        for axis in axes[0, :2]:
            axis.axis("off")
        for axis, picture, label in zip(axes[0, 2:], columns_QHWC, column_labels, strict=True):
            _margin(show(axis, picture).axes)
            axis.set_title(f"{short(label)}\nframe 1")
        for row, frames_THWC in enumerate(rows_RTHWC):
            _margin(show(axes[row + 1, 0], frames_THWC[0]).axes)
            _margin(show(axes[row + 1, 1], frames_THWC[-1]).axes)
            label_row(axes[row + 1, 0], row_labels[row])
            for axis, picture in zip(axes[row + 1, 2:], recon_RQHWC[row], strict=True):
                show(axis, picture)
        axes[1, 0].set_title("frame 1")
        axes[1, 1].set_title("frame 2")
        axes[1, 2].set_title("column's frame 1 + row's tokens", loc="left")
    return figure


def code_counts(counts_LK, title):
    """A panel for each token position: the share of samples with each code."""
    share_LK = counts_LK / np.maximum(counts_LK.sum(axis=1, keepdims=True), 1)
    num_codes = share_LK.shape[1]
    with matplotlib.rc_context(STYLE):
        figure = Figure((4.5, 0.6 + 0.75 * len(share_LK)), layout="constrained")
        axes = figure.subplots(len(share_LK), 1, sharex=True, sharey=True, squeeze=False)[:, 0]
        for position, (axis, share_K) in enumerate(zip(axes, share_LK, strict=True)):
            axis.bar(
                np.arange(num_codes),
                share_K,
                width=0.85 if num_codes <= 64 else 1.0,
                color=COLOURS[0],
            )
            axis.axhline(1 / num_codes, color="0.4", linewidth=0.7, linestyle="--")
            used = int((share_K > 0).sum())
            axis.set_ylabel(f"token {position}")
            axis.text(
                0.995,
                0.93,
                f"{used} of {num_codes} used",
                transform=axis.transAxes,
                ha="right",
                va="top",
                fontsize=7,
            )
            axis.set_ylim(0, 1.3 * max(share_LK.max(), 1 / num_codes))
            axis.spines[["top", "right"]].set_visible(False)
        axes[-1].set_xlabel("code (dashed: all codes equally often)")
        axes[0].set_title(f"Share of samples with each code, {title}")
    return figure


def displacements(targets_ND, predictions_ND, domains_N, title):
    """Predicted against true displacement, one panel for each dim, coloured by domain."""
    domains = np.unique(domains_N)
    with matplotlib.rc_context(STYLE):
        dims = targets_ND.shape[1]
        figure = Figure((2.6 * dims + 0.2, 3.2), layout="constrained")
        axes = figure.subplots(1, dims, squeeze=False)[0]
        for dim, axis in enumerate(axes):
            for number, domain in enumerate(domains):
                here = domains_N == domain
                points = targets_ND[here, dim], predictions_ND[here, dim]
                dots(axis, points, number, short(domain))
            axis.axline((0, 0), slope=1, color="0.4", linewidth=0.7, linestyle="--")
            axis.set_xlabel(f"true displacement, dim {dim}")
            axis.spines[["top", "right"]].set_visible(False)
        axes[0].set_ylabel("predicted from the tokens")
        figure.suptitle(f"Unseen scenes, {title}", fontsize=9)
        handles, labels = axes[0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=3, frameon=False)
    return figure


def flow_to_image(flow, largest=None):
    """Flow fields as colours: the hue is the direction, the saturation the length (Middlebury).

    Args:
      flow: float [..., H, W, 2], pixels; what is not finite is drawn black.
      largest: length of full saturation in pixels; None takes the longest of each field.

    Returns:
      uint8 [..., H, W, 3]; no motion is white, right red, down yellow, left cyan, up violet.
    """
    flow = np.asarray(flow, np.float32)
    known = np.isfinite(flow).all(axis=-1)
    flow = np.where(known[..., None], flow, 0)
    if largest is None:
        largest = np.linalg.norm(flow, axis=-1).max(axis=(-2, -1), keepdims=True)[..., None]
    flow = flow / (largest + np.finfo(np.float32).eps)
    radius = np.minimum(np.linalg.norm(flow, axis=-1), 1)[..., None]
    colours = np.floor(255 * (1 - radius * (1 - _hue(flow)))).astype(np.uint8)
    return np.where(known[..., None], colours, np.uint8(0))


def direction_colour(vectors, largest=None):
    """Colours of directions, the hues of `flow_to_image`: right red, down yellow, left cyan.

    Args:
      vectors: float [..., 2], (dx, dy), y down.
      largest: length of full saturation; None gives every direction its full hue.

    Returns:
      float64 [..., 3] in [0, 1]; grey where there is no direction (not finite, or length 0).
    """
    vectors = np.asarray(vectors, np.float64)
    length = np.linalg.norm(vectors, axis=-1, keepdims=True)
    known = np.isfinite(length) & (length > 0)
    radius = np.ones_like(length) if largest is None else np.minimum(length / largest, 1)
    return np.where(known, 1 - radius * (1 - _hue(np.where(known, vectors, 0))), 0.6)


def direction_wheel(axis):
    """Draws the key of `direction_colour`: a ring of hues, right at the right, down below."""
    angle = np.linspace(0, 2 * np.pi, 721)
    x, y = np.cos(angle), np.sin(angle)
    colours = direction_colour(np.stack([x, y], axis=1))
    axis.scatter(x, y, s=16, c=colours, linewidth=0)
    axis.set(xlim=(-1.35, 1.35), ylim=(1.35, -1.35), xticks=[], yticks=[], aspect="equal")
    axis.spines[:].set_visible(False)
    axis.patch.set_alpha(0)
    return axis


def _hue(vectors):
    """Hues of directions [..., 2] by the colour wheel: float64 [..., 3] in [0, 1]."""
    wheel = _colour_wheel()
    place = (np.arctan2(-vectors[..., 1], -vectors[..., 0]) / np.pi + 1) / 2 * (len(wheel) - 1)
    below = np.floor(place).astype(int)
    share = (place - below)[..., None]
    return (1 - share) * wheel[below] + share * wheel[(below + 1) % len(wheel)]


def flows(first_NHWC, second_NHWC, flow_NHW2, labels_N, title, spacing=0):
    """A row for each sample: frame 1, frame 2, flow in colours, flow as arrows over frame 1.

    Arrows are in true length, one every `spacing` pixels (0: twelve a side); the colours of a row
    are scaled to its longest vector, whose length stands beside it.
    """
    heads = ("frame 1", "frame 2", "flow", "arrows")
    with matplotlib.rc_context(STYLE):
        figure, axes = grid(len(first_NHWC), 4, title)
        rows = zip(first_NHWC, second_NHWC, flow_NHW2, strict=True)
        for row, (first, second, flow) in enumerate(rows):
            for axis, picture in zip(
                axes[row], (first, second, flow_to_image(flow) / 255, first), strict=True
            ):
                show(axis, picture)
            _arrows(axes[row, 3], flow, spacing or max(1, max(flow.shape) // 12))
            axes[row, 2].set_ylabel(f"{np.linalg.norm(flow, axis=-1).max():.1f} px", fontsize=7)
            label_row(axes[row, 0], labels_N[row])
        for axis, head in zip(axes[0], heads, strict=True):
            axis.set_title(head)
    return figure


def _arrows(axis, flow, spacing):
    """Arrows from every `spacing`-th pixel to where it goes, on an axis that shows the frame."""
    y, x = np.mgrid[spacing // 2 : flow.shape[0] : spacing, spacing // 2 : flow.shape[1] : spacing]
    axis.quiver(
        *(x, y, *np.moveaxis(flow[y, x], -1, 0)),
        angles="xy",
        scale_units="xy",
        scale=1,
        width=0.012,
        color=COLOURS[4],
    )


def _colour_wheel():
    """The 55 hues of the Middlebury flow colours: float64 [55, 3] in [0, 1]."""
    colour, parts = np.array([1.0, 0.0, 0.0]), []
    for count, channel, rises in WHEEL:
        part = np.tile(colour, (count, 1))
        step = np.floor(255 * np.arange(count) / count) / 255
        part[:, channel] = step if rises else 1 - step
        colour[channel] = float(rises)
        parts.append(part)
    return np.concatenate(parts)


def grid(rows, columns, title, gap=0.08):
    """A figure of `rows` x `columns` square cells without ticks; axes is an array [R, Q]."""
    figure = Figure((CELL * columns + 0.6, CELL * rows + 0.6), layout="constrained")
    figure.get_layout_engine().set(w_pad=0.02, h_pad=0.02, wspace=0.02, hspace=0.02)
    axes = figure.subplots(rows, columns, squeeze=False)
    for axis in axes.flat:
        axis.set(xticks=[], yticks=[])
        axis.spines[:].set_visible(False)
    figure.suptitle(title, fontsize=9)
    return figure, axes


def show(axis, picture, **options):
    shown = picture if picture.ndim == 2 else np.clip(picture, 0.0, 1.0)
    return axis.imshow(shown, interpolation="nearest", **options)


def place_of(name, names):
    """Number of a name among all names of a report, in the order of the alphabet.

    Give the names of all domains of the report, not of those that a figure shows.
    """
    return sorted({str(one) for one in names}).index(str(name))


def colour_of(name, names):
    """The colour of a domain in every figure of a report, "#rrggbb"; `names` as in `place_of`."""
    return COLOURS[place_of(name, names) % len(COLOURS)]


def mark_of(name, names):
    """The mark of a domain, a matplotlib marker; with its colour it tells 56 domains apart."""
    return MARKERS[place_of(name, names) % len(MARKERS)]


def name_legend(figure, names, shown=None, columns=4):
    """The key of colours and marks below a figure, for `shown` or all of `names`."""
    handles = [
        Line2D([], [], color=colour_of(name, names), marker=mark_of(name, names), linestyle="",
               markersize=4, label=short(name, most=20))
        for name in (names if shown is None else shown)
    ]  # fmt: skip
    figure.legend(handles=handles, loc="outside lower center", ncols=columns, frameon=False)


def dots(axis, points, number, label):
    """Points (x_N, y_N) in the colour and with the mark of kind `number`."""
    colour, marker = COLOURS[number % len(COLOURS)], MARKERS[number % len(MARKERS)]
    axis.scatter(*points, s=8, alpha=0.65, linewidth=0, color=colour, marker=marker, label=label)


def _margin(axis):
    """A frame around the pictures that are given, not made."""
    axis.spines[:].set(visible=True, color=COLOURS[0], linewidth=1.5)


def label_row(axis, label):
    axis.set_ylabel(short(label), fontsize=7)


def last(label):
    """The last part of "dataset/domain"."""
    return str(label).rsplit("/", 1)[-1]


def short(label, most=14):
    """The last part of "dataset/domain", cut to fit a cell."""
    name = last(label)
    return name if len(name) <= most else name[: most - 1] + "…"

"""Drawings of motions by token and domain, in the style of `lam.plots`: numbers in, a Figure out.

N samples, L token positions, T kinds (tokens or sequences), G domains. x right, y down; motions are
float [..., 2], (dx, dy). A direction has its hue of the colour wheel, a domain its colour and mark.
"""

import matplotlib
import numpy as np
from matplotlib import patheffects
from matplotlib.figure import Figure

from lam import plots
from lam.plots import STYLE, WIDTH, short

DRAWN = 2000  # points of a panel
SHADES = "cividis"
OUTLINE = (patheffects.withStroke(linewidth=1.8, foreground="white"),)


def scatter(motion_N2, kind_NL, names_L, title, unit, shown_N):
    """Motions of samples, a panel for each position, a token in the hue of its mean direction.

    Args:
      kind_NL: int, 0..T-1.
      names_L: for each position, the names of its T kinds.
      shown_N: bool, samples that are drawn; hues are of all.
    """
    length = kind_NL.shape[1]
    chosen = np.flatnonzero(shown_N)
    chosen = chosen[np.linspace(0, len(chosen) - 1, min(DRAWN, len(chosen))).astype(int)]
    reach = 1.1 * max(np.quantile(np.abs(motion_N2[shown_N]), 0.99), 1e-6)
    with matplotlib.rc_context(STYLE):
        columns = min(2, length)
        rows = -(-length // columns)
        figure = Figure((2.15 * columns + 0.3, 2.05 * rows + 0.5), layout="constrained")
        axes = figure.subplots(rows, columns, squeeze=False, sharex=True, sharey=True).flatten()
        for place in range(length):
            _hues(axes[place], motion_N2, kind_NL[:, place], names_L[place], chosen, shown_N)
            axes[place].set_title(f"position {place}")
            axes[place].set(xlim=(-reach, reach), ylim=(reach, -reach), aspect="equal")
            axes[place].tick_params(labelsize=7)
        for axis in axes[length:]:
            axis.axis("off")
        figure.supxlabel(f"motion to the right, {unit}", fontsize=8)
        figure.supylabel("motion down", fontsize=8)
        figure.suptitle(short(title, 60), fontsize=9)
        _wheel(axes[0])
    return figure


def bars(panels, title, label, limits=None):
    """Numbers with their interval, and what they are by chance, a panel for each group.

    Args:
      panels: {group: {row: (value, low, high, null)}}; what is NaN is left out.
      limits: of the axis; None is chosen by the numbers.
    """
    names = list(dict.fromkeys(name for rows in panels.values() for name in rows))
    with matplotlib.rc_context(STYLE):
        sizes = [len(rows) for rows in panels.values()]
        height = 0.75 + sum(0.3 + 0.19 * size for size in sizes)
        figure = Figure((WIDTH - 0.5, height), layout="constrained")
        axes = figure.subplots(
            len(panels), 1, sharex=True, squeeze=False, height_ratios=sizes
        )[:, 0]  # fmt: skip
        for axis, (group, rows) in zip(axes, panels.items(), strict=True):
            for place, (name, (value, low, high, null)) in enumerate(rows.items()):
                colour = plots.COLOURS[names.index(name) % len(plots.COLOURS)]
                if np.isfinite([low, high]).all():
                    axis.plot([low, high], [place, place], color=colour, linewidth=1.4)
                axis.plot([value], [place], "o", color=colour, markersize=4)
                axis.plot([null], [place], "|", color="0.35", markersize=9, markeredgewidth=1.4)
            axis.set_yticks(range(len(rows)), list(rows))
            axis.set_ylim(len(rows) - 0.5, -0.5)
            axis.set_title(short(group, 40), loc="left", pad=2)
            axis.axvline(0, color="0.6", linewidth=0.6)
            axis.spines[["top", "right"]].set_visible(False)
        if limits:
            axes[0].set_xlim(limits)
        axes[-1].set_xlabel(f"{label}\n(bar: 95 % interval; grey tick: by chance)")
        figure.suptitle(title, fontsize=9)
    return figure


def directions(angle_TG, clear_TG, panels, names_G, all_names, title):
    """Mean direction of each token in each domain, a panel for each position.

    Args:
      angle_TG: degrees; NaN is not drawn.
      clear_TG: 0..1, how clear a direction is; the size of the mark.
      panels: {title: (index of its kinds, their names)}.
    """
    with matplotlib.rc_context(STYLE):
        figure = Figure((WIDTH, 0.8 + 1.3 * len(panels)), layout="constrained")
        axes = figure.subplots(len(panels), 1, squeeze=False, sharey=True)[:, 0]
        for axis, (head, (index, names)) in zip(axes, panels.items(), strict=True):
            for number, domain in enumerate(names_G):
                shift = 0.5 * ((number + 0.5) / len(names_G) - 0.5)
                angle, clear = angle_TG[index, number], clear_TG[index, number]
                some = np.isfinite(angle)
                axis.scatter(
                    np.flatnonzero(some) + shift, angle[some],
                    s=4 + 26 * np.clip(clear[some], 0, 1), linewidth=0, alpha=0.9, clip_on=False,
                    color=plots.colour_of(domain, all_names),
                    marker=plots.mark_of(domain, all_names),
                )  # fmt: skip
            axis.set_xticks(range(len(names)), names, **_slanted(names))
            axis.set(xlim=(-0.6, len(names) - 0.4), ylim=(190, -190))
            axis.set_yticks((-180, -90, 0, 90, 180), ("left", "up", "right", "down", "left"))
            for place in range(len(names) - 1):
                axis.axvline(place + 0.5, color="0.88", linewidth=0.6)
            axis.set_title(head, loc="left", pad=2)
            axis.spines[["top", "right"]].set_visible(False)
        plots.name_legend(figure, all_names, names_G)
        figure.suptitle(title, fontsize=9)
    return figure


def usage(panels, samples_G, names_G, title):
    """How often each domain uses each token, counts and percentages of the domain's samples.

    Args:
      panels: {title: (counts_TG, names of the T)}.
      samples_G: of each domain, of any token.
    """
    many = len(names_G) > 4
    columns = 1 if many or len(panels) == 1 else 2
    with matplotlib.rc_context(STYLE):
        rows = -(-len(panels) // columns)
        tallest = max(len(names) for _, names in panels.values())
        width = max(1.7, 0.5 + 0.48 * len(names_G))
        size = max(3.5, columns * width + 0.4), 0.9 + rows * (0.75 + 0.29 * tallest)
        figure = Figure(size, layout="constrained")
        axes = figure.subplots(rows, columns, squeeze=False).flatten()
        for axis, (head, (counts_TG, names)) in zip(axes, panels.items(), strict=False):
            share_TG = counts_TG / np.maximum(samples_G, 1)
            most = max(share_TG.max(initial=0), 1e-9)
            shown = axis.imshow(share_TG, cmap=f"{SHADES}_r", vmin=0, vmax=most, aspect="auto")
            for (row, column), share in np.ndenumerate(share_TG):
                text = f"{counts_TG[row, column]:d}\n{100 * share:.0f} %"
                _write(axis, column, row, text, share > most / 2)
            axis.set_xticks(range(len(names_G)), [short(name) for name in names_G])
            axis.tick_params(axis="x", rotation=25, labelsize=7)
            axis.set_yticks(range(len(names)), names)
            axis.set_title(head, pad=3)
            axis.spines[:].set_visible(False)
        for axis in axes[len(panels) :]:
            axis.axis("off")
        bar = figure.colorbar(shown, ax=list(axes), location="bottom", fraction=0.03, ticks=())
        bar.set_label("share of the domain's samples (the darker the more)", fontsize=7)
        bar.outline.set_linewidth(0.5)
        figure.suptitle(title, fontsize=9)
    return figure


def compass(mean_TG2, names_T, names_G, all_names, title, unit):
    """Mean motion of each token in each domain as arrows from the centre, a cell for each token.

    Args:
      mean_TG2: float, NaN where a domain has too few samples.
    """
    length_TG = np.linalg.norm(mean_TG2, axis=-1)
    reach = max(np.max(length_TG, initial=1e-6, where=np.isfinite(length_TG)), 1e-6)
    with matplotlib.rc_context(STYLE):
        columns = min(4, max(len(names_T), 2))
        rows = -(-len(names_T) // columns)
        figure = Figure((1.08 * columns + 0.2, 1.25 * rows + 0.7), layout="constrained")
        axes = figure.subplots(rows, columns, squeeze=False).flatten()
        turn = np.linspace(0, 2 * np.pi, 121)
        for place, axis in enumerate(axes):
            axis.set(xticks=[], yticks=[], aspect="equal")
            axis.spines[:].set_visible(False)
            if place >= len(names_T):
                continue
            for ring in (0.5, 1.0):
                axis.plot(ring * np.cos(turn), ring * np.sin(turn), color="0.85", linewidth=0.6)
            for number, domain in enumerate(names_G):
                mean_2 = mean_TG2[place, number] / reach
                if np.isfinite(mean_2).all():
                    _arrow(axis, mean_2, plots.colour_of(domain, all_names))
            if not np.isfinite(mean_TG2[place]).any():
                axis.text(0, 0.25, "too few\nsamples", ha="center", va="center", fontsize=7)
            axis.plot(0, 0, ".", color="0.3", markersize=2)
            axis.set(xlim=(-1.15, 1.15), ylim=(1.15, -1.15))
            axis.set_title(names_T[place], pad=1)
        figure.suptitle(f"{title}\nouter ring: {reach:.2g} {unit}", fontsize=8)
        plots.name_legend(figure, all_names, names_G)
    return figure


def _arrow(axis, tip_2, colour):
    arrow = {"arrowstyle": "-|>", "color": colour, "linewidth": 1.3, "shrinkA": 0, "shrinkB": 0,
             "mutation_scale": 7}  # fmt: skip
    axis.annotate("", tip_2, (0, 0), arrowprops=arrow)


def _hues(axis, motion_N2, kind_N, names, chosen, shown_N):
    """Points of one position and the number of each token at its mean among those shown."""
    colour_N3 = np.full((len(kind_N), 3), 0.75)
    for kind in range(len(names)):
        here_N = kind_N == kind
        if here_N.any() and names[kind] != "other":
            colour_N3[here_N] = plots.direction_colour(motion_N2[here_N].mean(axis=0))
    axis.scatter(*motion_N2[chosen].T, s=4, c=colour_N3[chosen], linewidth=0, alpha=0.7)
    axis.axhline(0, color="0.7", linewidth=0.5, zorder=0)
    axis.axvline(0, color="0.7", linewidth=0.5, zorder=0)
    axis.spines[["top", "right"]].set_visible(False)
    if len(names) <= 16:
        for kind, name in enumerate(names):
            here_N = (kind_N == kind) & shown_N
            if here_N.any():
                axis.text(
                    *motion_N2[here_N].mean(axis=0), name, ha="center", va="center", fontsize=8,
                    weight="bold", path_effects=OUTLINE,
                )  # fmt: skip


def _wheel(axis):
    """The key of hues in the lower right corner of a panel."""
    plots.direction_wheel(axis.inset_axes((0.8, 0.0, 0.2, 0.2)))


def _write(axis, x, y, text, dark):
    axis.text(
        x, y, text, ha="center", va="center", fontsize=7, linespacing=0.95,
        color="white" if dark else "black",
    )  # fmt: skip


def _slanted(names):
    """Long names of ticks stand slanted."""
    long = max((len(name) for name in names), default=0) > 3
    return {"rotation": 45, "ha": "right"} if long else {}

"""Several models in one table, beside controls made of their own records.

The same analyses run on other tokens: those of other episodes ("shuffled"), those of the model
before training ("untrained"), and the kinds of the true motion itself ("k-means of the motion"),
the most that as many codes can tell. N samples, L token positions, K codes.
"""

import dataclasses
import json
import pathlib

import numpy as np

from analysis.tokens import inspected, markup, records, report
from analysis.tokens.analyses import ANALYSES
from analysis.tokens.result import to_json, write_table
from lam.errors import UserError
from lam.ops import draws
from lam.ops.cluster import kmeans
from lam.workdir import write_whole

NUMBERS = ("flow_scatter", "consistency", "heatmap", "compass", "disentanglement", "magnitude")
UNTRAINED = "tokens_random"  # column with the tokens of the model before training
COLUMNS = ("analysis", "model", "tokens", "value", "unit", "low", "high", "by_chance", "p")


def write(folders, out, options, names=NUMBERS):
    """Writes compare.csv, compare.json and compare.html.

    Args:
      folders: of token analyses, each with records.parquet and summary.json.
      out: folder for the table, made if it is not there.
      options: of the analyses of controls; inspected sequences are chosen anew for each.
      names: the analyses that controls are asked, those that need only numbers.

    Raises:
      UserError: a folder that is no token analysis.
    """
    found = [(folder, *read(folder)) for folder in map(pathlib.Path, folders)]
    rows, missing = [], []
    for folder, said, of in found:
        model = of.about.run if _alone(of.about.run, found) else folder.name
        rows += [
            row_of(name, model, "its own", one["headline"])
            for name, one in said["analyses"].items()
        ]
        controls, unknown = controls_of(of, options.seed)
        missing += [f"{model}: {sentence}" for sentence in unknown]
        for tokens, control in controls.items():
            own = dataclasses.replace(options, inspected=_chosen(control, options))
            for name in names:
                headline = ANALYSES[name](control, own).headline
                rows.append(row_of(name, model, tokens, headline and dataclasses.asdict(headline)))
    order = [*ANALYSES, *sorted({row["analysis"] for row in rows} - set(ANALYSES))]
    rows.sort(key=lambda row: order.index(row["analysis"]))
    out = pathlib.Path(out)
    out.mkdir(parents=True, exist_ok=True)
    write_table(out / "compare.csv", rows)
    write_whole(out / "compare.json", to_json({"rows": rows, "missing": missing}))
    write_whole(out / "compare.html", html(rows, missing))


def read(folder):
    """(summary, Records) of a folder; UserError where it has none."""
    path = folder / "summary.json"
    if not path.exists():
        raise UserError(f"{folder} has no summary.json: analyse it first with --out={folder}")
    return json.loads(path.read_text()), records.read(folder)


def _alone(name, found):
    return sum(of.about.run == name for _, _, of in found) == 1


def _chosen(control, options):
    rows = inspected.choose(control, max(len(options.inspected), 8), options.support)
    return inspected.sequences(rows)


def row_of(analysis, model, tokens, headline):
    """A row of the table; None, where there is no number, becomes a dash."""
    found = headline or {}
    values = (found.get(key) for key in ("value", "unit", "low", "high", "null", "p"))
    return dict(zip(COLUMNS, (analysis, model, tokens, *values), strict=True))


def controls_of(of, seed):
    """({name: Records with other tokens}, what cannot be made, sentences)."""
    columns, missing = of.columns, []
    index_N = draws.permutations(of.episode_N, of.domain_N, columns["step"], 1, seed)[0]
    found = {"shuffled": of.tokens_NL[index_N]}
    if UNTRAINED in columns:
        found["untrained"] = columns[UNTRAINED]
    else:
        missing.append("its records have no tokens of an untrained model.")
    try:
        found["k-means of the motion"] = motion_kinds(of, seed)
    except UserError as error:
        missing.append(str(error))
    return {name: _with(of, tokens_NL) for name, tokens_NL in found.items()}, missing


def motion_kinds(of, seed):
    """Tokens that are the kind of the true motion, K kinds, the same at every position.

    Returns:
      int32 [N, L]; samples of unknown flow have code 0.

    Raises:
      UserError: fewer than K samples whose flow is known.
    """
    known_N, codes = of.known_N, of.about.num_codes
    if known_N.sum() < codes:
        raise UserError(f"{known_N.sum()} samples with known flow are too few for {codes} kinds.")
    kind_N = np.zeros(len(of), np.int32)
    kind_N[known_N] = kmeans(of.motion_N2[known_N], codes, seed)[0]
    return np.tile(kind_N[:, None], (1, of.tokens_NL.shape[1]))


def _with(of, tokens_NL):
    """The records with other tokens; pictures were decoded from the old ones, so without them."""
    return dataclasses.replace(of, columns=of.columns | {"tokens": tokens_NL}, pictures={})


def html(rows, missing):
    """The page of the table."""
    models = sorted({row["model"] for row in rows})
    plain = [row | {"unit": row["unit"] or ""} for row in rows]
    cards = "".join(
        markup.tag("section",
            markup.tag("h2", markup.escape(report.title_of(name)), id=name),
            *(_bar(row) for row in plain if row["analysis"] == name),
            class_="card", aria_labelledby=name)
        for name in dict.fromkeys(row["analysis"] for row in rows)
    )  # fmt: skip
    notes = "".join(markup.tag("li", markup.escape(sentence)) for sentence in missing)
    table = markup.table(plain, "All headline numbers", file="compare.csv")
    return markup.page(
        title="Token analyses compared",
        heading="Token analyses compared",
        kicker=markup.escape(", ".join(models)),
        lead="The headline numbers of each model, beside the same analyses of other tokens: "
        "shuffled between episodes, of the model before training, and k-means of the true motion, "
        "the ceiling for as many codes.",
        facts="",
        filters="",
        body=markup.tag("section", markup.tag("h2", "All numbers"), table,
                        markup.tag("ul", notes) if notes else "", class_="card") + cards,
        footer="All of this is in compare.csv and compare.json.",
    )  # fmt: skip


def _bar(row):
    name = f"{row['model']}, {row['tokens']}"
    estimate = {key: row[key] for key in ("value", "low", "high", "p", "unit")}
    return markup.tag("h3", markup.escape(name)) + report.headline(
        estimate | {"null": row["by_chance"]}
    )

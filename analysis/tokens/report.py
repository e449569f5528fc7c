"""One verdict: `summary.json` and `report.html` from what the analyses left in a folder.

The page is one file: pictures are inside, nothing is fetched, it opens from a disk.
"""

import csv
import dataclasses
import json
import math
import pathlib
import re

import numpy as np

from analysis.tokens import markup
from analysis.tokens.markup import escape, number, tag
from analysis.tokens.result import to_json
from lam import plots
from lam.ops import stats
from lam.workdir import write_whole

HEADING = "Do action tokens mean the same motion everywhere?"
LEVEL = 0.05  # false discovery rate over the headline numbers
BUDGET = 14 * 2**20  # bytes of the page's pictures
SIZES = ((1500, 87), (1100, 82), (800, 75), (560, 65))  # widths and qualities, tried in turn
ANSWERS = ("consistency", "cross_robot")  # whose reading is the answer to HEADING
# {analysis: (table, column, what it says)} of numbers by domain
BY_DOMAIN = {"consistency": ("domains", "agreement", "Agreement with the other domains")}
STATES = {True: ("beyond", "beyond chance"), False: ("chance", "not beyond chance"),
          None: ("untested", "no test")}  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Analysis:
    """What an analysis left in its folder, "analysis_<number>_<name>".

    Attributes:
      found: metrics.json, see `analysis.tokens.result.metrics`.
      beyond: whether its headline number is beyond chance; None where that was not tested.
    """

    folder: pathlib.Path
    number: int
    name: str
    found: dict
    beyond: bool | None = None

    @property
    def title(self):
        return title_of(self.name)

    @property
    def headline(self):
        return self.found["headline"]


def title_of(name):
    return name.replace("_", " ").capitalize()


def write(folder, records):
    """Writes summary.json and report.html into the folder of the analyses.

    Args:
      folder: holds "analysis_<number>_<name>" folders, each as `analysis.tokens.result.write`
        leaves it.
      records: the Records they were made from.
    """
    folder = pathlib.Path(folder)
    analyses = read(folder)
    said = summary(records, analyses)
    write_whole(folder / "summary.json", to_json(said))
    write_whole(folder / "report.html", html(said, analyses, records.domains))


def read(folder):
    """The analyses of a folder in their order, with the verdict on each headline number."""
    found = []
    for path in folder.glob("analysis_*_*/metrics.json"):
        parts = re.fullmatch(r"analysis_(\d+)_(\w+)", path.parent.name)
        if parts:
            metrics = json.loads(path.read_text())
            found.append(Analysis(path.parent, int(parts[1]), parts[2], metrics))
    found.sort(key=lambda one: one.number)
    p_A = [(one.headline or {}).get("p") for one in found]
    q_A = stats.benjamini_hochberg([math.nan if p is None else p for p in p_A])
    return [
        dataclasses.replace(one, beyond=bool(q <= LEVEL) if math.isfinite(q) else None)
        for one, q in zip(found, q_A, strict=True)
    ]


def summary(records, analyses):
    """The verdict as a dict, see `write`; plain numbers and words."""
    keys = ("question", "headline", "reading", "missing")
    return {
        "about": dataclasses.asdict(records.about),
        "collected": collected(records),
        "verdict": verdict(records, analyses),
        "analyses": {
            one.name: {key: one.found[key] for key in keys}
            | {"folder": one.folder.name, "beyond_chance": one.beyond}
            for one in analyses
        },
    }


def collected(records):
    """How much of what was collected."""
    length = records.tokens_NL.shape[1]
    found = {"samples": len(records), "tokens": length, "sequences": _distinct(records.tokens_NL)}
    return found | {
        "episodes": len(np.unique(records.episode_N)),
        "moving": int(records.moving_N.sum()),
        "unknown_flow": int((~records.known_N).sum()),
        "unit": records.unit,
        "domains": {
            name: {
                "samples": int(here_N.sum()),
                "episodes": len(np.unique(records.episode_N[here_N])),
                "moving": int((here_N & records.moving_N).sum()),
                "sequences": _distinct(records.tokens_NL[here_N]),
            }
            for name in records.domains
            for here_N in [records.domain_N == name]
        },
    }


def _distinct(tokens_NL):
    return len(np.unique(tokens_NL, axis=0))


def verdict(records, analyses):
    """What the numbers say together, a list of plain sentences."""
    by_state = {state: [one for one in analyses if one.beyond is state] for state in STATES}
    tested = len(by_state[True]) + len(by_state[False])
    said = [one.found["reading"] for one in analyses if one.name in ANSWERS]
    if tested:
        said.append(
            f"Of {tested} headline numbers with a test, {len(by_state[True])} are beyond chance at "
            f"a false discovery rate of {100 * LEVEL:.0f} %{_listed(by_state[True])}."
        )
    else:
        said.append("No headline number has a test, so nothing can be told from chance.")
    if by_state[False]:
        said.append(f"Not told from chance{_listed(by_state[False])}.")
    worst = [sentence for one in analyses if (sentence := _worst(one))]
    said += worst[:3]
    if len(records.domains) == 1:
        said.append(
            f"There is one domain only, {records.domains[0]}: whether tokens mean the same "
            "elsewhere cannot be said."
        )
    if not records.moving_N.any():
        said.append("Nothing moves in any sample, so that no token can be read as a motion.")
    if not records.about.flow_decoder:
        said.append("The model has no flow decoder: its motions are those of decoded frames.")
    incomplete = [one for one in analyses if one.found["missing"]]
    if incomplete:
        said.append(f"Something could not be said or drawn{_listed(incomplete)}.")
    return said


def _listed(analyses):
    return ": " + ", ".join(one.title.lower() for one in analyses) if analyses else ""


def _worst(analysis):
    """Where an analysis comes out worst, a sentence, or None where it has no number by domain."""
    numbers = analysis.found["numbers"]
    found, what = numbers.get("by_domain") or {}, analysis.title
    if analysis.name in BY_DOMAIN and not found:
        table, column, what = BY_DOMAIN[analysis.name]
        found = {row["domain"]: row[column] for row in tables(analysis).get(table, ())}
    found = {name: one for name, one in found.items() if one is not None}
    if len(found) < 2:
        return None
    low = numbers.get("better") == "low"
    ranked = sorted(found, key=lambda name: (-found[name] if low else found[name], name))
    worst, best = ranked[0], ranked[-1]
    return (
        f"{what}: worst in {worst} ({number(float(found[worst]))}), best in {best} "
        f"({number(float(found[best]))})."
    )


def html(said, analyses, domains):
    """The page as text; see `summary` for `said`."""
    about = said["about"]
    sources = pictures(analyses)
    cards = "".join(card(one, domains, sources) for one in analyses)
    return markup.page(
        title=f"Token analysis of {about['run']}",
        heading=HEADING,
        kicker=f"Token analysis · {escape(about['run'])} · step {about['step']:,}",
        lead="Each card asks one question about the tokens of a latent action model. Every number "
        "stands beside what chance gives and its 95 % interval over episodes.",
        facts=facts(said, domains),
        filters=filters(analyses, domains),
        body=_verdict_card(said, analyses, domains) + cards,
        footer=f"{escape(about['run'])}, step {about['step']:,}, {escape(about['split'])} data, "
        f"flow by {escape(about['teacher'])}, seed {about['seed']}. "
        "Everything here is also in this folder as CSV, JSON, PNG and SVG.",
    )


def facts(said, domains):
    """The tiles at the top."""
    about, found = said["about"], said["collected"]
    moving = found["moving"] / max(found["samples"], 1)
    names = " ".join(
        tag("span", markup.mark(name, domains), escape(plots.short(name)), class_="whole")
        for name in domains[:6]
    )
    tiles = (
        ("samples", f"{found['samples']:,}", f"{found['episodes']:,} episodes, {about['split']}"),
        ("domains", f"{len(domains)}", names),
        ("tokens", f"{found['tokens']} of {about['num_codes']} codes",
         f"{found['sequences']:,} sequences seen"),
        ("moving", f"{100 * moving:.0f} %", "the static are set apart"),
        ("flow by", escape(about["teacher"]), escape(f"in {found['unit']}")),
    )  # fmt: skip
    return tag("dl", *(
        tag("div", tag("dt", name), tag("dd", value, tag("small", more)))
        for name, value, more in tiles
    ), class_="facts")  # fmt: skip


def filters(analyses, domains):
    """Two menus: the domains and sets, and the sequences that tables or figures name."""
    sets = sorted({name.split("/")[0] for name in domains} - set(domains))
    texts = [part for one in analyses for part in _names(one)]
    tokens = sorted(
        {text for text in texts if markup.SEQUENCE.fullmatch(text)},
        key=lambda text: [int(code) for code in text.split("-")],
    )
    menus = (("domain", "Domain", [*sets, *domains]), ("tokens", "Tokens", tokens))
    fields = (
        tag("label", tag("span", label), tag("select", *(
            tag("option", escape(text), value=value)
            for value, text in [("", "all"), *((one, one) for one in options)]
        ), name=name))
        for name, label, options in menus
    )  # fmt: skip
    reset = tag("button", "Show all", type="reset")
    form = tag("form", *fields, reset, tag("output", aria_live="polite"), id="filters")
    return tag("nav", form, class_="bar", aria_label="Filters")


def _names(analysis):
    for rows in tables(analysis).values():
        for row in rows[: markup.ROWS]:
            yield from (str(value) for value in row.values())
    for name in analysis.found["figures"]:
        yield from (part.removeprefix("token_") for part in name.split("/"))


def _verdict_card(said, analyses, domains):
    rows = [
        {
            "nr": one.number,
            "analysis": markup.Link(one.title, f"#analysis-{one.number}"),
            "value": (one.headline or {}).get("value"),
            "unit": (one.headline or {}).get("unit", ""),
            "low": (one.headline or {}).get("low"),
            "high": (one.headline or {}).get("high"),
            "by_chance": (one.headline or {}).get("null"),
            "p": (one.headline or {}).get("p"),
            "verdict": STATES[one.beyond][1],
        }
        for one in analyses
    ]
    counts = [{"domain": name, **found} for name, found in said["collected"]["domains"].items()]
    return tag("section",
        tag("div", tag("h2", "Verdict", id="verdict"), class_="head"),
        tag("ul", *(tag("li", escape(sentence)) for sentence in said["verdict"])),
        markup.table(rows, "All headline numbers", domains, "summary.json"),
        tag("details", tag("summary", "What was collected"),
            markup.table(counts, "Samples of each domain", domains, "records.parquet")),
        class_="card verdict", aria_labelledby="verdict")  # fmt: skip


def card(analysis, domains, sources):
    """The section of one analysis; `sources` as `pictures` returns them."""
    found, state = analysis.found, STATES[analysis.beyond]
    name = f"analysis-{analysis.number}"
    head = tag(
        "h2", tag("span", str(analysis.number), class_="nr"), escape(analysis.title), id=name
    )
    figures = "".join(
        markup.figure(
            *sources[analysis.folder / f"{one}.png"], one, f"{analysis.title}: {one}", domains
        )
        for one in found["figures"]
    )
    boxes = "".join(
        tag("h3", escape(one.replace("_", " ").capitalize()))
        + markup.table(
            rows, f"{analysis.title}: {one}", domains, f"{analysis.folder.name}/{one}.csv"
        )
        for one, rows in tables(analysis).items()
    )
    items = "".join(tag("li", escape(sentence)) for sentence in found["missing"])
    missing = tag(
        "div", tag("strong", "Cannot be said or drawn"), tag("ul", items), class_="missing"
    )
    how = "".join(tag("p", escape(part)) for part in found["how"].split("\n\n"))
    return tag("section",
        tag("div", head, tag("span", state[1], class_=f"chip {state[0]}"), class_="head"),
        tag("p", escape(found["question"]), class_="question"),
        headline(analysis.headline),
        tag("p", escape(found["reading"]), class_="reading"),
        missing if found["missing"] else "",
        tag("div", figures, class_="gallery") if figures else "",
        tag("details", tag("summary", "How to read"), tag("div", how, class_="how")),
        tag("details", tag("summary", "Tables"), boxes) if boxes else "",
        class_="card", aria_labelledby=name)  # fmt: skip


def headline(estimate):
    """The number of a card with interval, chance and p; dashes for what is not known."""
    found = estimate or dict.fromkeys(("value", "low", "high", "null", "p"))
    unit = found.get("unit") or ""
    interval = f"{number(found['low'])} to {number(found['high'])}"
    rows = (
        ("95 % interval", markup.DASH if found["low"] is None else interval),
        ("by chance", number(found["null"])),
        ("p", number(found["p"])),
    )
    value = tag("span", number(found["value"]), tag("small", escape(unit)), class_="value")
    terms = tag("dl", *(tag("div", tag("dt", term), tag("dd", text)) for term, text in rows))
    return tag("div", value, markup.span({"unit": unit, **found}), terms, class_="headline")


def tables(analysis):
    """{name: [{column: float, int, text or None}]} of an analysis, from its CSV files."""
    found = {}
    for name in analysis.found["tables"]:
        with open(analysis.folder / f"{name}.csv", newline="") as file:
            rows = csv.DictReader(file)
            found[name] = [{key: markup.parsed(one) for key, one in row.items()} for row in rows]
    return found


def pictures(analyses):
    """{path of a PNG: (data URI, (width, height))}, small enough to stay within BUDGET together."""
    paths = [one.folder / f"{name}.png" for one in analyses for name in one.found["figures"]]
    for most, quality in SIZES:
        found = {path: markup.embedded(path, most, quality) for path in paths}
        if sum(len(source) for source, _ in found.values()) <= BUDGET:
            break
    return found

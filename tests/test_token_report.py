"""analysis.tokens.report and compare: one page that says all, escapes all and asks for nothing."""

import dataclasses
import json
import re
import shutil
import subprocess
from html.parser import HTMLParser

import numpy as np
import pytest
from matplotlib.figure import Figure

from analysis.tokens import compare, markup, report, result, simulate
from analysis.tokens.options import Options
from analysis.tokens.result import Estimate, Result
from lam.errors import UserError

EVIL = "<script>alert('&')</script>"
CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
# what the page says of itself to the page around it, which is as wide as a desk's window: headless
# windows are 500 pixels wide at least
AROUND = """<!doctype html><body>
<iframe src="page.html" style="border:0;width:{width}px;height:900px"></iframe>
<script>onmessage = (event) => (document.body.dataset.check = event.data)</script></body>"""
CHECK = """<script>
const head = document.querySelector('#main th.number button');
const column = [...head.closest('tr').children].indexOf(head.closest('th'));
const cells = () => [...head.closest('table').querySelectorAll('tbody tr')]
  .map((row) => row.children[column].textContent);
head.click(); head.click();
const form = document.getElementById('filters');
const parts = '[data-domains][hidden], [data-tokens][hidden]';
const count = () => document.querySelectorAll(parts).length;
const before = count();
form.elements.domain.value = 'simulated/a';
form.dispatchEvent(new Event('change'));
const after = count();
parent.postMessage(JSON.stringify({cells: cells(), before, after,
  width: innerWidth, over: document.documentElement.scrollWidth - innerWidth}), '*');
</script></body>"""


class Page(HTMLParser):
    """The elements of a page and its text."""

    VOID = ("meta", "link", "img", "br")

    def __init__(self, text):
        super().__init__()
        self.elements, self.text, self.open = [], [], []
        self.feed(text)
        assert self.open == [], "elements that are not closed"

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        if tag not in ("line", "path", "circle"):  # <line .../> of drawings
            assert self.open.pop() == tag

    def handle_startendtag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))

    def handle_data(self, data):
        if not self.open or self.open[-1] not in ("script", "style"):
            self.text.append(data)

    def of(self, tag):
        return [attrs for name, attrs in self.elements if name == tag]


def records():
    made = simulate.simulate("octants", domains=2, episodes=6, samples=5)
    names = np.where(made.domain_N == made.domains[0], "simulated/a", "simulated/b<i>")
    about = dataclasses.replace(made.about, run=EVIL)
    return dataclasses.replace(made, columns=made.columns | {"domain": names}, about=about)


def results():
    figure = Figure((3, 2))
    figure.subplots().plot([0, 1])
    photo = Figure((12, 8))
    photo.subplots().imshow(np.random.default_rng(0).uniform(size=(300, 300, 3)))
    rows = [
        {"domain": "simulated/a", "tokens": "3-1-2-0", "angle": 2.5, "p": 0.5},
        {"domain": "simulated/b<i>", "tokens": "0-0-0-0", "angle": float("nan"), "p": 1e-4},
        {"domain": EVIL, "tokens": "all", "angle": 10.0, "p": 0.25},
    ]
    numbers = {"by_domain": {"simulated/a": 0.9, "simulated/b<i>": 0.2}}
    full = Result(
        "Asked?", f"Read {EVIL}.", "How.\n\nMore.", Estimate(0.5, 0.4, 0.6, 0.01, 0.002), numbers,
        {"rows": rows}, {"curve": figure, "token_3-1-2-0/samples": photo},
    )  # fmt: skip
    chance = Result("Asked?", "Nothing.", "How.", Estimate(12.0, 3.0, 20.0, 11.0, 0.7, "degrees"))
    none = Result("Asked?", "Unknown.", "How.", missing=(f"No decoder {EVIL}.",))
    return {"flow_scatter": full, "order": chance, "transfer": none}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("report")
    for number, (name, one) in zip((1, 11, 4), results().items(), strict=True):
        result.write(one, folder / f"analysis_{number}_{name}")
    report.write(folder, records())
    return folder


@pytest.fixture(scope="module")
def page(folder):
    return Page((folder / "report.html").read_text())


def test_each_analysis_has_a_card_in_order(page):
    cards = [attrs for attrs in page.of("section") if "card" in attrs["class"]]
    assert [card["aria-labelledby"] for card in cards] == [
        "verdict", "analysis-1", "analysis-4", "analysis-11"
    ]  # fmt: skip
    headings = {attrs.get("id") for attrs in page.of("h2")}
    assert {card["aria-labelledby"] for card in cards} <= headings
    assert len(page.of("h1")) == 1


def test_nothing_comes_from_elsewhere(folder, page):
    sources = [attrs[key] for _, attrs in page.elements for key in ("src", "href") if key in attrs]
    assert len(sources) > 4
    assert all(source.startswith(("data:", "#")) for source in sources)
    text = (folder / "report.html").read_text()
    assert not re.search(r"url\(|@import|(src|href)=.https?:", text)
    assert "default-src 'none'" in text


def test_text_is_escaped(page):
    assert len(page.of("script")) == 1
    assert not page.of("i")
    assert EVIL in "".join(page.text)
    assert f"No decoder {EVIL}." in page.text


def test_pictures_are_inside_and_described(folder, page):
    images = [attrs for attrs in page.of("img") if "src" in attrs]
    assert [attrs["alt"] for attrs in images] == [
        "Flow scatter: curve", "Flow scatter: token_3-1-2-0/samples"
    ]  # fmt: skip
    assert images[0]["src"].startswith("data:image/svg+xml;base64,")
    assert images[1]["src"].startswith("data:image/jpeg;base64,")
    assert int(images[1]["width"]) == 1500
    figures = page.of("figure")
    assert "data-tokens" not in figures[0]
    assert figures[1]["data-tokens"] == "3-1-2-0"


def test_what_is_not_known_is_a_dash_and_numbers_can_be_sorted(page):
    rows = [attrs for attrs in page.of("tr") if "data-tokens" in attrs]
    assert [row["data-tokens"] for row in rows][:2] == ["3-1-2-0", "0-0-0-0"]
    assert [row.get("data-domains") for row in rows][:2] == ["simulated/a", "simulated/b<i>"]
    values = [attrs.get("data-value") for attrs in page.of("td") if attrs.get("class") == "number"]
    assert {"2.5", "10", "0.0001", None} <= set(values)
    assert "nan" not in "".join(page.text).lower().split()
    assert markup.number(float("nan")) == markup.number(None) == "\N{EN DASH}"
    assert [markup.number(x) for x in (1234, 0.12345, -2.5, 1e-5, 0.0)] == [
        "1,234", "0.123", "\N{MINUS SIGN}2.5", "1.0e-05", "0"
    ]  # fmt: skip


def test_the_verdict_says_what_passed_what_did_not_and_where_it_is_worst(folder):
    said = json.loads((folder / "summary.json").read_text())
    assert {name: one["beyond_chance"] for name, one in said["analyses"].items()} == {
        "flow_scatter": True, "transfer": None, "order": False
    }  # fmt: skip
    assert said["analyses"]["flow_scatter"]["headline"]["value"] == 0.5
    text = " ".join(said["verdict"])
    assert "1 are beyond chance" in text
    assert "Not told from chance: order." in text
    assert "worst in simulated/b<i> (0.2), best in simulated/a (0.9)" in text
    assert "Something could not be said or drawn: transfer." in text
    assert said["collected"]["samples"] == 60
    assert said["collected"]["domains"]["simulated/a"]["episodes"] == 6


def test_the_same_records_give_the_same_bytes(folder, tmp_path):
    shutil.copytree(folder, tmp_path / "again")
    report.write(tmp_path / "again", records())
    for name in ("summary.json", "report.html"):
        assert (tmp_path / "again" / name).read_bytes() == (folder / name).read_bytes()


def test_one_domain_and_nothing_that_moves_are_said():
    still = simulate.simulate("octants", domains=1, episodes=3, samples=4, static=1.0)
    text = " ".join(report.verdict(still, []))
    assert "one domain only" in text
    assert "Nothing moves" in text
    assert "No headline number has a test" in text


def test_the_answer_comes_first_and_names_the_domain_that_disagrees(tmp_path):
    rows = [{"domain": name, "agreement": one} for name, one in (("s/a", 0.9), ("s/b", -0.4))]
    one = Result("Asked?", "They differ.", "How.", Estimate(0.5), tables={"domains": rows})
    result.write(one, tmp_path / "analysis_2_consistency")
    said = report.verdict(records(), report.read(tmp_path))
    assert said[0] == "They differ."
    assert "worst in s/b (\N{MINUS SIGN}0.4), best in s/a (0.9)" in " ".join(said)


def test_pages_stay_within_their_budget(folder, monkeypatch):
    found = report.read(folder)
    whole = sum(len(source) for source, _ in report.pictures(found).values())
    monkeypatch.setattr(report, "BUDGET", whole // 2)
    assert sum(len(source) for source, _ in report.pictures(found).values()) <= whole // 2


@pytest.mark.skipif(not CHROMIUM, reason="no chromium here")
@pytest.mark.parametrize("width", [1280, 390])
def test_in_a_browser_it_fits_sorts_and_filters(folder, tmp_path, width):
    text = (folder / "report.html").read_text()
    (tmp_path / "page.html").write_text(text.replace("</body>", CHECK))
    (tmp_path / "around.html").write_text(AROUND.format(width=width))
    command = [
        CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
        "--disable-background-networking", "--disable-component-update", "--disable-sync",
        f"--user-data-dir={tmp_path / 'user'}", "--window-size=1400,1000", "--dump-dom",
        "--enable-logging=stderr", "--virtual-time-budget=5000",
        (tmp_path / "around.html").as_uri(),
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert "CONSOLE" not in done.stderr, done.stderr
    found = re.search(r'data-check="([^"]*)"', done.stdout)
    said = json.loads(found[1].replace("&quot;", '"'))
    assert said["width"] == width
    assert said["over"] <= 0
    assert said["cells"] == ["11", "4", "1"]
    assert (said["before"], said["after"]) == (0, 2)


def test_compare_puts_controls_beside_each_model(folder, tmp_path, monkeypatch):
    of = records()
    of.columns[compare.UNTRAINED] = np.zeros_like(of.tokens_NL)
    monkeypatch.setattr(compare.records, "read", lambda folder: of)

    def distinct(control, options):
        assert not control.pictures
        assert options.inspected
        return Result("?", "!", ".", Estimate(float(len(np.unique(control.tokens_NL[:, 0])))))

    monkeypatch.setitem(compare.ANALYSES, "flow_scatter", distinct)
    options = Options(support=1, inspected=((0,),))
    compare.write([folder, folder], tmp_path / "out", options, names=("flow_scatter",))
    said = json.loads((tmp_path / "out" / "compare.json").read_text())
    rows = [row for row in said["rows"] if row["analysis"] == "flow_scatter"]
    assert [row["tokens"] for row in rows] == 2 * [
        "its own", "shuffled", "untrained", "k-means of the motion"
    ]  # fmt: skip
    assert [row["value"] for row in rows[:4]] == [0.5, 8, 1, 8]
    assert {row["model"] for row in rows} == {folder.name}  # two of one name go by their folders
    assert said["missing"] == []
    Page((tmp_path / "out" / "compare.html").read_text())
    with pytest.raises(UserError, match="has no summary"):
        compare.write([tmp_path], tmp_path / "out", options)


def test_controls_keep_what_they_must():
    of = records()
    found, missing = compare.controls_of(of, 0)
    assert list(found) == ["shuffled", "k-means of the motion"]
    assert "untrained" in missing[0]
    for name in of.domains:
        here_N = of.domain_N == name
        own, shuffled = (one.tokens_NL[here_N] for one in (of, found["shuffled"]))
        assert not np.array_equal(own, shuffled)
        np.testing.assert_array_equal(np.sort(own, axis=0), np.sort(shuffled, axis=0))
    kinds_N = found["k-means of the motion"].tokens_NL[:, 0]
    spread = sum(
        of.motion_N2[kinds_N == k].var(axis=0).sum() * (kinds_N == k).sum() for k in range(8)
    )
    assert spread < 0.5 * of.motion_N2.var(axis=0).sum() * len(of)

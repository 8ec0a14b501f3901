"""A report in Chromium: what a reader sees on a phone and on a large screen."""

import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from selenium import webdriver
from selenium.webdriver.chrome.service import Service

from tests.cli.conftest import ROOT, Shell

BROWSER, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")
pytestmark = pytest.mark.skipif(
    not (BROWSER and DRIVER), reason="not installed: chromium, chromium-driver"
)
SCREENS = pytest.mark.parametrize(("width", "height"), [(380, 800), (1400, 900)])
PINNED = """\
machine:
  nodes:
    0: {cpus: "0-3", memory: 256MiB}
    1: {cpus: "4-7", memory: 256MiB}
    2: {memory: 512MiB, adistance: 3456}
tasks:
  db:
    comm: postgres
    cpus: "0-3"
    uid: 26
    memory:
      - {as: buffers, kind: shmem, size: 64MiB, policy: "interleave:0-1"}
      - {as: heap, kind: heap, size: 32MiB}
    access: [{region: buffers, rate: 1000000, hot: 0.1, hot_rate: 0.9}]
  backup:
    cpus: "4-7"
    memory: [{as: buffers, shared: db.buffers}]
"""
MANY = (
    "machine:\n  nodes:\n"
    + "".join(f"    {nid}: {{cpus: '{nid}', memory: 32MiB}}\n" for nid in range(32))
    + "tasks:\n  a:\n    memory: [{as: heap, kind: heap, size: 8MiB, policy: 'interleave:0-31'}]\n"
)
# Scenario, and what is asked: all that a report can have, between them.
REPORTS = {
    "moves": (None, "two-node", "db --to 1"),
    "stays": (PINNED, "", "db --to 2 --as 26 --seconds 3"),
    "refused": (None, "full-target", "job --to 1"),
    "many nodes": (MANY, "", "a --to 1"),
}


@pytest.fixture(scope="module")
def browser() -> Iterator[webdriver.Chrome]:
    options = webdriver.ChromeOptions()
    options.binary_location = BROWSER or ""
    for argument in ("--headless=new", "--no-sandbox", "--disable-dev-shm-usage"):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = webdriver.Chrome(options=options, service=Service(DRIVER))
    yield driver
    driver.quit()


def written(shell: Shell, name: str) -> Path:
    """The file of one of REPORTS; pages of the one with reasons to stay are pinned."""
    own, shipped, asked = REPORTS[name]
    if own:
        shell.boot(own)
    scenario = "" if own else f"--scenario {ROOT / 'scenarios' / shipped}.yaml --ephemeral"
    if name == "stays":
        shell.out("task pin db heap+4MiB:1MiB")
    path = shell.folder / "report.html"
    shell(f"{scenario} report {path} {asked}")
    return path


def shown(browser: webdriver.Chrome, path: Path, width: int, height: int, **media: str) -> None:
    """Let the browser show the page on a screen of that size."""
    metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 500}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    features = [{"name": name.replace("_", "-"), "value": value} for name, value in media.items()]
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})
    for kind in ("browser", "performance"):
        browser.get_log(kind)  # of the page before
    browser.get(path.as_uri())


def asked(browser: webdriver.Chrome, script: str) -> Any:
    return browser.execute_script(f"return {script}")


def requests(browser: webdriver.Chrome) -> set[str]:
    """What the page has requested."""
    messages = [json.loads(entry["message"])["message"] for entry in browser.get_log("performance")]
    return {
        message["params"]["request"]["url"].partition(":")[0]
        for message in messages
        if message["method"] == "Network.requestWillBeSent"
    }


@SCREENS
@pytest.mark.parametrize("name", REPORTS)
def test_it_fits_any_screen_and_asks_for_nothing(
    shell: Shell, browser: webdriver.Chrome, name: str, width: int, height: int
) -> None:
    shown(browser, written(shell, name), width, height)
    assert browser.get_log("browser") == []
    assert requests(browser) <= {"file", "data"}
    assert asked(browser, "document.scripts.length") == 0
    assert asked(browser, "innerWidth") == width
    root = "document.documentElement"
    assert asked(browser, f"{root}.scrollWidth - {root}.clientWidth") == 0


@SCREENS
@pytest.mark.parametrize("name", ["stays", "refused"])
def test_what_moves_what_stays_and_why_are_on_the_first_screen(
    shell: Shell, browser: webdriver.Chrome, name: str, width: int, height: int
) -> None:
    shown(browser, written(shell, name), width, height)
    seen = asked(
        browser,
        "[...document.querySelectorAll('h1, #headline, .card, .why, .cure')]"
        ".filter(e => e.getBoundingClientRect().bottom <= innerHeight).map(e => e.innerText)",
    )
    text = "\n".join(seen)
    assert re.search(r"Moves\n[\d.]+ MiB", text)
    assert re.search(r"Stays\n[\d.]+ MiB", text)
    assert "Cure: " in text
    reasons = {"stays": ["mapped more than once", "pinned"], "refused": ["target node is full"]}
    assert all(reason in text for reason in reasons[name])


def test_figures_are_the_plans(shell: Shell, browser: webdriver.Chrome) -> None:
    path = written(shell, "stays")
    plan = shell.json("plan db --to 2 --as 26")
    shown(browser, path, 1400, 900)
    rows = asked(
        browser,
        "[...document.querySelectorAll('#counters tr')].slice(1)"
        ".map(r => [...r.cells].map(c => c.innerText))",
    )
    assert {name: int(nr) for name, nr, _ in rows} == plan["counters"]
    assert all(meaning for *_, meaning in rows)
    moved = asked(browser, "document.querySelector('.card small:last-child').innerText")
    assert moved == f"{plan['moved']} pages: heap"
    stays = sum(row["nr"] for row in plan["stays"])
    cards = asked(browser, "[...document.querySelectorAll('.card')].map(e => e.innerText)")
    assert f"{stays} pages: mapped more than once, pinned" in cards[1]


def test_bars_are_to_scale(shell: Shell, browser: webdriver.Chrome) -> None:
    path = written(shell, "stays")
    nodes = shell.json("show")["nodes"]
    shown(browser, path, 1400, 900)
    widths = asked(
        browser,
        "[...document.querySelectorAll('#nodes .bar')].map(bar => {"
        " const used = bar.querySelector('rect');"
        " const width = e => e ? e.getBoundingClientRect().width : 0;"
        " return width(used) / width(bar)})",
    )
    used = [(node["total"] - node["free"]) / node["total"] for node in nodes]
    assert widths == pytest.approx(used, abs=0.002)
    shares = asked(
        browser,
        "[...document.querySelectorAll('#processes .strip')]"
        ".map(e => e.getBoundingClientRect().width)",
    )
    assert shares[1] / shares[0] == pytest.approx(64 / 96, abs=0.01)


def test_it_is_dark_where_the_reader_wants_that(shell: Shell, browser: webdriver.Chrome) -> None:
    path = written(shell, "moves")
    colours = []
    for scheme in ("light", "dark"):
        shown(browser, path, 380, 800, prefers_color_scheme=scheme)
        colours.append(asked(browser, "getComputedStyle(document.body).backgroundColor"))
    assert colours == ["rgb(255, 255, 255)", "rgb(15, 20, 25)"]

"""The report in a headless Chromium, where there is one: quiet, offline, sortable, in the colours of the reader."""

import html
import io
import json
import os
import re
import shutil
import subprocess

import pytest
import reported
from PIL import Image

from podarcade import report

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
BROWSER = os.environ.get("CHROME") or next(filter(None, map(shutil.which, NAMES)), None)
FLAGS = (
    *("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--hide-scrollbars"),
    *("--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync"),
    *("--enable-logging=stderr", "--virtual-time-budget=3000", "--window-size=1200,900"),
)
DARK, LIGHT = "--blink-settings=preferredColorScheme=0", "--blink-settings=preferredColorScheme=1"
HOSTILE = "\"'><img src=https:x.test onerror=alert(2)><script>alert(1)<"

pytestmark = pytest.mark.skipif(BROWSER is None, reason="no Chromium: install one, or name it in CHROME")


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    root = tmp_path_factory.mktemp("report")
    for name, memory, shift in (("a", "gru", 0.1), ("b", "none", -0.1), (HOSTILE, "stack", 0.2)):
        about = reported.config(memory=memory)
        reported.write(root / "runs" / name, about, reported.records(about, shift=shift))
    assert report.main(["report", str(root / "runs"), f"--output={root}/report.html", f"--title={HOSTILE}"]) == 0
    return root / "report.html"


def browse(page, tmp_path, *flags):
    """Open a page; return what the browser printed, and its log."""
    command = [BROWSER, *FLAGS, f"--user-data-dir={tmp_path}/profile", *flags, page.as_uri()]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout, done.stderr


def asked(page, tmp_path):
    """The addresses that a page made the browser look for, without those of the browser itself."""
    browse(page, tmp_path, f"--log-net-log={tmp_path}/net.json", "--host-resolver-rules=MAP * ~NOTFOUND", "--dump-dom")
    found = set(re.findall(r'"url":"([^"]*)"', (tmp_path / "net.json").read_text()))
    return {url for url in found if re.match(r"https?://(?!([\w-]+\.)*(google|googleapis|gvt1)\.com\b)", url)}


def test_the_page_is_quiet_and_offline(page, tmp_path):
    found, log = browse(page, tmp_path, "--dump-dom")
    assert "CONSOLE" not in log, log  # neither an error nor a refused resource
    assert found.count("<script") == 1 and found.count("<img") == 0
    assert not asked(page, tmp_path)


def test_pages_that_are_not_would_be_noticed(tmp_path):
    control = tmp_path / "control.html"
    control.write_text("<!DOCTYPE html><img src=http://x.test/a.png><script>console.log(1)</script>")
    assert asked(control, tmp_path) == {"http://x.test/a.png"}
    assert "CONSOLE" in browse(control, tmp_path, "--dump-dom")[1]


def test_colours_follow_the_reader(page, tmp_path):
    shades = {}
    for flag in (LIGHT, DARK):
        browse(page, tmp_path, flag, f"--screenshot={tmp_path}/shot.png")
        with Image.open(io.BytesIO((tmp_path / "shot.png").read_bytes())) as image:
            shades[flag] = image.convert("L").resize((1, 1), Image.Resampling.BOX).getpixel((0, 0))
    assert shades[LIGHT] > 200 and shades[DARK] < 60


def test_tables_sort_and_labels_hide(page, tmp_path):
    """A copy without the policy, which would refuse a second script, clicks and reports."""
    clicks = """
      const table = document.querySelector("table.sortable"), titles = () => [...table.tBodies[0].rows].map((row) => row.cells[0].textContent);
      const found = { buttons: document.querySelectorAll("thead button").length, heads: document.querySelectorAll("thead th").length };
      const place = [...table.tHead.rows[0].cells].findIndex((cell) => cell.textContent.includes("partial twin"));
      const button = table.tHead.rows[0].cells[place].querySelector("button");
      button.click(); found.rising = titles(); found.sorted = button.parentElement.getAttribute("aria-sort");
      button.click(); found.falling = titles();
      const box = document.querySelector(".filter input"); box.click();
      const hidden = [...document.querySelectorAll(`[data-label="${box.dataset.shows}"]`)];
      found.hidden = hidden.length; found.left = hidden.filter((item) => getComputedStyle(item).display !== "none").length;
      found.others = [...document.querySelectorAll("svg [data-label]")].filter((item) => !item.classList.contains("off")).length;
      found.boxes = !document.querySelector(".filter").hidden;
      document.body.replaceChildren(JSON.stringify(found));
    """  # noqa: E501
    text = re.sub(r"<meta http-equiv[^>]*>", "", page.read_text(encoding="utf-8"))
    copy = tmp_path / "copy.html"
    copy.write_text(text.replace("</body>", f"<script>{clicks}</script></body>"), encoding="utf-8")
    found, log = browse(copy, tmp_path, "--dump-dom")
    assert "CONSOLE" not in log, log
    found = json.loads(html.unescape(re.search(r"<body[^>]*>(.*)</body>", found, re.DOTALL)[1]))
    assert found["buttons"] == found["heads"] > 20
    assert found["rising"][:2] == ["b", "a"] and found["falling"] == found["rising"][::-1]
    assert found["sorted"] == "ascending"
    assert found["hidden"] > 5 and found["left"] == 0 and found["others"] > 5 and found["boxes"]


def test_the_page_prints(page, tmp_path):
    browse(page, tmp_path, f"--print-to-pdf={tmp_path}/page.pdf")
    assert (tmp_path / "page.pdf").read_bytes().startswith(b"%PDF")

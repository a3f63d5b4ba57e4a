"""The built pages, in headless Chromium: layout on desktop and phone, light and dark, search, copy buttons, tabs."""

from __future__ import annotations

import html
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[1]
CHROMIUM = shutil.which("chromium")

pytestmark = [
    pytest.mark.slow(reason="builds the whole site and shows it in Chromium"),
    pytest.mark.timeout(300),
    pytest.mark.skipif(
        CHROMIUM is None and not os.environ.get("PUSHER_PROTO_REQUIRE_CHROMIUM"),
        reason="there is no chromium",
    ),
]

MEASURE = """
const pages = %s, widths = [1440, 390], themes = ["light", "dark"], found = [];
let texts = 0;
const rgb = color => (color.match(/[\\d.]+/g) || []).map(Number);
const luminance = ([r, g, b]) => {
  const [x, y, z] = [r, g, b].map(c => (c /= 255) <= 0.03928 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4);
  return 0.2126 * x + 0.7152 * y + 0.0722 * z;
};
const contrast = (a, b) => {
  const [high, low] = [luminance(a), luminance(b)].sort((x, y) => y - x);
  return (high + 0.05) / (low + 0.05);
};
const start = text => text.trim().slice(0, 40);
async function open(page, width) {
  const frame = document.createElement("iframe");
  frame.style = `width: ${width}px; height: 900px; border: 0`;
  frame.src = page;
  const loaded = new Promise(resolve => (frame.onload = resolve));
  document.body.append(frame);
  await loaded;
  return frame;
}
function fits(page, width, frame) {
  const doc = frame.contentDocument, article = doc.querySelector("article");
  const style = one => frame.contentWindow.getComputedStyle(one);
  if (doc.documentElement.scrollWidth > width) found.push([page, width, "the page scrolls sideways"]);
  const column = article.getBoundingClientRect();
  const inScroller = one => {
    for (let up = one.parentElement; up && up !== article; up = up.parentElement)
      if (["auto", "scroll", "hidden"].includes(style(up).overflowX)) return true;
    return false;
  };
  for (const one of article.querySelectorAll("p, pre, table, img, svg, dl, dt, li, h1, h2, h3")) {
    if (width > 1000 && one.tagName === "PRE" && one.scrollWidth > one.clientWidth + 1)
      found.push([page, width, `code scrolls: ${start(one.textContent)}`]);
    // The theme lets headings and signatures stand out by 8 px.
    if (one.getBoundingClientRect().right > column.right + 9 && !inScroller(one))
      found.push([page, width, `${one.tagName}: ${start(one.textContent)}`]);
  }
  for (const svg of article.querySelectorAll("svg.diagram")) {
    const edge = svg.getBoundingClientRect(), scale = edge.width / svg.viewBox.baseVal.width;
    for (const text of svg.querySelectorAll("text")) {
      const box = text.getBoundingClientRect(), size = scale * parseFloat(style(text).fontSize);
      if (size < 10) found.push([page, width, `text of ${size} px: ${text.textContent}`]);
      if (box.left < edge.left - 1 || box.right > edge.right + 1)
        found.push([page, width, `outside of the drawing: ${text.textContent}`]);
    }
  }
}
function isReadable(page, width, theme, frame) {
  const doc = frame.contentDocument, article = doc.querySelector("article");
  const style = one => frame.contentWindow.getComputedStyle(one);
  doc.body.dataset.theme = theme;
  const behind = one => {
    for (let up = one; up; up = up.parentElement) {
      const color = rgb(style(up).backgroundColor);
      if (color.length === 3 || color[3] > 0.9) return color;
    }
    return theme === "dark" ? [0, 0, 0] : [255, 255, 255];
  };
  const seen = new Set();
  for (const one of article.querySelectorAll("p, li, td, th, h1, h2, h3, a, code, pre span, svg.diagram text")) {
    const inDrawing = one.closest("svg.diagram");
    if (!one.textContent.trim() || one.closest("button, .headerlink, .sd-card")) continue;
    const color = rgb(inDrawing ? style(one).fill : style(one).color);
    const key = [color, behind(one)].join();
    texts += 1;
    if (seen.has(key)) continue;
    seen.add(key);
    const ratio = contrast(color, behind(one));
    if (ratio < 4.5) found.push([page, width, `contrast ${ratio.toFixed(1)}, ${theme}: ${start(one.textContent)}`]);
  }
}
(async () => {
  for (const page of pages) for (const width of widths) {
    const frame = await open(page, width);
    fits(page, width, frame);
    for (const theme of themes) isReadable(page, width, theme, frame);
    frame.remove();
  }
  const result = document.createElement("pre");
  result.id = "result";
  result.textContent = JSON.stringify({pages: pages.length, texts, found});
  document.body.append(result);
})();
"""


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of the built pages."""
    pytest.importorskip("sphinx", reason="the extra `dev` has Sphinx")
    built = tmp_path_factory.mktemp("site")
    subprocess.run(
        [sys.executable, "-m", "sphinx", "-Q", "docs", built],
        cwd=ROOT,
        check=True,
        env=os.environ | {"PYTHONWARNINGS": "ignore"},
    )
    return built


def pages_of(site: Path) -> list[str]:
    pages = sorted(str(path.relative_to(site)) for path in site.rglob("*.html"))
    return [
        page for page in pages if not page.startswith(("genindex", "measure", "search", "py-mod"))
    ]


def shown(page: str, site: Path) -> str:
    """Return the DOM of a page once its scripts have run."""
    return subprocess.run(
        [
            str(CHROMIUM),
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--allow-file-access-from-files",
            "--window-size=1600,1000",
            "--virtual-time-budget=600000",
            f"--user-data-dir={site.parent / 'profile'}",
            "--dump-dom",
            f"file://{site / page}",
        ],
        check=True,
        capture_output=True,
        text=True,
        timeout=280,
    ).stdout


def measured(site: Path, pages: list[str]) -> dict[str, Any]:
    (site / "measure.html").write_text(f"<body><script>{MEASURE % json.dumps(pages)}</script>")
    dumped = shown("measure.html", site)
    found = re.search(r'<pre id="result">(.*?)</pre>', dumped, re.DOTALL)
    assert found is not None, dumped[-2000:]
    result: dict[str, Any] = json.loads(html.unescape(found[1]))
    return result


def test_every_page_fits_a_desktop_and_a_phone_and_is_readable_in_light_and_dark(
    site: Path, tmp_path: Path
) -> None:
    still = tmp_path / "still"
    shutil.copytree(site, still)
    pages = pages_of(still)
    for page in pages:  # without scripts: the layout alone is measured
        text = (still / page).read_text(encoding="utf-8")
        assert "<article" in text
        text = re.sub(r"<script[^>]*>.*?</script>", "", text, flags=re.DOTALL)
        (still / page).write_text(text, encoding="utf-8")
    result = measured(still, pages)
    assert result["pages"] == len(pages) > 30
    assert result["texts"] > 20_000
    assert result["found"] == [], json.dumps(result["found"], indent=1)


def test_the_measure_finds_what_does_not_fit_and_what_cannot_be_read(tmp_path: Path) -> None:
    (tmp_path / "bad.html").write_text(
        "<body><article style='width: 300px'><p style='width: 2000px'>wide</p>"
        "<p style='color: #ddd; background: #fff'>pale</p><pre style='overflow: auto'>"
        f"{'long ' * 200}</pre><svg class='diagram' width='100' viewBox='0 0 350 20'>"
        "<text x='0' y='9' style='font-size: 11px'>small</text><text x='340' y='9'>outside</text></svg></article>"
    )
    problems = measured(tmp_path, ["bad.html"])["found"]
    for width in (1440, 390):
        for theme in ("light", "dark"):
            assert ["bad.html", width, f"contrast 1.4, {theme}: pale"] in problems
    found = " ".join(what for _, _, what in problems)
    for word in (
        "sideways",
        "P: wide",
        "pale",
        "code scrolls",
        "px: small",
        "outside of the drawing",
    ):
        assert word in found


@pytest.mark.parametrize(
    ("query", "page"),
    [
        ("authentication", "channels"),
        ("authentication", "tokens"),
        ("4001", "no-events"),
        ("4001", "servers"),
    ],
)
def test_the_search_finds_words_and_numbers(site: Path, query: str, page: str) -> None:
    dom = shown(f"search.html?q={query}", site)
    results = dom[dom.index('id="search-results"') :]
    assert f'<a href="{page}.html' in results


def test_nothing_is_loaded_from_a_network(site: Path) -> None:
    for page in pages_of(site):
        text = (site / page).read_text(encoding="utf-8")
        loaded = re.findall(r"<(?:script|img|iframe|link)\b[^>]*?(?:src|href)=\"([^\"]+)\"", text)
        assert [one for one in loaded if re.match(r"(https?:)?//", one)] == [], page


def test_each_block_of_code_has_a_copy_button_and_examples_have_tabs(site: Path) -> None:
    dom = shown("receiving.html", site)
    assert dom.count('class="copybtn') == dom.count('<div class="highlight">') > 10
    assert dom.count('data-sync-id="blocking"') == dom.count('data-sync-id="async"') >= 6


def test_the_navigation_has_four_parts(site: Path) -> None:
    text = (site / "index.html").read_text(encoding="utf-8")
    captions = re.findall(r'class="caption-text">([^<]+)<', text)
    assert captions == ["Guide", "How-to", "Reference", "Internals"]
    tree = text[text.index('class="sidebar-tree') : text.index("</aside>")]
    links = re.findall(r'href="([\w/-]+\.html)"', tree)
    assert len(links) == len(set(links))
    listed = {
        page for page in pages_of(site) if page != "index.html" and "_" not in Path(page).parts[0]
    }
    assert set(links) == listed

"""The built pages fit a desktop and a phone: measured in headless Chromium, in windows of 1440 and 390 px."""

from __future__ import annotations

import html
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
CHROMIUM = shutil.which("chromium")

MEASURE = """
const pages = %s, widths = [1440, 390], found = [];
async function look(page, width) {
  const frame = document.createElement("iframe");
  frame.style = `width: ${width}px; height: 900px; border: 0`;
  frame.src = page;
  const loaded = new Promise(resolve => (frame.onload = resolve));
  document.body.append(frame);
  await loaded;
  const doc = frame.contentDocument, article = doc.querySelector("article");
  if (doc.documentElement.scrollWidth > width) found.push([page, width, "the page scrolls sideways"]);
  const column = article.getBoundingClientRect();
  const inScroller = one => {
    for (let up = one.parentElement; up && up !== article; up = up.parentElement)
      if (["auto", "scroll", "hidden"].includes(frame.contentWindow.getComputedStyle(up).overflowX)) return true;
    return false;
  };
  for (const one of article.querySelectorAll("p, pre, table, img, dl, dt, li, h1, h2, h3")) {
    if (width > 1000 && one.tagName === "PRE" && one.scrollWidth > one.clientWidth + 1)
      found.push([page, width, `code scrolls: ${one.textContent.slice(0, 40)}`]);
    // The theme lets headings and signatures stand out by 8 px.
    if (one.getBoundingClientRect().right > column.right + 9 && !inScroller(one))
      found.push([page, width, `${one.tagName}: ${one.textContent.slice(0, 40)}`]);
  }
  frame.remove();
}
(async () => {
  for (const page of pages) for (const width of widths) await look(page, width);
  const result = document.createElement("pre");
  result.id = "result";
  result.textContent = JSON.stringify({pages: pages.length, found});
  document.body.append(result);
})();
"""


@pytest.mark.slow
@pytest.mark.skipif(
    CHROMIUM is None and not os.environ.get("PUSHER_PROTO_REQUIRE_CHROMIUM"),
    reason="there is no chromium",
)
def test_no_block_is_wider_than_its_column(tmp_path: Path) -> None:
    pytest.importorskip("sphinx", reason="the extra `dev` has Sphinx")
    built = tmp_path / "site"
    subprocess.run(
        [sys.executable, "-m", "sphinx", "-Q", "docs", built],
        cwd=ROOT,
        check=True,
        env=os.environ | {"PYTHONWARNINGS": "ignore"},
    )
    pages = sorted(str(path.relative_to(built)) for path in built.rglob("*.html"))
    pages = [page for page in pages if not page.startswith(("genindex", "search", "py-modindex"))]
    for page in pages:  # without scripts: only the layout is measured here
        text = (built / page).read_text(encoding="utf-8")
        assert "<article" in text
        text = re.sub(r"<script[^>]*>.*?</script>", "", text, flags=re.DOTALL)
        (built / page).write_text(text, encoding="utf-8")
    script = MEASURE % json.dumps(pages)
    (built / "measure.html").write_text(f"<body><script>{script}</script></body>")
    dumped = subprocess.run(
        [
            str(CHROMIUM),
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--allow-file-access-from-files",
            "--window-size=1600,1000",
            "--virtual-time-budget=600000",
            f"--user-data-dir={tmp_path / 'profile'}",
            "--dump-dom",
            f"file://{built / 'measure.html'}",
        ],
        check=True,
        capture_output=True,
        text=True,
        timeout=300,
    ).stdout
    found = re.search(r'<pre id="result">(.*?)</pre>', dumped, re.DOTALL)
    assert found is not None, dumped[-2000:]
    result = json.loads(html.unescape(found[1]))
    assert result["pages"] == len(pages) > 30
    assert result["found"] == [], json.dumps(result["found"])

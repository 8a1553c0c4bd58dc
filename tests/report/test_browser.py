"""The page in a real browser: nothing fails, nothing leaves it, tables sort and filter."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

BROWSER = next(
    (found for name in ("chromium", "chromium-browser", "google-chrome") if (found := shutil.which(name))), ""
)
ACT = """
<script>
const table = document.querySelector("#table-scores");
const heads = [...table.tHead.rows[0].cells];
const at = heads.findIndex((head) => head.textContent === "value");
heads[at].querySelector("button").click();
heads[at].querySelector("button").click();
const values = [...table.tBodies[0].rows].map((row) => row.cells[at].dataset.v).filter((v) => v !== "").map(Number);
const select = table.closest("section").querySelector(".filters select");
select.value = "forest_sim";
select.dispatchEvent(new Event("change"));
const shown = [...table.tBodies[0].rows].filter((row) => !row.hidden).map((row) => row.cells[0].textContent);
const wide = document.documentElement.scrollWidth > innerWidth;
document.title = JSON.stringify([values.every((v, k) => k === 0 || v <= values[k - 1]), [...new Set(shown)], wide]);
</script>
"""


def run_browser(page: Path, profile: Path, width: int = 1280) -> tuple[str, str]:
    """The page after its scripts ran, and what the browser logged."""
    done = subprocess.run(
        [
            BROWSER, "--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking", "--no-first-run",
            "--disable-dev-shm-usage", f"--user-data-dir={profile}", "--enable-logging=stderr",
            f"--window-size={width},900", "--virtual-time-budget=5000", "--dump-dom", page.as_uri(),
        ],
        capture_output=True, text=True, check=True, timeout=120,
    )  # fmt: skip
    return done.stdout, done.stderr


@pytest.mark.skipif(not BROWSER, reason="no Chromium on this machine")
@pytest.mark.parametrize("width", [1280, 500])
def test_in_a_browser(page: Path, tmp_path: Path, width: int) -> None:
    acted = tmp_path / "acted.html"
    acted.write_text(page.read_text().replace("</body>", ACT + "</body>"))
    html, log = run_browser(acted, tmp_path / "profile", width)
    assert not re.findall(r".*CONSOLE.*", log)
    title = re.search(r"<title>(.*?)</title>", html)
    assert title and title[1] == '[true,["forest_sim"],false]'

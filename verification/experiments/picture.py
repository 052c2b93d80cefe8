"""`captune dev picture`: the first screen of a report, by headless Chromium."""

import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Annotated

import typer

from captune.account import Refused

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "chrome")
QUIET = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--hide-scrollbars",
    "--no-first-run",
    "--disable-background-networking",
]


def take(report: Path, picture: Path) -> None:
    """Writes a picture of the report. Raises Refused if it is missing or no browser of the Chromium family is installed."""
    if not report.is_file():
        raise Refused(f"There is no report {report}. Name the report.html of a run.")
    browser = next((found for name in BROWSERS if (found := shutil.which(name))), None)
    if browser is None:
        names = ", ".join(BROWSERS)
        raise Refused(f"None of {names} is installed. Install one; the report itself is complete without the picture.")
    with tempfile.TemporaryDirectory() as profile:
        options = [f"--user-data-dir={profile}", "--window-size=1280,1500", f"--screenshot={picture}"]
        command = [browser, *QUIET, *options, report.resolve().as_uri()]
        subprocess.run(command, check=True, capture_output=True, timeout=120)


def command(
    report: Annotated[Path, typer.Argument(metavar="REPORT", help="The report.html of a run.", show_default=False)],
    picture: Annotated[Path, typer.Argument(metavar="PICTURE", help="The PNG file to write.", show_default=False)],
) -> None:
    """Takes the picture, and prints its size."""
    take(report, picture)
    print(f"{picture}: {picture.stat().st_size // 1024} KiB")

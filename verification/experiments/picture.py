"""captune picture REPORT.html PICTURE.png: the first screen of a report, by headless Chromium."""

import argparse
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

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
    """Writes a picture of the report. Raises FileNotFoundError if it is missing or no browser of the Chromium family is installed."""
    if not report.is_file():
        raise FileNotFoundError(f"there is no report {report}; name the report.html of a run")
    browser = next((found for name in BROWSERS if (found := shutil.which(name))), None)
    if browser is None:
        names = ", ".join(BROWSERS)
        raise FileNotFoundError(f"none of {names} is installed; the report itself is complete without the picture")
    with tempfile.TemporaryDirectory() as profile:
        options = [f"--user-data-dir={profile}", "--window-size=1280,1500", f"--screenshot={picture}"]
        command = [browser, *QUIET, *options, report.resolve().as_uri()]
        subprocess.run(command, check=True, capture_output=True, timeout=120)


def main(arguments: list[str] | None = None, prog: str = "python -m verification.experiments.picture") -> int:
    """Reads the command line; answers the exit code."""
    parser = argparse.ArgumentParser(prog=prog, description=__doc__)
    parser.add_argument("report", type=Path)
    parser.add_argument("picture", type=Path)
    given = parser.parse_args(arguments)
    try:
        take(given.report, given.picture)
    except FileNotFoundError as missing:
        print(missing, file=sys.stderr)
        return 1
    print(f"{given.picture}: {given.picture.stat().st_size // 1024} KiB")
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""Write the generated pages of docs/reference.

Run: python tools/reference.py [--check]. With --check it writes nothing, names
the pages that are not what the program says, and exits 1 if there are any.
"""

import sys
from collections.abc import Callable
from pathlib import Path

import reference_command_line
import reference_configuration
import reference_errors
import reference_metrics
import reference_routes
import reference_settings

FOLDER = Path(__file__).parent.parent / "docs" / "reference"

PAGES: dict[str, Callable[[], str]] = {
    "command-line.md": reference_command_line.page,
    "configuration-file.md": reference_configuration.page,
    "errors.md": reference_errors.page,
    "metrics.md": reference_metrics.page,
    "routes.md": reference_routes.page,
    "settings.md": reference_settings.page,
}


def main(arguments: list[str]) -> int:
    """Write the pages, or compare them; give the exit code."""
    stale = 0
    for name, make in PAGES.items():
        path = FOLDER / name
        text = make()
        if path.exists() and path.read_text() == text:
            continue
        if arguments == ["--check"]:
            print(f"{path} is not what the program says; run make docs")
            stale = 1
        else:
            path.write_text(text)
    return stale


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

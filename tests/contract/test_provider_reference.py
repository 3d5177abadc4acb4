"""The provider reference says what the catalogue says."""

import subprocess
import sys
from pathlib import Path

from posthouse.catalog.load import load_catalog

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "reference" / "providers.md"


def test_the_page_is_up_to_date():
    """A change of the catalogue changes the page: python tools/provider_reference.py"""
    done = subprocess.run(
        [sys.executable, "tools/provider_reference.py", "--check"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_page_has_every_provider_and_model():
    """Nothing of the catalogue is left out, and every price has its source."""
    text = PAGE.read_text(encoding="utf-8")
    for row in load_catalog().values():
        assert f'`provider = "{row.name}"`' in text
        for model in row.models.values():
            assert f"`{model.id}`" in text
            if model.price is not None and model.source != "unverified":
                assert f"[{model.date}]({model.source})" in text

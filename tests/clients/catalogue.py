"""`posthouse` with one provider more: it speaks OpenAI's Responses and nothing else.

    python -m tests.clients.catalogue serve …

Whoever is shipped speaks chat completions as well, and callers of other dialects are
led to those. Models that are offered in responses alone are declared in this way.
"""

import tempfile
from collections.abc import Mapping
from functools import cache
from pathlib import Path

from posthouse.catalog import load
from posthouse.cli import main
from posthouse.model.catalog import ProviderRow

ROW = """
title = "Responses alone"
base_url = ""
auth = "bearer"

[operations.chat]
path = "/responses"
dialect = "openai_responses"
traits = { developer = true, new_output_limit = true, custom_tools = true }
verified = "sdk"
"""

_shipped = load._own_catalog


@cache
def widened() -> Mapping[str, ProviderRow]:
    """The catalogue that is shipped, and the row."""
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "responses-alone.toml").write_text(ROW)
        return {**_shipped(), **load.load_catalog(Path(folder))}


if __name__ == "__main__":
    load._own_catalog = widened
    main()

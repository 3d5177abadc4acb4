"""A batch whose lines hold more than the account has, and cost less."""

from pathlib import Path

from tests.integration.test_batches_crash import (
    CONFIGURATION,
    KEY,
    _begin,
    _client,
    _judge,
)
from tests.support.fake import ThreadedFake
from tests.support.posthouse import Posthouse

LINES = 12


def test_lines_wait_for_money_that_other_lines_hold(tmp_path: Path) -> None:
    """Two at a time may be held for, and there is money for them all."""
    with ThreadedFake() as fake:
        configuration = CONFIGURATION.format(origin=fake.origin, key=KEY)
        configuration = configuration.replace(
            'balance_usd = "5"', 'balance_usd = "0.08"'
        )
        with Posthouse(tmp_path, configuration) as server:
            client = _client(server)
            _judge(server, client, _begin(client, LINES), LINES)

"""SIGKILL to the real server: at every named point, and at random instants.

All kills are of one campaign, one after the other, on the same data and in the midst
of the same callers. What a death has left is judged at the next start.
"""

from collections.abc import Iterator

import pytest
from tests.crash import points
from tests.crash.campaign import Campaign
from tests.crash.plants import PLANTS

from posthouse.billing.killpoints import POINTS

RANDOM_KILLS = 20
"""In all, those before a named point among them; `make crash` makes two hundred."""


def _groups() -> dict[str, list[str]]:
    groups: dict[str, list[str]] = {}
    for name in sorted(set(points.discovered()) - points.LEFT_OUT):
        group = name.partition(".")[0] if "." in name else "relay"
        groups.setdefault(group, []).append(name)
    return groups


@pytest.fixture(scope="module")
def campaign(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Campaign]:
    """Callers, a provider and a gateway; judged as a whole at the end."""
    folder = tmp_path_factory.mktemp("crash")
    with Campaign(folder, seed=7, forked=True) as campaign:
        yield campaign
        report = campaign.report
        before = len(report.faults)
        campaign.finish()
    print("\n".join(report.lines()))
    assert report.faults[before:] == []
    assert report.terminals > 0
    assert report.kills


def test_every_point_is_known():
    """What billing lists is what the source reaches, and the relay has points too."""
    assert set(points.discovered()) > POINTS
    assert set(points.discovered()) > points.LEFT_OUT


@pytest.mark.timeout(240)
@pytest.mark.parametrize("group", sorted(_groups()))
def test_a_kill_at_each_point(group, campaign):
    """Each is reached under load; afterwards nothing is lost or charged twice."""
    names = _groups()[group]
    kills, faults = len(campaign.report.kills), len(campaign.report.faults)
    for name in names:
        campaign.kill_at(name)
    killed = [kill.point for kill in campaign.report.kills[kills:]]
    assert campaign.report.faults[faults:] == []
    assert set(names) <= set(killed)


@pytest.mark.timeout(240)
def test_kills_at_random_instants(campaign):
    """Of a serving gateway, and now and then of one that is only starting."""
    faults = len(campaign.report.faults)
    while campaign.random_kills < RANDOM_KILLS:
        campaign.kill_somewhere()
    assert campaign.report.faults[faults:] == []


@pytest.mark.parametrize("name", PLANTS)
def test_what_is_planted_fits_the_source(name: str) -> None:
    """Each planted fault still replaces one place of the program."""
    plant = PLANTS[name]
    text = (points.SOURCE / plant.file).read_text()
    assert text.count(plant.old) == 1
    assert plant.new not in text

"""The figures of several workers as one."""

from pathlib import Path

from prometheus_client import CollectorRegistry, Counter

from posthouse.observe.siblings import Siblings


def test_figures_of_all_are_added_and_the_last_ones_stay(tmp_path: Path) -> None:
    """A thread that writes late does not put an older figure in their place."""
    siblings, counters = [], []
    for slot in range(2):
        registry = CollectorRegistry()
        counters.append(Counter("posthouse_things", "Things.", registry=registry))
        siblings.append(Siblings(tmp_path, slot, registry.collect))
    one, two = siblings
    late = one.figures()
    counters[0].inc(3)
    one.write(one.figures(), last=True)
    one.write(late)
    counters[1].inc(4)
    (things,) = [each for each in two.collect() if each.name == "posthouse_things"]
    totals = {sample.name: sample.value for sample in things.samples}
    assert totals["posthouse_things_total"] == 7

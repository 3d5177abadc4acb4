"""The shared counters in Valkey: flushed, restarted, full, read-only, clustered."""

import asyncio
import secrets
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import closing

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.support.cases import each
from tests.support.valkey import Desk, Valkey
from tests.support.valkey_counting import ValkeyTallies
from tests.unit.access.counting import Clock, Counters

from posthouse.access.counters import Ahead, Answer, Ask
from posthouse.access.ports import CountersUnavailable
from posthouse.access.windows import Rates
from posthouse.storage.coordination import valkey as coordination_valkey
from posthouse.storage.coordination.valkey import (
    DEAD_SECONDS,
    MOST_ASKS,
    ValkeyCounters,
    slot_of,
)

RATES = Rates(requests=5)
PLACES = Rates(concurrency=3)

MakeStore = Callable[..., ValkeyCounters]


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture(scope="module")
def own() -> Iterator[Valkey]:
    """One that its tests may break."""
    with Valkey() as server:
        yield server


@pytest.fixture
async def make_store(own: Valkey) -> AsyncIterator[MakeStore]:
    """Make stores of one installation, closed in the end."""
    mark = secrets.token_hex(4)
    made: list[ValkeyCounters] = []

    def make(clock: Clock | None = None, seconds: float = 10) -> ValkeyCounters:
        how = {} if clock is None else {"clock": clock, "moment": clock}
        made.append(ValkeyCounters(own.place, mark, seconds=seconds, **how))
        return made[-1]

    yield make
    for store in made:
        await store.close()


async def ask(
    store: ValkeyCounters, calls: int, rates: Rates = RATES, subject: str = "s"
) -> Answer:
    (told,) = await store.exchange([Ask(subject, rates, 2, calls=((0, 0),) * calls)])
    return told


def admitted(told: Answer) -> int:
    return sum(isinstance(verdict, int) for verdict in told.verdicts)


# --- the arithmetic ----------------------------------------------------------------

LIMIT = st.none() | st.integers(1, 60)
ASKS = st.lists(
    st.tuples(
        st.floats(0, 40),
        st.sampled_from("abcdef"),
        st.integers(0, 5),
        st.lists(st.tuples(st.integers(0, 70), st.integers(0, 40)), max_size=4),
        st.tuples(st.integers(0, 9), st.integers(1, 30), st.integers(0, 3)),
        st.integers(0, 3),
        st.integers(-3, 3),
        st.booleans(),
    ),
    max_size=25,
)


def compare(
    both: tuple[Counters, ValkeyTallies],
    rates: Rates,
    step: tuple,
    firsts: list[float],
) -> None:
    """Ask both the same."""
    gap, owner, held, calls, ahead, corrected, change, dies = step
    if owner in both[0].dead:
        return
    clock = both[0].clock
    assert isinstance(clock, Clock)
    # Fractions that both kinds of time have exactly.
    clock.now += round(gap * 64) / 64
    told = ((firsts[-corrected % len(firsts)], change, 7 * change),)
    corrections = told if corrected else ()
    lent = Ahead(*ahead)
    question = Ask("s", rates, 2, held, tuple(calls), lent, corrections)
    here, there = (counters.answer([question], owner)[0] for counters in both)
    names = here.__struct_fields__
    expected = {name: getattr(here, name) for name in names}
    for name in ("lent_until", "kept_until", "empty_at"):
        # What is past is told as nothing.
        if expected[name] <= clock.now:
            expected[name] = 0.0
    assert {name: getattr(there, name) for name in names} == expected
    firsts.append(here.bucket)
    if dies:
        for counters in both:
            counters.dead.add(owner)


@settings(max_examples=120, deadline=None)
@given(steps=ASKS, rates=st.builds(Rates, LIMIT, LIMIT, LIMIT))
def test_script_answers_as_the_arithmetic_does(
    valkey: Valkey, steps: list[tuple], rates: Rates
) -> None:
    """Whatever is asked in whichever order, both give the same answers."""
    clock = Clock()
    with closing(Desk(valkey.port)) as desk:
        both = (Counters(clock), ValkeyTallies(clock, valkey, desk))
        firsts = [0.0]
        for step in steps:
            compare(both, rates, step, firsts)


@pytest.mark.parametrize(("back", "left"), [(30.0, 1), (3000.0, 5)])
async def test_clock_that_is_set_back(
    make_store: MakeStore, clock: Clock, back: float, left: int
) -> None:
    """By less than a minute, time stands still; by more, a minute begins anew."""
    store = make_store(clock)
    clock.now = 10_000.0
    assert admitted(await ask(store, 4)) == 4
    clock.now -= back
    assert admitted(await ask(store, 9)) == left


# --- nodes ---------------------------------------------------------------------------


async def test_all_count_in_one_place(make_store: MakeStore) -> None:
    """What one has taken the other does not get; they know how many they are."""
    one, other = make_store(), make_store()
    assert admitted(await ask(one, 3)) == 3
    assert admitted(await ask(other, 3)) == 2
    await one.exchange([])
    assert one.processes == other.processes == 2
    await other.close()
    await one.exchange([])
    assert one.processes == 1


async def test_installations_do_not_meet(own: Valkey, make_store: MakeStore) -> None:
    """Those with other secrets, in the same database, count for themselves."""
    stranger = ValkeyCounters(own.place, "stranger", seconds=10)
    assert admitted(await ask(make_store(), 9)) == 5
    assert admitted(await ask(stranger, 9)) == 5
    await stranger.close()


async def test_node_whose_clock_is_wrong(make_store: MakeStore) -> None:
    """Moments are told by the asker's clock, though the server counts by its own."""
    store = make_store()
    store._clock = lambda: 77.0
    told = await ask(store, 1, Rates(requests=5, concurrency=100))
    assert told.until == 77.25
    assert told.empty_at == pytest.approx(137, abs=0.01)
    assert told.kept_until == 77.25
    assert told.lent_until == 0


async def test_places_of_one_that_is_not_heard_of(
    make_store: MakeStore, clock: Clock
) -> None:
    """They are free a few seconds later, and not before."""
    one, other = make_store(clock), make_store(clock)
    assert admitted(await ask(one, 3, PLACES)) == 3
    clock.now += DEAD_SECONDS - 0.5
    told = await ask(other, 1, PLACES)
    assert (admitted(told), told.others) == (0, 3)
    clock.now += 0.5
    assert admitted(await ask(other, 4, PLACES)) == 3


async def test_places_of_the_living_stay(
    make_store: MakeStore, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A long call tells nothing by itself; its process does, for more than a few."""
    one, other = make_store(clock), make_store(clock)
    subjects = [f"s{number}" for number in range(MOST_ASKS + 10)]
    asks = [Ask(subject, PLACES, 2, calls=((0, 0),) * 3) for subject in subjects]
    await one.exchange(asks)
    monkeypatch.setattr(coordination_valkey, "RENEW_SECONDS", 0.02)
    one.start()
    for _ in range(3):
        clock.now += DEAD_SECONDS - 0.5
        await asyncio.sleep(0.15)
    for subject in (subjects[0], subjects[-1]):
        assert admitted(await ask(other, 1, PLACES, subject)) == 0


async def test_who_leaves_holds_nothing(make_store: MakeStore, own: Valkey) -> None:
    """Its places are free at once, and nothing of it stays."""
    one, other = make_store(), make_store()
    assert admitted(await ask(one, 3, PLACES)) == 3
    await one.close()
    assert admitted(await ask(other, 4, PLACES)) == 3
    await other.close()
    assert own.do("DBSIZE") == 0 or all(
        own.do("PTTL", key) > 0 for key in own.do("KEYS", "*")
    )
    with pytest.raises(CountersUnavailable, match="closed"):
        await ask(other, 1)


async def test_every_key_ends_by_itself(make_store: MakeStore, own: Valkey) -> None:
    """A minute after its last use at the latest, or when its owner counts as dead."""
    store = make_store()
    await ask(store, 1, Rates(requests=9, concurrency=9), "both")
    await ask(store, 1, PLACES, "places")
    own.do("SET", f"{store._prefix}{{foreign}}", "x")
    await ask(store, 1, RATES, "foreign")
    for name, longest in (("both", 61), ("places", 6), ("foreign", 61)):
        left = own.do("PTTL", f"{store._prefix}{{{name}}}")
        assert longest - 1.5 < left / 1000 <= longest
    await ask(store, 0, PLACES, "places")
    assert own.do("EXISTS", f"{store._prefix}{{places}}") == 0


async def test_many_subjects_go_in_portions(make_store: MakeStore) -> None:
    """All are answered, in their order."""
    count = 2 * MOST_ASKS + 1
    asks = [
        Ask(f"{number}", Rates(requests=1 + number), 2, calls=((0, 0),) * 1000)
        for number in range(0, 5 * count, 5)
    ][:count]
    small = [Ask(one.subject, one.rates, 2, calls=((0, 0),)) for one in asks]
    answers = await make_store().exchange(small)
    assert [told.requests_left for told in answers] == [5 * n for n in range(count)]


# --- what happens to a server --------------------------------------------------------


async def test_flushed(
    make_store: MakeStore, own: Valkey, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Minutes begin anew, scripts are told again, places are soon there again."""
    monkeypatch.setattr(coordination_valkey, "RENEW_SECONDS", 0.02)
    one, other = make_store(), make_store()
    await ask(one, 5)
    assert admitted(await ask(one, 3, PLACES, "p")) == 3
    own.do("FLUSHALL")
    own.do("SCRIPT", "FLUSH")
    assert admitted(await ask(other, 9)) == 5
    one.start()
    await asyncio.sleep(0.1)
    assert admitted(await ask(other, 3, PLACES, "p")) == 0
    assert one.processes == 2


async def test_restarted(make_store: MakeStore, own: Valkey) -> None:
    """It is told that nothing was taken; afterwards all goes on."""
    store = make_store()
    await ask(store, 2)
    own.stop()
    try:
        await asyncio.sleep(0.01)
        for _ in range(2):
            with pytest.raises(CountersUnavailable, match="refused") as caught:
                await ask(store, 1)
            assert caught.value.untold
    finally:
        own.start()
    assert admitted(await ask(store, 9)) == 5


async def test_full(make_store: MakeStore, own: Valkey) -> None:
    """What it has no memory for it does not take, and it says so."""
    store = make_store()
    await ask(store, 2)
    own.do("CONFIG", "SET", "maxmemory", "1")
    try:
        with pytest.raises(CountersUnavailable, match="OOM") as caught:
            await ask(store, 1)
        assert caught.value.untold
    finally:
        own.do("CONFIG", "SET", "maxmemory", "0")
    assert admitted(await ask(store, 9)) == 3


async def test_read_only(make_store: MakeStore, own: Valkey) -> None:
    """A replica takes nothing; who asks again asks whoever has its name then."""
    store = make_store()
    await ask(store, 2)
    own.do("REPLICAOF", "127.0.0.1", "1")
    try:
        with pytest.raises(CountersUnavailable, match="READONLY") as caught:
            await ask(store, 1)
        assert caught.value.untold
        assert not store._links
    finally:
        own.do("REPLICAOF", "NO", "ONE")
    assert admitted(await ask(store, 9)) == 3


async def test_half_of_it_refused(make_store: MakeStore, own: Valkey) -> None:
    """Where some was taken and some was not, nobody says that nothing was."""
    store = make_store()
    own.do("LPUSH", f"{store._prefix}{{list}}", "x")
    with pytest.raises(CountersUnavailable, match="WRONGTYPE") as caught:
        await store.exchange([Ask("s", RATES, 2), Ask("list", RATES, 2)])
    assert not caught.value.untold


async def test_standing_still(make_store: MakeStore, own: Valkey) -> None:
    """It is waited for once and briefly; what it says later goes to nobody."""
    store = make_store(seconds=0.1)
    await ask(store, 1)
    own.pause(on=True)
    try:
        began = asyncio.get_running_loop().time()
        with pytest.raises(CountersUnavailable, match="no answer within") as caught:
            await ask(store, 1, subject="late")
        assert not caught.value.untold
        assert asyncio.get_running_loop().time() - began < 1
    finally:
        own.pause(on=False)
    store._seconds = 10
    told = await store.exchange([Ask("s", RATES, 2), Ask("other", RATES, 2)])
    assert [one.requests_left for one in told] == [4, 5]


@pytest.mark.parametrize("turns", range(8))
async def test_asker_who_leaves(make_store: MakeStore, turns: int) -> None:
    """Wherever it is cancelled, no reply is ever taken for another's."""
    store = make_store()
    if turns % 2:
        await store.exchange([])
    for number in range(5):
        task = asyncio.create_task(ask(store, 1, Rates(requests=10 + number)))
        for _ in range(turns):
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        told = await ask(store, 0, Rates(requests=1000), f"other {number}")
        assert told.requests_left == 1000


async def test_busy_event_loop_is_no_fault_of_the_server(
    make_store: MakeStore,
) -> None:
    """An answer that is there when the loop comes back is in time."""
    import time

    store = make_store(seconds=0.1)
    await ask(store, 1)
    task = asyncio.create_task(ask(store, 1))
    for _ in range(3):
        await asyncio.sleep(0)
    time.sleep(0.15)
    assert admitted(await task) == 1


# --- a cluster -----------------------------------------------------------------


@each(("key", "slot"), [("foo", 12182), ("a{foo}b", 12182), ("{}foo", 9500), ("", 0)])
def test_slots_are_those_of_a_cluster(valkey: Valkey, key: str, slot: int) -> None:
    assert slot_of(key) == slot == valkey.do("CLUSTER", "KEYSLOT", key)


async def test_cluster() -> None:
    """Subjects are followed to their nodes; those of a lost node count as gone."""
    options = {"cluster-enabled": "yes", "cluster-require-full-coverage": "no"}
    with Valkey(**options) as one, Valkey(**options) as two:
        one.do("CLUSTER", "ADDSLOTSRANGE", 0, 8191)
        two.do("CLUSTER", "ADDSLOTSRANGE", 8192, 16383)
        one.do("CLUSTER", "MEET", "127.0.0.1", two.port, two.bus_port)
        async with asyncio.timeout(20):
            for node in (one, two):
                while b"cluster_slots_assigned:16384" not in node.do("CLUSTER", "INFO"):
                    await asyncio.sleep(0.05)
                while b"cluster_state:ok" not in node.do("CLUSTER", "INFO"):
                    await asyncio.sleep(0.05)
        stores = [ValkeyCounters(node.place, "m", seconds=10) for node in (one, two)]
        asks = [Ask(f"{number}", RATES, 2, 0, ((0, 0),) * 3) for number in range(20)]
        for expected in (3, 2):
            answers = await stores[expected == 3].exchange(asks)
            assert [admitted(told) for told in answers] == [expected] * 20
        assert one.do("DBSIZE") > 3
        assert two.do("DBSIZE") > 3
        assert len(stores[0]._links) == 2
        for store in stores:
            await store.close()

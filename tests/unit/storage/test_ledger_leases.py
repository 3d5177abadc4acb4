"""What an account that is nearly empty gives to calls that wait."""

from hypothesis import given
from hypothesis import strategies as st

from posthouse.billing.ports import DrawRequest
from posthouse.storage.ledger.leases import what_serves

AMOUNTS = st.integers(0, 50)
WISHES = st.lists(st.tuples(AMOUNTS, AMOUNTS).map(lambda w: (max(w), min(w))))


def ask(wishes, free=0):
    need = max(0, sum(amount for amount, _ in wishes) - free)
    return DrawRequest("a", need=need, unit=10, slice=0, wishes=tuple(wishes))


def test_nothing_is_taken_that_serves_no_call():
    """Five of ten help nobody here, and perhaps somebody elsewhere."""
    assert what_serves(ask([(10, 10)]), 5) == 0
    assert what_serves(ask([(10, 10), (10, 10)]), 15) == 10


def test_a_call_that_is_too_dear_is_passed_over_for_those_behind_it():
    """A large wish at the head keeps no small one from its money."""
    assert what_serves(ask([(100, 100), (10, 10)]), 15) == 10


def test_a_call_that_takes_less_takes_what_there_is():
    """An extension is content with a part."""
    assert what_serves(ask([(10, 10), (20, 1)]), 15) == 15


def test_money_that_is_free_already_is_added():
    """Five here and five there serve a call of ten."""
    assert what_serves(ask([(10, 10), (10, 10)], free=5), 5) == 5


@given(WISHES, st.integers(0, 100), st.integers(0, 60))
def test_never_more_than_there_is_or_is_needed(wishes, left, free):
    """Whatever waits, an account gives at most what it has."""
    request = ask(wishes, free)
    given_ = what_serves(request, left)
    assert 0 <= given_ <= min(left, request.need)
    if request.need <= left:
        assert given_ == request.need

"""The process's wallets: what it has drawn of each account and not yet spent.

Rules. All of this runs in the event loop's thread. A wallet's `free` part plus
its open holds is what its lease is worth, whatever the ledger has drained.
Calls that `free` does not cover wait in order; one draw per account is under
way at a time and asks for all that wait, so a thousand parallel calls cost a
few transactions, and those that the money does not reach are refused together.
Near the limit (strict) nothing is kept that is not held: what other processes
keep free is recalled, and a call that this may still serve has some patience.
Nobody is told that there is no money while a process keeps some that does not
answer.
Wallets that nobody uses are emptied and forgotten.
"""

import asyncio
import math
from collections import OrderedDict, deque
from collections.abc import Callable, Sequence
from typing import Final, Protocol

from msgspec import Struct

from posthouse.billing.ports import Draw, DrawRequest, GiveBack
from posthouse.errors import InsufficientQuota, StorageUnavailable

PATIENCE_SECONDS: Final = 0.5
"""How long a refusal waits for money that other processes give back."""
RETRY_SECONDS: Final = 0.05
SWEEP: Final = 200
"""Wallets that one sweep looks at."""
MAX_AMOUNT: Final = 10**15
"""A million US dollars: no single hold or slice is larger."""


class LeasePolicy(Struct, frozen=True):
    """How much is drawn at a time, and how long it is kept."""

    slice_holds: int = 64
    """A slice covers this many holds like the one that asks."""
    idle_seconds: float = 30.0
    """An unused wallet is given back after this long."""
    max_wallets: int = 10_000
    """More wallets than this are given back earlier."""


class Teller(Protocol):
    """Carries draws and returns to the ledger, off the event loop."""

    def draw(
        self, request: DrawRequest, done: Callable[[Draw | BaseException], None]
    ) -> None:
        """Ask for money; `done` is called in the event loop."""

    def give_back(
        self, item: GiveBack, done: Callable[[BaseException | None], None]
    ) -> None:
        """Return money before any later draw is served."""


class Waiter:
    """A call that waits for money."""

    __slots__ = ("amount", "asked", "future", "least", "until")

    def __init__(self, amount: int, least: int, future: "asyncio.Future[int]") -> None:
        """Wait for `amount`, or at the end for `least` and what there is above."""
        self.amount = amount
        self.least = least
        self.until = 0.0
        """When its patience ends; 0 before others have been asked for its sake."""
        self.future = future
        self.asked = False
        """Whether the draw under way asks for it."""


class Wallet:
    """What is drawn of one account."""

    __slots__ = (
        "account_id",
        "drawing",
        "free",
        "lease_id",
        "low_water",
        "open_holds",
        "strict",
        "used_at",
        "waiters",
    )

    def __init__(self, account_id: str) -> None:
        """An empty wallet."""
        self.account_id = account_id
        self.lease_id = ""
        self.free = 0
        self.open_holds = 0
        self.drawing = False
        self.strict = False
        self.low_water = 0
        """Below this the next slice is drawn before it is needed."""
        self.used_at = 0.0
        self.waiters: deque[Waiter] = deque()

    @property
    def idle(self) -> bool:
        """Whether nothing would notice if it were gone."""
        return not (self.open_holds or self.drawing or self.waiters)


class Wallets:
    """All wallets, the least recently used first."""

    def __init__(
        self, teller: Teller, policy: LeasePolicy, clock: Callable[[], float]
    ) -> None:
        """Begin without any.

        Args:
            teller: where draws and returns go.
            policy: sizes and times.
            clock: monotonic seconds.
        """
        self._teller = teller
        self._policy = policy
        self._clock = clock
        self._wallets: OrderedDict[str, Wallet] = OrderedDict()
        self.now = clock()
        """When the last sweep was; a wallet used since is among the last as it is."""
        self.find = self._wallets.get

    def __len__(self) -> int:
        return len(self._wallets)

    def wallet(self, account_id: str) -> Wallet:
        """The account's wallet, made if need be, as the one used last."""
        wallet = self._wallets.get(account_id)
        if wallet is None:
            wallet = self._wallets[account_id] = Wallet(account_id)
        else:
            self._wallets.move_to_end(account_id)
        wallet.used_at = self.now
        return wallet

    def top_up(self, wallet: Wallet, amount: int) -> None:
        """Draw the next slice while calls are still covered."""
        if not wallet.drawing:
            self._draw(wallet, amount)

    async def wait(self, wallet: Wallet, amount: int, least: int) -> int:
        """Wait until `amount` is taken from the wallet; give what was taken.

        When it cannot be had, as much as there is, down to `least`. Raises
        InsufficientQuota and StorageUnavailable.
        """
        future: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        wallet.waiters.append(Waiter(amount, least, future))
        if not wallet.drawing:
            self._draw(wallet, amount)
        try:
            return await future
        except asyncio.CancelledError:
            if future.done() and not future.cancelled() and not future.exception():
                wallet.free += future.result()
                self.changed(wallet)
            raise

    def changed(self, wallet: Wallet) -> None:
        """Money came back into `free`: serve who waits, or give it up if strict."""
        waiters = wallet.waiters
        while waiters and (
            waiters[0].future.done() or waiters[0].amount <= wallet.free
        ):
            waiter = waiters.popleft()
            if not waiter.future.done():
                wallet.free -= waiter.amount
                waiter.future.set_result(waiter.amount)
        if wallet.strict and wallet.free and not waiters and not wallet.drawing:
            self._give_back(wallet)

    def recall(self, account_ids: Sequence[str]) -> None:
        """Give back what is free of these accounts, and keep nothing free."""
        for account_id in account_ids:
            wallet = self._wallets.get(account_id)
            if wallet is None:
                self._teller.give_back(GiveBack("", account_id, 0, True), _ignore)
            else:
                wallet.strict = True
                wallet.low_water = 0
                self._give_back(wallet, answers=True)

    def sweep(self) -> None:
        """Empty and then forget wallets that nobody uses, some at a time."""
        self.now = self._clock()
        wallets = self._wallets
        oldest = self.now - self._policy.idle_seconds
        for _ in range(min(SWEEP, len(wallets))):
            account_id, wallet = next(iter(wallets.items()))
            if wallet.used_at > oldest and len(wallets) <= self._policy.max_wallets:
                return
            if wallet.idle and not wallet.free:
                del wallets[account_id]
                continue
            wallets.move_to_end(account_id)
            if wallet.idle:
                self._give_back(wallet)

    def _draw(self, wallet: Wallet, unit: int) -> None:
        wallet.drawing = True
        if wallet.strict and wallet.free:
            # Others may be able to use what is too little here.
            self._give_back(wallet)
        need = -wallet.free
        wishes = []
        for waiter in wallet.waiters:
            waiter.asked = True
            if not waiter.future.done():
                need += waiter.amount
                wishes.append((waiter.amount, waiter.least))
        request = DrawRequest(
            account_id=wallet.account_id,
            need=max(0, need),
            unit=unit,
            slice=min(unit * self._policy.slice_holds, MAX_AMOUNT),
            wishes=tuple(wishes),
        )
        self._teller.draw(request, lambda outcome: self._drawn(wallet, outcome))

    def _drawn(self, wallet: Wallet, outcome: Draw | BaseException) -> None:
        """Hand out a draw to those it was asked for; ask again for the others."""
        wallet.drawing = False
        pause = False
        if isinstance(outcome, BaseException):
            wallet.low_water = 0
            self._hand_out(wallet, StorageUnavailable, now=math.inf, held=False)
        else:
            wallet.lease_id = outcome.lease_id or wallet.lease_id
            wallet.free += outcome.amount
            wallet.strict = outcome.strict
            wallet.low_water = 0 if outcome.strict else outcome.amount // 4
            pause = outcome.elsewhere
            now = self._clock() if pause else math.inf
            refusal: type[InsufficientQuota | StorageUnavailable] = InsufficientQuota
            if outcome.unanswered:
                # Who is dead or stands still has money of it: that is not the
                # caller's fault, and will pass.
                refusal = StorageUnavailable
            self._hand_out(wallet, refusal, now=now, held=outcome.elsewhere)
        self.changed(wallet)
        if not wallet.waiters:
            return
        unit = wallet.waiters[0].amount
        if pause:
            # Other processes are giving back what they do not need.
            wallet.drawing = True
            loop = asyncio.get_running_loop()
            loop.call_later(RETRY_SECONDS, self._draw, wallet, unit)
        else:
            self._draw(wallet, unit)

    def _hand_out(
        self,
        wallet: Wallet,
        refusal: type[InsufficientQuota | StorageUnavailable],
        *,
        now: float,
        held: bool,
    ) -> None:
        """Serve or refuse those that the last draw was asked for, in order.

        `held`: others hold some of the money for their calls.
        """
        waiters = wallet.waiters
        patient: list[Waiter] = []
        held = held or wallet.open_holds > len(waiters)
        # Who does not answer may only be busy.
        more = PATIENCE_SECONDS if refusal is StorageUnavailable else 0.0
        while waiters and waiters[0].asked:
            waiter = waiters.popleft()
            if waiter.future.done():
                continue
            if waiter.least <= wallet.free:
                amount = min(waiter.amount, wallet.free)
                wallet.free -= amount
                waiter.future.set_result(amount)
                held = True
            elif now < math.inf and (not waiter.until or now < waiter.until + more):
                waiter.until = waiter.until or now + PATIENCE_SECONDS
                waiter.asked = False
                patient.append(waiter)
            else:
                error = refusal()
                if isinstance(error, InsufficientQuota):
                    error.held = held
                waiter.future.set_exception(error)
        waiters.extendleft(reversed(patient))

    def _give_back(self, wallet: Wallet, *, answers: bool = False) -> None:
        """Return all of `free`; what the ledger does not take is free again."""
        amount, wallet.free = wallet.free, 0
        item = GiveBack(wallet.lease_id, wallet.account_id, amount, answers)

        def done(error: BaseException | None) -> None:
            if error is not None:
                wallet.free += amount

        self._teller.give_back(item, done)


def _ignore(_error: BaseException | None) -> None:
    """An answer that was not taken is asked for again."""

"""Turns: who is let in when the process is behind, and what is told of it."""

from functools import partial

from posthouse.access.authenticator import Authenticator
from posthouse.errors import Overloaded
from posthouse.observe.loop_lag import LoopLag
from posthouse.observe.metrics import Metrics
from posthouse.server.credentials import presented_key
from posthouse.server.exchange import Exchange
from posthouse.server.gate import Gate, GateTimes
from posthouse.settings.environment import Settings


def make_gate(
    settings: Settings, authenticator: Authenticator, metrics: Metrics, lag: LoopLag
) -> Gate:
    """Make the gate of a process, told by `lag` how late the loop runs."""
    gate = Gate(
        GateTimes(wait=settings.overload_seconds),
        tenant_of=partial(_tenant_of, authenticator),
    )
    gate.report = partial(metrics.error_reply, Overloaded.code)
    lag.look = gate.look
    metrics.gauge(
        "posthouse_requests_in_line",
        "Requests that wait for their turn, for the process is behind.",
        lambda: gate.waiting,
    )
    metrics.counter(
        "posthouse_requests_shed_total",
        "Requests that were refused because the line was too long.",
        lambda: gate.refused,
    )
    return gate


def _tenant_of(authenticator: Authenticator, exchange: Exchange) -> str:
    """Name who stands in line: the account, where the key is remembered.

    All others of an address are one.
    """
    head = exchange.head
    presented = presented_key(head.fields, head.query)
    principal = authenticator.recall(presented) if presented else None
    return f"@{exchange.peer}" if principal is None else principal.account_id

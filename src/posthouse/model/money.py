"""Money: integers of 10⁻⁹ US dollars (nano-dollars), decimals only at the edge.

Floats are never money here. An amount fits a signed 64-bit integer.
"""

from decimal import Decimal, InvalidOperation

NANO_PER_USD = 1_000_000_000
MAX_AMOUNT = 2**63 - 1
PER_MILLION = 1_000_000
"""Rates are for so many units; an amount is the sum over this, rounded upwards once."""


def parse_usd(text: str) -> int:
    """Turn a decimal string of US dollars into nano-dollars.

    Raises ValueError when it is not a finite decimal, is finer than a
    nano-dollar, or does not fit 64 bits.
    """
    try:
        amount = Decimal(text) * NANO_PER_USD
    except InvalidOperation:
        raise ValueError(f"{text!r} is not a decimal number") from None
    if not amount.is_finite():
        raise ValueError(f"{text!r} is not a finite number")
    if amount != amount.to_integral_value():
        raise ValueError(f"{text!r} is finer than one billionth of a dollar")
    if abs(amount) > MAX_AMOUNT:
        raise ValueError(f"{text!r} is too large")
    return int(amount)


def format_usd(nanodollars: int) -> str:
    """Write nano-dollars as an exact decimal string, at least two places."""
    sign = "-" if nanodollars < 0 else ""
    whole, part = divmod(abs(nanodollars), NANO_PER_USD)
    decimals = f"{part:09d}".rstrip("0").ljust(2, "0")
    return f"{sign}{whole}.{decimals}"

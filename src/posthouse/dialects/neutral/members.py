"""Reading a decoded JSON object member by member; what nobody took is left over.

For readers of dialects: a member is taken by the type that it must have, null
counts as absent, and what was not taken are the extras. A wrong type is refused
with the exception that the reader chose, which is told the place and the type.
"""

from collections.abc import Callable, Iterable
from typing import Any

from posthouse.errors import InvalidRequest, UpstreamBadResponse, one_of
from posthouse.model.chat import Extras

Wrong = Callable[[str, str], Exception]
"""Makes an exception of a place, dotted, and what was expected there."""


def invalid(place: str, expected: str) -> InvalidRequest:
    """What is wrong with a client's request."""
    return InvalidRequest(
        f"Invalid value for '{place}': expected {expected}",
        param=place,
        code="invalid_type",
    )


def unlike(place: str, expected: str) -> UpstreamBadResponse:  # noqa: ARG001 - a Wrong
    """What is wrong with a provider's reply; where, no client is told."""
    return UpstreamBadResponse()


class Members:
    """An object whose members are taken out one by one."""

    __slots__ = ("_left", "_name", "_outer", "_wrong")

    def __init__(
        self, value: Any, place: str, wrong: Wrong, *, outer: "_Outer" = None
    ) -> None:
        """Begin to read an object.

        Args:
            value: what stands there; raises what `wrong` makes if it is no object.
            place: where, dotted, as the other side would name it; "" at the top.
            wrong: makes an exception for a member of another type.
            outer: the object that it stands in, and its index in a list there.
        """
        self._name = place
        self._outer = outer
        if not isinstance(value, dict):
            raise wrong(self.place, "an object")
        self._left: Extras = value.copy()
        self._wrong = wrong

    @property
    def place(self) -> str:
        """Where it stands; put together only where something is wrong."""
        if self._outer is None:
            return self._name
        outer, index = self._outer
        place = outer.at(self._name)
        return place if index is None else f"{place}[{index}]"

    def at(self, name: str) -> str:
        """The place of a member."""
        place = self.place
        return f"{place}.{name}" if place else name

    def wrong(self, name: str, expected: str) -> Exception:
        """Make what refuses a member."""
        return self._wrong(self.at(name), expected)

    def not_one_of(self, name: str, allowed: Iterable[str]) -> Exception:
        """Make what refuses a member that takes only some texts."""
        return self.wrong(name, one_of(allowed))

    def peek(self, name: str) -> Any:
        """Look at a member without taking it."""
        return self._left.get(name)

    def take(self, name: str) -> Any:
        """Take a member of any type."""
        return self._left.pop(name, None)

    def put_back(self, name: str, value: Any) -> None:
        """Leave a member to the extras after all."""
        self._left[name] = value

    def text(self, name: str) -> str | None:
        """Take a text."""
        value = self._left.pop(name, None)
        if value is None or isinstance(value, str):
            return value
        raise self.wrong(name, "a string")

    def needed_text(self, name: str) -> str:
        """Take a text that must be there."""
        value = self.text(name)
        if value is None:
            raise self.wrong(name, "a string")
        return value

    def flag(self, name: str) -> bool | None:
        """Take a boolean."""
        value = self._left.pop(name, None)
        if value is None or isinstance(value, bool):
            return value
        raise self.wrong(name, "a boolean")

    def number(self, name: str) -> float | None:
        """Take a number, whole or not."""
        value = self._left.pop(name, None)
        if value is None or type(value) in (int, float):
            return value  # type: ignore[no-any-return]  # one of the two
        raise self.wrong(name, "a number")

    def whole(self, name: str) -> int | None:
        """Take a whole number; one that is written as 1.0 is one."""
        value = self._left.pop(name, None)
        if type(value) is float and value.is_integer():
            return int(value)
        if value is None or type(value) is int:
            return value
        raise self.wrong(name, "an integer")

    def texts(self, name: str) -> tuple[str, ...]:
        """Take a list of texts; () if it is absent."""
        value = self.array(name)
        if all(isinstance(entry, str) for entry in value):
            return tuple(value)
        raise self.wrong(name, "an array of strings")

    def array(self, name: str) -> list[Any]:
        """Take a list; [] if it is absent."""
        value = self._left.pop(name, None)
        if value is None:
            return []
        if isinstance(value, list):
            return value
        raise self.wrong(name, "an array")

    def object(self, name: str) -> Extras | None:
        """Take an object as it is."""
        value = self._left.pop(name, None)
        if value is None or isinstance(value, dict):
            return value
        raise self.wrong(name, "an object")

    def inner(self, name: str) -> "Members | None":
        """Take an object to be read in its turn."""
        value = self._left.pop(name, None)
        if value is None:
            return None
        return Members(value, name, self._wrong, outer=(self, None))

    def each(self, name: str) -> "list[Members]":
        """Take a list of objects to be read in their turn."""
        return [
            Members(entry, name, self._wrong, outer=(self, index))
            for index, entry in enumerate(self.array(name))
        ]

    def extras(self) -> Extras:
        """What nobody took."""
        if not self._left:
            return {}
        return {name: value for name, value in self._left.items() if value is not None}


_Outer = tuple[Members, int | None] | None

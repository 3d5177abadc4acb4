"""A short text that matches a JSON schema's `pattern`, for the common forms.

Literals, classes, groups, alternatives and repetitions are understood, and an
anchor at either end; look-around, back-references and word boundaries are not.
The text matches by construction: a caller's pattern is never run, since a
hostile one could take for ever.
"""

import re

MAX_PATTERN = 500
MAX_TEXT = 256
CLASSES = {"d": "0", "w": "a", "s": " ", "D": "a", "W": "-", "S": "a"}
COUNT = re.compile(r"(\*|\+|\?|\{(\d{1,6})(?:(,)(\d{0,6}))?\})\??")
CONTROL = {"n": "\n", "t": "\t", "r": "\r", "f": "\f", "v": "\v"}
AMBIGUOUS = re.compile(r"\[|--|&&|\|\||~~")
"""What a later version of `re` may read otherwise inside a class."""
CANDIDATES = "a0A-_ .z9Z@/:"


class UnknownForm(Exception):
    """The pattern holds a form that is not understood here."""


def matching_text(pattern: str, least: int = 0) -> str | None:
    """Give a text that `pattern` is found in; None when there is none at hand.

    What may repeat without end does so until the text has `least` characters.
    """
    if len(pattern) > MAX_PATTERN or least > MAX_TEXT:
        return None
    try:
        text = Reader(pattern, 1).whole()
        return text if len(text) >= least else Reader(pattern, least).whole()
    except (UnknownForm, re.error, RecursionError):
        return None


class Reader:
    """Reads a pattern once, from left to right, writing a match as it goes."""

    def __init__(self, pattern: str, often: int) -> None:
        """Start at the pattern's beginning; `often` is how far `+` and `*` go."""
        self.pattern = pattern.removeprefix("^")
        if self.pattern.endswith("$") and not self.pattern.endswith("\\$"):
            self.pattern = self.pattern[:-1]
        self.often = often
        self.place = 0

    def whole(self) -> str:
        """Write a match of the whole pattern."""
        text = self.alternatives()
        if self.peek():
            raise UnknownForm
        return text

    def peek(self) -> str:
        """Give the next character; empty at the end."""
        return self.pattern[self.place : self.place + 1]

    def take(self) -> str:
        """Give the next character and go past it."""
        character = self.peek()
        if not character:
            raise UnknownForm
        self.place += 1
        return character

    def alternatives(self) -> str:
        """Read `a|b|c` up to the end or a closing bracket; the first is written."""
        first = self.sequence()
        while self.peek() == "|":
            self.take()
            self.sequence()
        return first

    def sequence(self) -> str:
        """Read one alternative."""
        text = ""
        while self.peek() not in ("", "|", ")"):
            item = self.item()
            text += item * self.repetitions()
            if len(text) > MAX_TEXT:
                raise UnknownForm
        return text

    def item(self) -> str:
        """Read what a repetition may follow."""
        character = self.take()
        if character in "^$*+?":
            # An anchor inside, a repetition of a repetition.
            raise UnknownForm
        if character == "(":
            return self.group()
        if character == "[":
            return self.bracket()
        if character == "\\":
            return self.escape()
        return "a" if character == "." else character

    def group(self) -> str:
        """Read a group up to its closing bracket."""
        if self.peek() == "?":
            self.take()
            if self.peek() == "P":
                self.take()
            if self.take() == "<" and self.peek() not in ("=", "!"):
                while self.take() != ">":
                    pass
            elif self.pattern[self.place - 1] != ":":
                raise UnknownForm
        text = self.alternatives()
        if self.take() != ")":
            raise UnknownForm
        return text

    def escape(self) -> str:
        """Read what follows a backslash."""
        character = self.take()
        if character in CLASSES:
            return CLASSES[character]
        if character in CONTROL:
            return CONTROL[character]
        if character.isalnum():
            raise UnknownForm
        return character

    def bracket(self) -> str:
        """Read a character class; let the class itself judge the candidates."""
        start = self.place - 1
        if self.peek() == "^":
            self.take()
        if self.peek() == "]":
            self.take()
        while (character := self.take()) != "]":
            if character == "\\":
                self.take()
        written = self.pattern[start : self.place]
        if AMBIGUOUS.search(written, 1):
            raise UnknownForm
        judge = re.compile(written)
        for candidate in written[1:-1] + CANDIDATES:
            if judge.fullmatch(candidate):
                return candidate
        raise UnknownForm

    def repetitions(self) -> int:
        """Read how often the item repeats; give the least that shows something."""
        counted = COUNT.match(self.pattern, self.place)
        if counted is None:
            return 1
        self.place = counted.end()
        least, most = {"*": (0, MAX_TEXT), "+": (1, MAX_TEXT), "?": (0, 0)}.get(
            counted[1], (int(counted[2] or 0), int(counted[2] or 0))
        )
        if counted[3]:
            most = int(counted[4] or MAX_TEXT)
        return min(max(least, min(self.often, most)), MAX_TEXT + 1)

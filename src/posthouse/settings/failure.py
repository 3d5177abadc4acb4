"""The error of a configuration that cannot be used: where, and why.

It never holds the value at fault when that value may be a secret.
"""


class ConfigurationError(Exception):
    """A file, line or variable of the configuration is at fault."""

    def __init__(self, source: str, line: int | None, reason: str) -> None:
        """Keep the place and the reason.

        Args:
            source: the file's path or the variable's name.
            line: counted from 1; None when there is no line to name.
            reason: a sentence for the operator.
        """
        self.source = source
        self.line = line
        self.reason = reason
        place = source if line is None else f"{source}:{line}"
        super().__init__(f"{place}: {reason}")

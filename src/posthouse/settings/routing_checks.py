"""What probes, routing policies and rules must satisfy beyond their types.

Like `checks`: `(path, reason)` pairs in the order of the file, from nothing but
the arguments.
"""

from collections.abc import Iterable, Iterator

from posthouse.settings.checks import (
    MAX_COUNT,
    MAX_SECONDS,
    Problem,
    check_name,
    check_pattern,
)
from posthouse.settings.file import (
    ConfigurationFile,
    ProbeSpec,
    RoutingSpec,
    RuleSpec,
    RuleUse,
    RuleWhen,
    TokenRange,
    Words,
)

MAX_WORD = 256
MAX_RULES = 1_000
"""Each is looked at for every call, in order, until one holds."""


def check_routing(file: ConfigurationFile) -> Iterator[Problem]:
    """Yield what is wrong with what the file says of routing."""
    seen: set[str] = set()
    for index, channel in enumerate(file.channels):
        if channel.probe is not None:
            yield from _below("channels", index, check_probe(channel.probe))
    for index, spec in enumerate(file.routing):
        yield from _below("routing", index, check_policy(spec))
        if spec.model in seen:
            yield ("routing", index, "model"), f"{spec.model!r} stands here twice"
        seen.add(spec.model)
    if len(file.rules) > MAX_RULES:
        yield ("rules", MAX_RULES), f"there are more than {MAX_RULES} rules"
    names: set[str] = set()
    for index, rule in enumerate(file.rules):
        yield from _below("rules", index, check_rule(rule))
        if rule.name in names:
            yield ("rules", index, "name"), f"{rule.name!r} stands in the file twice"
        names.add(rule.name)


def _below(section: str, index: int, problems: Iterable[Problem]) -> Iterator[Problem]:
    for path, reason in problems:
        yield (section, index, *path), reason


def check_probe(spec: ProbeSpec) -> Iterator[Problem]:
    """Yield what is wrong with a channel's probe, paths relative to the channel."""
    # Written so that NaN fails too.
    if not 1 <= spec.every <= MAX_SECONDS:
        yield ("probe", "every"), "every is a number of seconds from 1, up to a day"
    reason = None if spec.model is None else check_pattern(spec.model)
    if reason or "*" in (spec.model or ""):
        yield ("probe", "model"), reason or "model is one model's name, without *"


def check_policy(spec: RoutingSpec) -> Iterator[Problem]:
    """Yield what is wrong with a model's policy, paths relative to its table."""
    reason = check_pattern(spec.model)
    if reason:
        yield ("model",), reason
    if spec.hedge is not None and not 0 < spec.hedge.after <= MAX_SECONDS:
        yield ("hedge", "after"), "after is a number of seconds above 0, up to a day"


def check_rule(spec: RuleSpec) -> Iterator[Problem]:
    """Yield what is wrong with a rule, paths relative to its table."""
    yield from check_name(spec.name)
    for path, reason in _when(spec.when):
        yield ("when", *path), reason
    for path, reason in _use(spec.use):
        yield ("use", *path), reason


def _when(when: RuleWhen) -> Iterator[Problem]:
    for field in ("key", "group", "model"):
        value = getattr(when, field)
        if value is not None:
            yield from _words(field, value)
    for name, value in when.metadata.items():
        for path, reason in _words(name, value):
            yield ("metadata", *path), reason
    if when.prompt_tokens is not None:
        for path, reason in _range(when.prompt_tokens):
            yield ("prompt_tokens", *path), reason


def _words(field: str, value: Words) -> Iterator[Problem]:
    if value == ():
        yield (field,), f"{field} is empty; leave it out to ask for nothing"
    for word in (value,) if isinstance(value, str) else value:
        if not word or len(word) > MAX_WORD or not word.isprintable():
            yield (field,), f"{field} takes texts of 1 to {MAX_WORD} visible characters"
        elif "**" in word:
            yield (field,), f"{word!r}: one * stands for any run of characters"


def _range(bounds: TokenRange) -> Iterator[Problem]:
    if bounds.above is None and bounds.below is None:
        yield (), "prompt_tokens takes above, below or both"
    for field in ("above", "below"):
        value = getattr(bounds, field)
        if value is not None and not 0 <= value <= MAX_COUNT:
            yield (field,), f"{field} must be a whole number from 0 to {MAX_COUNT}"
    if (
        bounds.above is not None
        and bounds.below is not None
        and bounds.below - bounds.above < 2
    ):
        yield ("below",), "no number is above the one and below the other"


def _use(use: RuleUse) -> Iterator[Problem]:
    if use.model is None and use.channels is None and use.policy is None:
        yield (), "use takes model, channels, policy or several of them"
    if use.model is not None:
        reason = check_pattern(use.model)
        if reason:
            yield ("model",), reason
        elif "*" in use.model:
            yield ("model",), "model is one model's name, without *"
    if use.channels == ():
        yield ("channels",), "channels is empty; leave it out to allow all"

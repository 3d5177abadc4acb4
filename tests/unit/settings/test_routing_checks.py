"""Routing in the configuration file: what is taken, and what is refused where."""

from pathlib import Path

import pytest
from tests.support.cases import each

from posthouse.settings.failure import ConfigurationError
from posthouse.settings.file import RoutingSpec, RuleSpec, RuleUse, RuleWhen, TokenRange
from posthouse.settings.loader import load_file

RULE = '[[rules]]\nname = "r"\n'


def test_policies_and_rules_are_read_as_they_stand(tmp_path: Path) -> None:
    """One text or several, tables inline or not."""
    path = tmp_path / "posthouse.toml"
    path.write_text(
        '[[routing]]\nmodel = "gpt-*"\npolicy = "lowest_cost"\n'
        '[[keys]]\nname = "app"\ngroup = "team-a"\n'
        + RULE
        + 'when = { key = ["a", "b*"], group = "g", metadata = { plan = "pro" } }\n'
        'use = { channels = ["x"], policy = "weighted" }\n'
        '[[rules]]\nname = "s"\n[rules.when.prompt_tokens]\nabove = 10\n'
        '[rules.use]\nmodel = "long"\n'
    )
    found = load_file(path).configuration
    assert found.routing == (RoutingSpec("gpt-*", "lowest_cost"),)
    assert found.keys[0].group == "team-a"
    assert found.rules == (
        RuleSpec(
            "r",
            RuleUse(channels=("x",), policy="weighted"),
            RuleWhen(key=("a", "b*"), group="g", metadata={"plan": "pro"}),
        ),
        RuleSpec(
            "s", RuleUse(model="long"), RuleWhen(prompt_tokens=TokenRange(above=10))
        ),
    )


@each(
    ("text", "line", "reason"),
    [
        ('[[routing]]\nmodel = "m"\npolicy = "cheapest"\n', 3, "policy"),
        ('[[routing]]\nmodel = "a b"\n', 2, "no model name has"),
        ('[[routing]]\nmodel = "m"\n[[routing]]\nmodel = "m"\n', 4, "twice"),
        ('[[routing]]\nmodel = "m"\nprice = 1\n', 3, "unknown key 'price'"),
        ('[[rules]]\nname = "r"\n', 1, "use is missing"),
        ('[[routing]]\nmodel = "m"\nhedge = { after = 0 }\n', 3, "above 0"),
        ('[[routing]]\nmodel = "m"\nhedge = { }\n', 3, "after is missing"),
        (RULE + "use = { }\n", 3, "use takes model, channels, policy"),
        (RULE + 'use = { model = "gpt-*" }\n', 3, "one model's name, without *"),
        (RULE + "use = { channels = [] }\n", 3, "channels is empty"),
        (RULE + 'use = { model = "m" }\nwhen = { keys = "a" }\n', 4, "did you mean"),
        (RULE + 'use = { model = "m" }\nwhen = { key = "a**" }\n', 4, "one * stands"),
        (RULE + 'use = { model = "m" }\nwhen = { key = [] }\n', 4, "key is empty"),
        (
            RULE + 'use = { model = "m" }\nwhen = { metadata = { plan = "" } }\n',
            4,
            "visible characters",
        ),
        (
            RULE + 'use = { model = "m" }\nwhen = { prompt_tokens = { } }\n',
            4,
            "above, below or both",
        ),
        (
            RULE + 'use = { model = "m" }\nwhen = { prompt_tokens = { above = -1 } }\n',
            4,
            "from 0 to",
        ),
        (
            RULE
            + 'use = { model = "m" }\n'
            + "when = { prompt_tokens = { above = 5, below = 6 } }\n",
            4,
            "no number is above",
        ),
        (
            RULE + 'use = { model = "m" }\n' + RULE + 'use = { model = "m" }\n',
            5,
            "twice",
        ),
        ('[[keys]]\nname = "app"\ngroup = " a"\n', 3, "visible characters"),
    ],
)
def test_what_cannot_be_is_refused_with_its_line(
    tmp_path: Path, text: str, line: int, reason: str
) -> None:
    """And the reason says what to write instead."""
    path = tmp_path / "posthouse.toml"
    path.write_text(text)
    with pytest.raises(ConfigurationError) as refused:
        load_file(path)
    assert refused.value.line == line, str(refused.value)
    assert reason in str(refused.value)


def test_more_rules_than_calls_can_be_asked_about_are_refused(tmp_path: Path) -> None:
    """A thousand are looked at for every call."""
    path = tmp_path / "posthouse.toml"
    one = '[[rules]]\nname = "r{}"\nuse = {{ model = "m" }}\n'
    path.write_text("".join(one.format(number) for number in range(1001)))
    with pytest.raises(ConfigurationError, match="more than 1000 rules"):
        load_file(path)


@each(
    ("probe", "reason"),
    [
        ("{ every = 0.5 }", "from 1, up to a day"),
        ("{ every = nan }", "from 1, up to a day"),
        ('{ every = 5, model = "gpt-*" }', "one model's name, without *"),
        ('{ every = 5, model = "a b" }', "no model name has"),
        ("{ }", "every is missing"),
    ],
)
def test_a_probe_that_cannot_be_is_refused(
    tmp_path: Path, probe: str, reason: str
) -> None:
    """With the line of its channel's key."""
    path = tmp_path / "posthouse.toml"
    path.write_text(f'[[channels]]\nname = "a"\nprovider = "openai"\nprobe = {probe}\n')
    with pytest.raises(ConfigurationError) as refused:
        load_file(path)
    assert refused.value.line == 4
    assert reason in str(refused.value)

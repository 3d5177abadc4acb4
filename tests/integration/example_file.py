"""The configuration file of the shared server, and what it is resolved with."""

from string import Template

from tests.support.example import key_of

ENVIRONMENT = {
    "EXAMPLE_PROVIDER_KEY": "provider-key-of-the-environment",
    "EXAMPLE_CALLER_KEY": key_of("from-environment"),
}

CHANNEL = """
[[channels]]
name = "{name}"
provider = "openai-compatible"
base_url = "{base_url}"
{more}
"""

KEY = """
[[keys]]
name = "{name}"
{more}
"""

PRICES = """
[[prices]]
model = "*"
input = "2.50"
cached_input = "1.25"
output = "10.00"

[[prices]]
model = "priced-*"
input = "1.00"
output = "1.00"

[[prices]]
model = "priced-exactly"
input = "3.00"
output = "3.00"

[[prices]]
model = "request-model"
request = "0.04"

[[prices]]
model = "search-model"
input = "1.00"
output = "1.00"
search = "0.01"

[[prices]]
model = "costly-model"
channel = "costly"
input = "1.00"
cached_input = "1.00"
output = "2.00"

[[prices]]
model = "free/*"
free = true

[[fallbacks]]
model = "broken-model"
to = ["rescue-model"]

[server]
cors_origins = ["https://chat.example.com"]
trusted_proxies = ["127.0.0.1/32"]
durability = "process"
"""


def _chosen(url: str) -> dict[str, tuple[str, str]]:
    """Channels among which one is chosen."""
    return {
        "high": (url, 'models = ["tiered-model"]\npriority = 10'),
        "low": (url, 'models = ["tiered-model"]\npriority = 5'),
        "heavy": (url, 'models = ["weighed-model"]\nweight = 8'),
        "light": (url, 'models = ["weighed-model"]\nweight = 1'),
        "one-at-a-time": (
            url,
            'models = ["busy-model"]\npriority = 1\nlimits = { concurrency = 1 }',
        ),
        "beside-it": (url, 'models = ["busy-model"]'),
        "once-a-minute": (
            url,
            'models = ["rated-model"]\npriority = 1\nlimits = { rpm = 1 }',
        ),
        "any-time": (url, 'models = ["rated-model"]'),
    }


def _timed(url: str, silent: str) -> dict[str, tuple[str, str]]:
    """Channels that wait only so long."""
    return {
        "unreachable": (
            silent,
            'models = ["unreachable-model"]\ntimeouts = { connect = 0.2 }',
        ),
        "slow-start": (
            url,
            'models = ["slow-start-model"]\ntimeouts = { first_byte = 0.2 }',
        ),
        "stalling": (url, 'models = ["stalling-model"]\ntimeouts = { idle = 0.2 }'),
        "endless": (url, 'models = ["endless-model"]\ntimeouts = { total = 0.4 }'),
    }


def _treated(url: str) -> dict[str, tuple[str, str]]:
    """Channels whose requests are treated on their way."""
    return {
        "over-http": (url, 'models = ["http-proxy-model"]\nproxy = "${http_proxy}"'),
        "over-socks": (url, 'models = ["socks-proxy-model"]\nproxy = "${socks_proxy}"'),
        "headed": (url, 'models = ["headed-model"]\nheaders = { "X-Team" = "a" }'),
        "edited": (
            url,
            """models = ["edited-model"]
body = { set = { store = false }, drop = ["metadata"] }""",
        ),
        "cancelling": (url, 'models = ["cancelled-model"]\non_disconnect = "cancel"'),
        "draining": (url, 'models = ["drained-model"]\non_disconnect = "drain"'),
        "switched-off": (url, 'models = ["switched-off-model"]\nenabled = false'),
    }


def channels(fake: str, silent: str) -> dict[str, tuple[str, str]]:
    """Give each channel's base URL and the rest of its table."""
    url = f"{fake}/v1"
    return {
        **_chosen(url),
        **_timed(url, f"{silent}/v1"),
        **_treated(url),
        "versioned": (f"{fake}/gateway/v9", 'models = ["versioned-model"]'),
        "literal-key": (
            url,
            'models = ["literal-key-model"]\napi_key = "provider-key-literal"',
        ),
        "environment-key": (
            url,
            'models = ["environment-key-model"]\napi_key = "env:EXAMPLE_PROVIDER_KEY"',
        ),
        "file-key": (
            url,
            'models = ["file-key-model"]\napi_key = "file:${folder}/provider.key"',
        ),
        "two-keys": (
            url,
            """models = ["two-keys-model"]
api_key = ["provider-key-one", "provider-key-two"]""",
        ),
        "renaming": (
            url,
            """models = ["named-model", "wild-*",
{ public = "public-name", upstream = "upstream-name" }]""",
        ),
        "priced": (url, 'models = ["priced-*", "free/*", "plain-model"]'),
        "paid": (url, 'models = ["request-model", "search-model"]'),
        "costly": (url, 'models = ["costly-model"]'),
        "broken": (url, 'models = ["broken-model"]'),
        "rescuing": (url, 'models = ["rescue-model"]'),
    }


KEYS = {
    "app": 'key = "{key}"',
    "from-environment": 'key = "env:EXAMPLE_CALLER_KEY"',
    "placeholder": 'key = "sk-…"',
    "made": "",
    "funded": 'key = "{key}"\nbalance_usd = "25"',
    "poor": 'key = "{key}"\nbalance_usd = "0.000000001"',
    "allowed": 'key = "{key}"\nmodels = ["wild-*", "public-name"]',
    "rated": 'key = "{key}"\nrpm = 2',
    "counted": 'key = "{key}"\ntpm = 60',
    "single": 'key = "{key}"\nconcurrency = 1',
    "networked": 'key = "{key}"\nips = ["10.0.0.0/8"]',
    "expired": 'key = "{key}"\nexpires = 2020-01-01T00:00:00Z',
    "lasting": 'key = "{key}"\nexpires = 2099-01-01T00:00:00Z',
    "tester": 'key = "{key}"\nsandbox = true',
}


def configuration(fake: str, silent: str, **places: str) -> str:
    """Write the file; `places` are the folder's and the proxies'."""
    parts = ['[[channels]]\nname = "sandbox"\nprovider = "sandbox"\n']
    for name, (base_url, more) in channels(fake, silent).items():
        table = CHANNEL.format(name=name, base_url=base_url, more=more)
        parts.append(Template(table).substitute(places))
    for name, more in KEYS.items():
        parts.append(KEY.format(name=name, more=more.format(key=key_of(name))))
    return "".join(parts) + PRICES

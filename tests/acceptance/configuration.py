"""The configuration that the acceptance tests' Posthouse runs with."""

from posthouse.providers.sandbox import faults
from posthouse.providers.sandbox.directives import USAGES

MAX_BODY_BYTES = 1 << 20
UPSTREAM_KEY = "provider-account-secret"

AIMOCK_KEY = "aimock-account-key"

KEYS = {
    "app": "sk-acceptance-app-0123456789abcdefghijklmnopqrst",
    "poor": "sk-acceptance-poor-0123456789abcdefghijklmnopqrs",
    "limited": "sk-acceptance-limited-0123456789abcdefghijklmnop",
    "counted": "sk-acceptance-counted-0123456789abcdefghijklmnop",
    "narrow": "sk-acceptance-narrow-0123456789abcdefghijklmnopq",
    "foreign": "sk-acceptance-foreign-0123456789abcdefghijklmnop",
    "expired": "sk-acceptance-expired-0123456789abcdefghijklmnop",
    "trial": "sk-test-acceptance-0123456789abcdefghijklmnopqrs",
}

STATUSES = (400, 401, 402, 403, 404, 422, 429, 500, 502, 503, 504, 529)
FAULTS = (*(f"error-{status}" for status in STATUSES), *faults.FAULTS, *USAGES)
"""Each is a model of its own, named `fault-…`, on a channel of its own."""

COMMON = f"""
[[channels]]
name = "sandbox"
provider = "sandbox"

[[keys]]
name = "app"
key = "{KEYS["app"]}"

[[keys]]
name = "poor"
key = "{KEYS["poor"]}"
balance_usd = "0.000001"

[[keys]]
name = "limited"
key = "{KEYS["limited"]}"
rpm = 1

[[keys]]
name = "counted"
key = "{KEYS["counted"]}"
rpm = 600
tpm = 200000

[[keys]]
name = "narrow"
key = "{KEYS["narrow"]}"
models = ["sandbox"]

[[keys]]
name = "foreign"
key = "{KEYS["foreign"]}"
ips = ["192.0.2.0/24"]

[[keys]]
name = "expired"
key = "{KEYS["expired"]}"
expires = 2020-01-01T00:00:00Z

[[keys]]
name = "trial"
key = "{KEYS["trial"]}"
sandbox = true

[[prices]]
model = "fault-*"
input = "0.10"
output = "0.40"

[[prices]]
model = "fake-*"
input = "1.00"
output = "2.00"
cached_input = "0.50"

[[prices]]
model = "gpt-4o"
input = "2.50"
output = "10.00"

[server]
cors_origins = ["https://chat.example.com"]
"""

FAKE = """
[[channels]]
name = "fake"
provider = "openai-compatible"
base_url = "{origin}/v1"
api_key = "{key}"
models = ["fake-*", {{ public = "fake-public", upstream = "fake-secret-name" }}]
priority = 10

[[channels]]
name = "fake-second"
provider = "openai-compatible"
base_url = "{origin}/v1"
api_key = "{key}-2"
models = ["fake-*"]
"""

FAULT = """
[[channels]]
name = "fault-{name}"
provider = "sandbox"
models = [{{ public = "fault-{name}", upstream = "sandbox:{name}" }}]
timeouts = {{ first_byte = 0.5, idle = 0.5, total = 3 }}
"""


OTHERS = """
[[channels]]
name = "llama"
provider = "llama-cpp"
base_url = "http://127.0.0.1:{llama}/v1"
models = [{{ public = "local/tiny", upstream = "tiny" }}]

[[channels]]
name = "aimock"
provider = "openai-compatible"
base_url = "http://127.0.0.1:{aimock}/v1"
api_key = "{key}"
models = ["gpt-4o"]
"""


def configuration(fake_origin: str, *, llama: int, aimock: int) -> str:
    """Write the file over a fake provider's origin and the others' ports."""
    broken = "".join(FAULT.format(name=name) for name in FAULTS)
    fake = FAKE.format(origin=fake_origin, key=UPSTREAM_KEY)
    others = OTHERS.format(llama=llama, aimock=aimock, key=AIMOCK_KEY)
    return COMMON + fake + others + broken

"""What stands behind the Posthouse that the clients speak with.

aimock plays an account of each dialect, llama.cpp serves a tiny model that talks
noise, and the sandbox answers by itself.
"""

from tests.acceptance.configuration import AIMOCK_KEY

KEY = "sk-clients-0123456789abcdefghijklmnopqrstuvwxyzABCD"

AIMOCK = {
    "at-openai": ("openai", "gpt-4o", "/v1"),
    "at-responses": ("responses-alone", "gpt-4o", "/v1"),
    "at-anthropic": ("anthropic", "claude-sonnet-4-5", ""),
    "at-gemini": ("google", "gemini-2.5-flash", ""),
}
"""By a model's public name: the provider's row, its own name, the address's path."""

MODELS = (*AIMOCK, "sandbox", "local/tiny")

CHANNEL = """
[[channels]]
name = "{name}"
provider = "{provider}"
base_url = "http://127.0.0.1:{port}{path}"
api_key = "{key}"
models = [{{ public = "{name}", upstream = "{model}" }}]

[[prices]]
model = "{name}"
input = "1.00"
output = "2.00"
"""

OTHERS = """
[[channels]]
name = "sandbox"
provider = "sandbox"

[[channels]]
name = "llama"
provider = "llama-cpp"
base_url = "http://127.0.0.1:{llama}/v1"
models = [{{ public = "local/tiny", upstream = "tiny" }}]

[[keys]]
name = "app"
key = "{key}"
balance_usd = "50"
"""

USAGE = [19, 7]
HELLO = "Hello from aimock, twice over."
SUNNY = "It is sunny."
COMMAND = "echo posthouse-$((6 * 7))"
PRINTED = "posthouse-42"
SEEN = "The command has spoken."


def calls(*made: tuple[str, dict[str, object]]) -> dict[str, object]:
    """Write an answer that calls tools."""
    return {"toolCalls": [{"name": name, "arguments": given} for name, given in made]}


def fixture(answer: dict[str, object], **match: object) -> dict[str, object]:
    """Write what aimock says to what it is asked."""
    usage = {"prompt_tokens": USAGE[0], "completion_tokens": USAGE[1]}
    return {"match": match, "response": {**answer, "usage": usage}}


FIXTURES = {
    "fixtures": [
        fixture({"content": SEEN}, toolResultContains=PRINTED),
        fixture({"content": SUNNY}, toolResultContains="sunny"),
        fixture({"content": HELLO}, userMessage="say hello"),
        fixture(
            calls(("Bash", {"command": COMMAND, "description": "Say it"})),
            toolName="Bash",
        ),
        fixture(
            calls(("exec_command", {"cmd": COMMAND})),
            toolName="exec_command",
        ),
        fixture(
            calls(("get_weather", {"city": "Oslo"}), ("get_weather", {"city": "Rome"})),
            userMessage="weather everywhere",
            toolName="get_weather",
        ),
        fixture({"content": HELLO}),
    ]
}


def configuration(*, aimock: int, llama: int) -> str:
    """Write the file over the ports of the others."""
    channels = (
        CHANNEL.format(
            name=name,
            provider=provider,
            port=aimock,
            path=path,
            key=AIMOCK_KEY,
            model=model,
        )
        for name, (provider, model, path) in AIMOCK.items()
    )
    return "".join(channels) + OTHERS.format(llama=llama, key=KEY)

"""Other gateways, installed under `.bench/` from their registries at first use.

LiteLLM's proxy comes from PyPI into a virtual environment of its own; Portkey's
gateway comes from npm. Both run with what they do by default and no database.
"""

import subprocess
import sys
from importlib.metadata import distributions
from pathlib import Path

from typing_extensions import override

from benchmarks.gateways import HOME, Gateway, Upstream, get


def run(*command: str) -> None:
    """A step of an installation."""
    print("  installing:", *command)
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)


class LiteLLM(Gateway):
    """LiteLLM's proxy, one worker, one master key, no database."""

    name = "litellm"
    label = "LiteLLM proxy"
    calls = 300
    chunk_rate = 300
    call_rate = 40
    streams = 20
    keys = ("sk-bench-master",)

    @override
    @classmethod
    def install(cls) -> None:
        if not (HOME / "litellm/bin/litellm").exists():
            run(sys.executable, "-m", "venv", str(HOME / "litellm"))
            pip = str(HOME / "litellm/bin/pip")
            run(pip, "install", "--quiet", "litellm[proxy]")

    @override
    def version(self) -> str:
        site = next((HOME / "litellm/lib").glob("python*/site-packages"))
        found = distributions(name="litellm", path=[str(site)])
        return next(iter(found)).version

    @override
    def command(self) -> list[str]:
        configuration = self.folder / "litellm.yaml"
        base = f"http://127.0.0.1:{self.upstream.port}/v1"
        configuration.write_text(
            "model_list:\n"
            "  - model_name: bench\n"
            "    litellm_params:\n"
            "      model: openai/bench\n"
            f"      api_base: {base}\n"
            "      api_key: sk-upstream\n"
            "general_settings:\n"
            "  master_key: sk-bench-master\n"
        )
        program = str(HOME / "litellm/bin/litellm")
        address = ("--host", "127.0.0.1", "--port", str(self.port))
        return [program, "--config", str(configuration), *address]

    @override
    def environment(self) -> dict[str, str]:
        return {"LITELLM_LOCAL_MODEL_COST_MAP": "True", "LITELLM_LOG": "ERROR"}

    @override
    def is_ready(self) -> bool:
        return get(self.port, "/health/readiness")[0] == 200


class Portkey(Gateway):
    """Portkey's gateway, which takes the upstream from a request's headers.

    Its streams are left out: release 1.15.2 on Node 20 answers each with status
    500 (it appends to immutable headers).
    """

    name = "portkey"
    label = "Portkey gateway"
    calls = 2_000
    chunk_rate = 2_000
    call_rate = 200
    streams = 0

    def __init__(self, folder: Path, upstream: Upstream) -> None:
        super().__init__(folder, upstream)
        self.headers = (
            "x-portkey-provider: openai",
            f"x-portkey-custom-host: http://127.0.0.1:{upstream.port}/v1",
        )

    @staticmethod
    def folder_of_package() -> Path:
        return HOME / "portkey/node_modules/@portkey-ai/gateway"

    @override
    @classmethod
    def install(cls) -> None:
        if not cls.folder_of_package().exists():
            prefix = str(HOME / "portkey")
            run("npm", "install", "--silent", "--prefix", prefix, "@portkey-ai/gateway")

    @override
    def version(self) -> str:
        text = (self.folder_of_package() / "package.json").read_text()
        return text.partition('"version": "')[2].partition('"')[0]

    @override
    def command(self) -> list[str]:
        program = self.folder_of_package() / "build/start-server.js"
        return ["node", str(program), f"--port={self.port}", "--headless"]

    @override
    def environment(self) -> dict[str, str]:
        return {"NODE_ENV": "production"}

    @override
    def is_ready(self) -> bool:
        return get(self.port, "/")[0] == 200

"""The files for Docker Compose: valid, careful, and of settings that exist.

Nothing here runs a container. They are held to the schema of the Compose
specification, to the program, and to the rules of their own that follow.
"""

import json
import re
import subprocess
from importlib.resources import files
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from tests.support.cases import each
from tests.support.deployment import (
    DEPLOY,
    check_command,
    check_environment,
    documents,
    stop_seconds,
)

from posthouse.catalog.load import load_catalog
from posthouse.settings.database import check_database
from posthouse.settings.environment import load_settings
from posthouse.settings.loader import load_file

FOLDER = DEPLOY / "compose"
FILES = {path.name: path for path in sorted(FOLDER.glob("compose*.yaml"))}
CONTENTS = {name: documents(path.read_text())[0] for name, path in FILES.items()}
SERVICES = [
    pytest.param(content, service, id=f"{name}-{label}")
    for name, content in CONTENTS.items()
    for label, service in content["services"].items()
]
every_service = each(("content", "service"), SERVICES)
POSTHOUSES = [
    pytest.param(content["services"]["posthouse"], id=name)
    for name, content in CONTENTS.items()
]


def seconds(text: str) -> float:
    found = re.fullmatch(r"(\d+)s", text)
    assert found, text
    return float(found[1])


@pytest.mark.parametrize("name", FILES)
def test_a_file_obeys_the_compose_specification(name):
    folder = files("check_jsonschema").joinpath("builtin_schemas/vendor")
    schema = json.loads(folder.joinpath("compose-spec.json").read_text())
    jsonschema.validate(CONTENTS[name], schema)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({"services": {"a": {"imago": "b"}}}, schema)


@every_service
def test_a_container_may_do_little(content, service):
    """Nobody's rights, nothing to write but volumes, a bound on what it takes."""
    assert int(service["user"].split(":")[0]) > 0
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert "privileged" not in service
    limits = service["deploy"]["resources"]["limits"]
    assert limits.keys() == {"cpus", "memory", "pids"}


@every_service
def test_a_container_comes_back_and_tells_of_its_health(content, service):
    assert service["restart"] == "unless-stopped"
    assert service["healthcheck"]["test"][0] == "CMD"
    assert "stop_grace_period" in service


@every_service
def test_what_a_container_names_is_declared_and_there(content, service):
    for kind in ("secrets", "networks"):
        assert set(service.get(kind, ())) <= content.get(kind, {}).keys()
    sources = [volume.split(":")[0] for volume in service.get("volumes", ())]
    assert set(sources) <= content["volumes"].keys()
    for config in service.get("configs", ()):
        path = FOLDER / content["configs"][config["source"]]["file"]
        assert path.is_file()
    for other in service.get("depends_on", {}):
        assert "healthcheck" in content["services"][other]


@every_service
def test_only_posthouse_is_reached_and_only_from_this_machine(content, service):
    for port in service.get("ports", ()):
        assert port.startswith("127.0.0.1:")
    if "image" in service and service["image"] != "posthouse":
        assert service["networks"] == ["back"]
        assert content["networks"]["back"] == {"internal": True}


@every_service
def test_no_secret_stands_in_a_file(content, service):
    """Each is a file that Compose mounts, and that is named where it is read."""
    for name, value in service.get("environment", {}).items():
        if re.search(r"SECRET|PASSWORD|DATABASE$", name):
            path = value.removeprefix("file:")
            assert path.startswith("/run/secrets/"), name
            assert path.rpartition("/")[2] in service["secrets"]


@pytest.mark.parametrize("service", POSTHOUSES)
def test_the_program_understands_what_it_is_told(service):
    check_environment(service["environment"])
    check_command(service.get("command", ["serve"]))
    assert seconds(service["stop_grace_period"]) >= stop_seconds(service["environment"])
    config = service["environment"]["POSTHOUSE_CONFIG"]
    assert config in {config["target"] for config in service["configs"]}


@pytest.mark.parametrize("service", POSTHOUSES)
def test_the_health_check_asks_what_is_there(service):
    command, option, code = service["healthcheck"]["test"][1:]
    assert (command, option) == ("python", "-c")
    compile(code, "healthcheck", "exec")
    assert ":3000/health/ready" in code


def test_the_configuration_that_comes_with_it_is_whole():
    file = load_file(FOLDER / "posthouse.toml")
    providers = {spec.provider for spec in file.configuration.channels}
    assert providers <= load_catalog().keys()


def test_the_versions_are_those_that_are_tried():
    services = CONTENTS["compose.yaml"]["services"]
    assert services["postgres"]["image"] == "postgres:18"
    assert services["valkey"]["image"] == "valkey/valkey:9"


@pytest.fixture
def made(tmp_path: Path) -> Path:
    """A folder in which the secrets have been made."""
    script = tmp_path / "make-secrets"
    script.write_bytes((FOLDER / "make-secrets").read_bytes())
    script.chmod(0o755)
    subprocess.run([script], check=True, capture_output=True)
    return tmp_path / "secrets"


def test_secrets_are_made_for_all_files_and_not_twice(made: Path):
    """For nobody but their owner and what is started in a container."""
    wanted: dict[str, Any] = {}
    for content in CONTENTS.values():
        wanted.update(content["secrets"])
    assert {path.name for path in made.iterdir()} == wanted.keys()
    assert all(
        wanted[path.name]["file"] == f"./secrets/{path.name}" for path in made.iterdir()
    )
    assert made.stat().st_mode & 0o077 == 0
    before = {path: path.read_bytes() for path in made.iterdir()}
    subprocess.run([made.parent / "make-secrets"], check=True, capture_output=True)
    assert {path: path.read_bytes() for path in made.iterdir()} == before


def test_the_program_takes_the_secrets_that_are_made(made: Path, monkeypatch):
    monkeypatch.setenv("POSTHOUSE_SECRET", f"file:{made / 'posthouse_secret'}")
    monkeypatch.setenv("POSTHOUSE_DATABASE", f"file:{made / 'database_url'}")
    settings = load_settings()
    assert settings.secret is not None
    assert len(settings.secret) == 64
    assert settings.database is not None
    check_database(settings.database)
    password = (made / "postgres_password").read_text().strip()
    assert settings.database == f"postgresql://posthouse:{password}@postgres/posthouse"


def test_git_does_not_see_the_secrets():
    ignored = (FOLDER / ".gitignore").read_text().split()
    assert {"/secrets/", "/providers.env"} <= set(ignored)

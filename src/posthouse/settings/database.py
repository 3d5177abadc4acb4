"""Where an installation's database is: a URL whose password nobody is shown."""

from typing import Final
from urllib.parse import parse_qsl, urlsplit

SCHEMES: Final = ("postgresql", "postgres")
PARAMETERS: Final = frozenset(
    {
        "host",
        "passfile",
        "port",
        "sslcert",
        "sslcrl",
        "sslkey",
        "sslmode",
        "sslrootcert",
        "target_session_attrs",
    }
)
"""What may follow the question mark, as PostgreSQL's own clients know it."""


def check_database(text: str) -> None:
    """Raise ValueError, which does not repeat the URL, when it is no PostgreSQL's."""
    try:
        url = urlsplit(text)
        _ = url.port
        parameters = dict(parse_qsl(url.query, strict_parsing=bool(url.query)))
    except ValueError:
        raise ValueError(
            "is no URL; percent-encode what is special in a password"
        ) from None
    if url.scheme not in SCHEMES:
        raise ValueError("must begin with postgresql://")
    if not url.path.strip("/"):
        raise ValueError("names no database after the host")
    if not url.hostname and "host" not in parameters:
        raise ValueError("names no host")
    if url.fragment:
        raise ValueError("has a fragment; percent-encode # in a password")
    for name in sorted(parameters.keys() - PARAMETERS):
        raise ValueError(f"has an unknown parameter; known are {_known()}: {name!r}")


def _known() -> str:
    return ", ".join(sorted(PARAMETERS))


def shown_database(text: str) -> str:
    """Give a database's URL without user, password and parameters."""
    url = urlsplit(text)
    place = url.netloc.rpartition("@")[2] or dict(parse_qsl(url.query)).get("host", "")
    return f"{url.scheme}://{place}{url.path}"

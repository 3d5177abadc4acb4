"""Where nodes meet to share limits: a Valkey's URL, whose password nobody is shown."""

from typing import Final
from urllib.parse import parse_qsl, unquote, urlsplit

from typing_extensions import override

from posthouse.settings.file import Guarded

SCHEMES: Final = {"valkey": False, "redis": False, "valkeys": True, "rediss": True}
"""And whether they go over TLS."""
PARAMETERS: Final = frozenset({"ssl_ca_certs", "ssl_certfile", "ssl_keyfile"})
"""What may follow the question mark of a URL with TLS, as clients know it."""
PORT: Final = 6379
_MOST_DATABASES: Final = 2**31


class Coordination(Guarded, frozen=True):
    """How to reach a Valkey or a Redis."""

    __secret__ = frozenset({"password"})

    host: str
    port: int
    database: int = 0
    username: str | None = None
    password: str | None = None
    is_tls: bool = False
    authorities: str | None = None
    """File of the certificates to trust; None is those of the system."""
    certificate: str | None = None
    """File of our own certificate."""
    certificate_key: str | None = None

    @override
    def __str__(self) -> str:
        scheme = "valkeys" if self.is_tls else "valkey"
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{scheme}://{host}:{self.port}/{self.database}"


def check_coordination(text: str) -> None:
    """Raise ValueError, which does not repeat the URL, when it is no Valkey's."""
    read_coordination(text)


def read_coordination(text: str) -> Coordination:
    """Take a URL apart; raises ValueError, which does not repeat it."""
    try:
        url = urlsplit(text)
        port = url.port
        parameters = dict(parse_qsl(url.query, strict_parsing=bool(url.query)))
    except ValueError:
        raise ValueError(
            "is no URL; percent-encode what is special in a password"
        ) from None
    if url.scheme not in SCHEMES:
        raise ValueError("must begin with valkey:// or, over TLS, valkeys://")
    if not url.hostname:
        raise ValueError("names no host")
    if url.fragment:
        raise ValueError("has a fragment; percent-encode # in a password")
    is_tls = SCHEMES[url.scheme]
    known = PARAMETERS if is_tls else frozenset()
    for name in sorted(parameters.keys() - known):
        raise ValueError(f"has an unknown parameter: {name!r}")
    if url.username and url.password is None:
        raise ValueError("has a user without a password")
    return Coordination(
        host=url.hostname,
        port=PORT if port is None else port,
        database=_database(url.path),
        username=unquote(url.username) if url.username else None,
        password=unquote(url.password) if url.password else None,
        is_tls=is_tls,
        authorities=parameters.get("ssl_ca_certs"),
        certificate=parameters.get("ssl_certfile"),
        certificate_key=parameters.get("ssl_keyfile"),
    )


def _database(path: str) -> int:
    number = path.strip("/")
    if not number:
        return 0
    if not (number.isascii() and number.isdigit()) or int(number) >= _MOST_DATABASES:
        raise ValueError("must end in a database's number, as in /0")
    return int(number)

"""A certificate authority made on the spot, for TLS on 127.0.0.1."""

import datetime as dt
import ipaddress
import ssl
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

NOW = dt.datetime.now(dt.UTC)


def make_certificate(
    folder: Path, *names: str, expired: bool = False
) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """Make a certificate that is its own authority.

    Args:
        folder: where the key and the certificate are written.
        names: host names and addresses that it stands for.
        expired: let it have ended yesterday.

    Returns:
        the server's context, and a client's that trusts it.
    """
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "posthouse test")])
    end = NOW + dt.timedelta(days=-1 if expired else 1)
    alternatives: list[x509.GeneralName] = []
    for item in names:
        try:
            alternatives.append(x509.IPAddress(ipaddress.ip_address(item)))
        except ValueError:
            alternatives.append(x509.DNSName(item))
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(NOW - dt.timedelta(days=2))
        .not_valid_after(end)
        .add_extension(x509.SubjectAlternativeName(alternatives), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    file = folder / "certificate.pem"
    private = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    public = certificate.public_bytes(serialization.Encoding.PEM)
    file.write_bytes(private + public)
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(file)
    client = ssl.create_default_context(cadata=public.decode())
    return server, client

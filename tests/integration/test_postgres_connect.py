"""A connection to PostgreSQL: over a socket or TCP, and what its session is."""

import socket

import pytest
from tests.support.postgres import Server

from posthouse.storage.database import Database
from posthouse.storage.postgres import DatabaseUnreachable, connect


async def test_a_machine_that_is_gone_ends_the_connection(postgres: Server) -> None:
    """The system asks a silent server whether it is there, and gives up soon."""
    connection = await connect(postgres.url("postgres"))
    found = connection._transport.get_extra_info("socket")
    assert found.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
    assert found.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == 15_000
    assert await connection.fetchval("SHOW application_name") == "posthouse"
    assert await connection.fetchval("SHOW statement_timeout") == "2min"
    await connection.close()


async def test_a_socket_in_a_folder_is_reached(postgres: Server) -> None:
    """`host` may be the folder, as PostgreSQL's own clients have it."""
    place = f"host={postgres.folder / 'data'}&port={postgres.port}"
    connection = await connect(f"postgresql://posthouse@/postgres?{place}")
    assert await connection.fetchval("SELECT 1") == 1
    await connection.close()


@pytest.mark.parametrize("user", ["nobody:not-for-eyes", "posthouse:not-for-eyes"])
async def test_who_is_turned_away_reads_why(postgres: Server, user: str) -> None:
    """The server's reason, in one line, without the password."""
    url = postgres.url("nowhere").replace("posthouse@", f"{user}@")
    with pytest.raises(DatabaseUnreachable, match="does not exist") as caught:
        await connect(url)
    assert "eyes" not in str(caught.value)


async def test_readers_cannot_write(postgres: Server) -> None:
    """What reads has one snapshot, and says so to the server."""
    from sqlalchemy import text

    database = Database(postgres.url("postgres"))
    async with database.read() as connection:
        shown = await connection.scalar(text("SHOW transaction_isolation"))
        only = await connection.scalar(text("SHOW transaction_read_only"))
    await database.close()
    assert (shown, only) == ("repeatable read", "on")

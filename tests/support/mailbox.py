"""A mail server on a real socket: it takes mail by SMTP, and keeps it as it came."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import default


@dataclass
class Mailbox:
    """The mail that came so far."""

    address: str = ""
    mails: list[EmailMessage] = field(default_factory=list)

    async def talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Speak SMTP (RFC 5321) with one client, until it leaves."""
        writer.write(b"220 mailbox\r\n")
        while line := await reader.readline():
            match line.split()[0].upper():
                case b"DATA":
                    writer.write(b"354 go on\r\n")
                    body = (await reader.readuntil(b"\r\n.\r\n")).removesuffix(b".\r\n")
                    lines = body.replace(b"\r\n..", b"\r\n.")
                    mail = message_from_bytes(lines, _class=EmailMessage, policy=default)
                    self.mails.append(mail)
                    writer.write(b"250 taken\r\n")
                case b"QUIT":
                    writer.write(b"221 bye\r\n")
                    break
                case _:
                    writer.write(b"250 mailbox\r\n")
        writer.close()


@asynccontextmanager
async def mailbox() -> AsyncIterator[Mailbox]:
    """Run a mail server on this machine."""
    made = Mailbox()
    server = await asyncio.start_server(made.talk, "127.0.0.1", 0)
    host, port = server.sockets[0].getsockname()
    made.address = f"{host}:{port}"
    async with server:
        yield made

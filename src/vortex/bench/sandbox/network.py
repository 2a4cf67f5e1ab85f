"""Attempts on the network: every socket family by which something could leave."""

from __future__ import annotations

from vortex.bench.sandbox.attempt import Attempt

ATTEMPTS = (
    Attempt(
        "TCP to this machine", "network",
        "socket.create_connection(('127.0.0.1', world['tcp']), 2).sendall(b'x')", control=True,
    ),
    Attempt(
        "TCP over IPv6", "network",
        "socket.create_connection(('::1', world['tcp6']), 2).sendall(b'x')", control=True,
    ),
    Attempt(
        "UDP", "network",
        "socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b'x', ('127.0.0.1', world['udp']))", control=True,
    ),
    Attempt(
        "raw and packet sockets", "network",
        """
        each([lambda: escaped(socket.socket(socket.AF_INET, socket.SOCK_RAW, 1)),
              lambda: escaped(socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0))])
        """,
    ),
    Attempt(
        "netlink", "network", "socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0)\nescaped()", control=True,
    ),
    Attempt("vsock", "network", "socket.socket(40, socket.SOCK_STREAM)\nescaped()", control=False),
    Attempt(
        "kernel crypto and Bluetooth sockets", "network",
        """
        each([lambda: escaped(socket.socket(38, socket.SOCK_SEQPACKET)),
              lambda: escaped(socket.socket(31, socket.SOCK_RAW, 1))])
        """,
    ),
    Attempt(
        "abstract Unix socket", "network",
        """
        client = socket.socket(socket.AF_UNIX)
        client.connect('\\0' + world['abstract'])
        client.sendall(b'x')
        """,
        control=True,
    ),
    Attempt(
        "Unix socket left in the granted folder", "network",
        """
        client = socket.socket(socket.AF_UNIX)
        client.connect(world['socket'])
        client.sendall(b'x')
        """,
        control=True,
    ),
    Attempt(
        "a pair that sends elsewhere", "network",
        """
        one, two = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
        one.sendto(b'x', '\\0' + world['abstract'] + '-datagrams')
        """,
        control=True,
    ),
    Attempt(
        "names by DNS", "network",
        """
        query = struct.pack('>HHHHHH', 7, 256, 1, 0, 0, 0) + b'\\x07example\\x03org\\0\\0\\1\\0\\1'
        client = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        client.settimeout(1)
        client.sendto(query, ('127.0.0.1', world['udp']))
        """,
        control=True,
    ),
    Attempt(
        "cloud metadata", "network",
        """
        for address in ('169.254.169.254', 'fd00:ec2::254', '100.100.100.200'):
            try:
                socket.create_connection((address, 80), 1)
            except OSError:
                continue
            escaped(address)
        """,
    ),
)  # fmt: skip

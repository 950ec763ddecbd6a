"""Which addresses may be asked: those of the web, on public hosts or on hosts that the user named."""

import ipaddress
import socket
from urllib.parse import urlsplit

from yarl import URL

from sneakerlib import InputError

WEB = ("http://", "https://")  # what an address begins with
NAT64 = ipaddress.ip_network("64:ff9b::/96")  # RFC 6052: an IPv4 address in its last four bytes


class FetchError(InputError):
    """Something could not be fetched.

    Attributes:
        reason: What happened, in a few words.
        lasting: The content is to blame, so that trying again later is of no use.
        status: What the server answered, 0 if it did not.
    """

    def __init__(self, url: str, reason: str, cure: str = "check the address", lasting: bool = False, status: int = 0):
        super().__init__(f"{url} {reason}: {cure}")
        self.reason, self.lasting, self.status = reason, lasting, status


def parse(url: str, address: str) -> URL:
    """The parsed address, if it is one of the web; `url` is what the user knows it by."""
    try:
        target = URL(address)
    except ValueError:
        raise FetchError(url, "is not an address", lasting=True) from None
    if target.scheme not in ("http", "https") or not target.host:
        leads = "is" if url == address else f"leads to {address[:80]}, which is"
        raise FetchError(url, f"{leads} not an http address", lasting=True)
    return target


def key_of(target: URL) -> str:
    """The host as `name:port`: whoever answers there is one server, to be asked politely."""
    return f"{target.host}:{target.port}"


def places(name: str) -> list[tuple[str, int]]:
    """A named host as (name, port) and as every (address, port) that it has."""
    try:
        host, port = urlsplit(f"//{name}").hostname, urlsplit(f"//{name}").port
        if not host or not port:
            raise ValueError
        return [(host, port), *{place[4][:2] for place in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)}]
    except ValueError:
        raise InputError(f"--allow-host {name}: write HOST:PORT, for example 127.0.0.1:8000") from None
    except OSError:
        raise InputError(f"--allow-host {name}: this name is unknown, check it") from None


def is_public(address: str) -> bool:
    """Whether an IP address belongs to the public internet, also when IPv6 wraps an IPv4 address."""
    ip = ipaddress.ip_address(address.partition("%")[0])
    inner = getattr(ip, "ipv4_mapped", None) or getattr(ip, "sixtofour", None)
    if ip.version == 6 and ip in NAT64:
        inner = ipaddress.IPv4Address(int(ip) & 0xFFFFFFFF)
    return is_public(str(inner)) if inner else ip.is_global and not ip.is_multicast

"""Which addresses are of the public internet; used by all processes, asks nobody.

`ipaddress.is_global` says so of too many: of multicast, of IPv4 within IPv6, of site-local ones;
and versions of Python differ in it. What is not public is listed here instead, by the registries of
special purposes that IANA keeps (RFC 6890).
"""

from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

_NOT_PUBLIC_4 = tuple(
    map(
        IPv4Network,
        (
            "0.0.0.0/8",  # this network; Linux takes 0.0.0.0 for itself
            "10.0.0.0/8",
            "100.64.0.0/10",  # shared by carriers and clouds; metadata of Alibaba
            "127.0.0.0/8",
            "168.63.129.16/32",  # public by its number, and the host of every machine on Azure
            "169.254.0.0/16",  # link-local; metadata of most clouds
            "172.16.0.0/12",
            "192.0.0.0/24",  # protocol assignments; metadata of Oracle
            "192.0.2.0/24",  # documentation
            "192.31.196.0/24",  # AS112
            "192.52.193.0/24",  # AMT relays
            "192.88.99.0/24",  # 6to4 relays
            "192.168.0.0/16",
            "192.175.48.0/24",  # AS112
            "198.18.0.0/15",  # benchmarks
            "198.51.100.0/24",  # documentation
            "203.0.113.0/24",  # documentation
            "224.0.0.0/4",  # multicast
            "240.0.0.0/4",  # reserved; broadcast
        ),
    )
)

_UNICAST_6 = IPv6Network("2000::/3")
"""All that IANA gives out; what is outside is local, multicast or IPv4 in other clothes."""
_NOT_PUBLIC_6 = tuple(
    map(
        IPv6Network,
        (
            "2001::/23",  # protocol assignments; Teredo, which holds two IPv4 addresses
            "2001:db8::/32",  # documentation
            "2002::/16",  # 6to4, which holds an IPv4 address
            "2620:4f:8000::/48",  # AS112
            "3fff::/20",  # documentation
        ),
    )
)
_TRANSLATED = IPv6Network("64:ff9b::/96")
"""How machines with IPv6 alone see IPv4 (NAT64, RFC 6052): public if what it holds is."""


def is_public(address: Address) -> bool:
    """Whether it is of the public internet, and of nothing nearer."""
    if isinstance(address, IPv4Address):
        return not any(address in network for network in _NOT_PUBLIC_4)
    if address.scope_id is not None:
        return False
    if address in _TRANSLATED:
        return is_public(IPv4Address(int(address) & 0xFFFFFFFF))
    return address in _UNICAST_6 and not any(address in network for network in _NOT_PUBLIC_6)


def parsed(text: str) -> Address | None:
    """The address that a text is, in the usual form; None for a name, and for any other form."""
    try:
        return ip_address(text)
    except ValueError:
        return None

"""Networks by which requests are counted. Pure."""

import ipaddress


def is_address(host: str) -> bool:
    """Check whether a host is an IP address and not a name."""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def network_of(source: str) -> str:
    """Return the network of an address: an IPv4 address itself, or an IPv6 /64, which one subscriber controls. Source: RFC 6177 section 2."""
    try:
        # A source that is not an address (a socket path) is its own network, bounded because it becomes a key in tables.
        address = ipaddress.ip_address(source)
    except ValueError:
        return source[:100]
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is None:
        return str(ipaddress.IPv6Network((address, 64), strict=False))
    # ::ffff:192.0.2.1 and 192.0.2.1 are one host that reached us over different sockets.
    return str(getattr(address, "ipv4_mapped", None) or address)


def neighbourhood_of(source: str) -> str:
    """Return the network within which a person's address may change during a session: an IPv4 /24 or an IPv6 /48.

    Carriers and offices rotate the addresses of one block; a site gets an IPv6 /48. A source that is not an address (a socket path) is
    its own network. Source: RFC 6177 section 2.
    """
    try:
        address = ipaddress.ip_address(source)
    except ValueError:
        return source[:45]
    mapped = getattr(address, "ipv4_mapped", None)
    plain = mapped or address
    return str(ipaddress.ip_network((plain, 24 if plain.version == 4 else 48), strict=False))

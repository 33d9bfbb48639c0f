"""Networks by which requests are counted. Pure."""

import ipaddress


def network_of(source: str) -> str:
    """Return the network of an address: an IPv4 address itself, or an IPv6 /64, which one subscriber controls. Source: RFC 6177 section 2."""
    try:
        # A source that is no address (a socket path) is its own network, bounded because it becomes a key in
        # tables.
        address = ipaddress.ip_address(source)
    except ValueError:
        return source[:100]
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is None:
        return str(ipaddress.IPv6Network((address, 64), strict=False))
    # ::ffff:192.0.2.1 and 192.0.2.1 are one host that reached us over different sockets.
    return str(getattr(address, "ipv4_mapped", None) or address)

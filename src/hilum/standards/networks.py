"""Networks by which requests are counted. Pure."""

import ipaddress


def network_of(source: str) -> str:
    """Return the network of an address: an IPv4 address itself, or an IPv6 /64, which one subscriber controls. Source: RFC 6177 section 2."""
    try:
        address = ipaddress.ip_address(source)
    except ValueError:
        return source[:100]
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is None:
        return str(ipaddress.IPv6Network((address, 64), strict=False))
    return str(getattr(address, "ipv4_mapped", None) or address)

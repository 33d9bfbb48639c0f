"""Pages that several consoles have, each at its own address and for its own readers."""

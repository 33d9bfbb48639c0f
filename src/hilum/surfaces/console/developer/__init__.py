"""The pages of /developer: a vendor's own apps."""

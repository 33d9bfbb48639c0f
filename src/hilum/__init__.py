"""Hilum."""

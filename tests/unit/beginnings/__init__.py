"""Tests of how vendors begin."""

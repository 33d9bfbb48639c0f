"""Tests of access histories."""

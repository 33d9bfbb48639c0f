"""Tests of access history."""

"""Tests of vendors' snapshots."""

"""Tests of defects."""

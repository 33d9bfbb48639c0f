"""Tests of what hospitals share of their approvals."""

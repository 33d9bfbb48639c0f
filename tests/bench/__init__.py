"""Benchmarks: ratios in one run, side by side with nginx where the target says so. ``make bench``; never a test."""

"""The reviewers' console: what waits, and one submission on one page."""

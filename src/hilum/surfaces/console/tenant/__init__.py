"""The pages of a hospital's administrators: which apps are used here, by whom and for what, and what they did."""

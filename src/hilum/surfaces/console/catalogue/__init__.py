"""The pages of the consoles, one file for each console: address, title, question and roles. Pure."""

"""What pages of several consoles are made of, one file for each matter. A part renders no page."""

"""The staff's pages: what is going on now, what is stopped, and why a request was answered as it was."""

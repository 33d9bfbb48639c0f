"""The staff's pages: what is going on now, what is stopped, and why a request was answered the way it was."""

"""Guides: the how-to pages of ``docs/how-to``, served by the platform itself.

Owns: reading the guides that were installed with the platform, their rendering from Markdown, their addresses and headings.
Must not know: any room of the domain. Pages of other rooms link to a guide by its path, never by importing this room.
Public verbs: library, guides.
Invariants: a guide is text: markup in it is shown, not obeyed; a link to another guide or heading leads there, and one to a file that is
not served is shown as the file's name; the pages are the same for everybody, and caches may keep them.
"""

"""Guides: the how-to pages of ``docs/how-to``, served by the platform itself.

Owns: reading the installed guides, rendering their Markdown, their addresses and headings.
Must not know: any room of the domain. Pages of other rooms link to a guide by its path, never by importing this room.
Public verbs: library, guides.
Invariants:
- Markup in a guide is shown as text, never interpreted.
- A link to another guide or heading works; one to a file that is not served shows the file's name.
- Pages are the same for everybody and may be cached.
"""

"""Invented names and streets. The lists are our own, so that a seed keeps its people whatever libraries change."""

import unicodedata

WOMEN = (
    "Abena", "Adriana", "Aisha", "Astrid", "Beatriz", "Camille", "Carmen", "Chiara", "Dalia", "Deborah", "Dina", "Elif", "Elena", "Fatima", "Freya",
    "Gabriela", "Hanna", "Imani", "Ingrid", "Jasmine", "Joanna", "Kavya", "Keiko", "Leila", "Lucía", "Mabel", "Marisol", "Mei", "Nadia", "Naomi",
    "Odessa", "Olga", "Paloma", "Priya", "Ruth", "Saoirse", "Selma", "Sigrid", "Soraya", "Tamar", "Thandiwe", "Uma", "Valentina", "Wanda", "Yara", "Zainab",
)  # fmt: skip
MEN = (
    "Abel", "Ahmed", "Anders", "Arjun", "Bastian", "Benedikt", "Caleb", "Carlos", "Cormac", "Dario", "Dmitri", "Elias", "Emeka", "Farid", "Felix",
    "Giorgio", "Gustavo", "Hassan", "Hugo", "Ibrahim", "Ivo", "Jabari", "Javier", "Joaquín", "Kenji", "Kofi", "Lars", "Leon", "Mateus", "Milan",
    "Nikhil", "Noel", "Omar", "Otis", "Pascal", "Rafael", "Rohan", "Samuel", "Søren", "Tariq", "Theo", "Umar", "Viktor", "Wendell", "Yusuf", "Zoltan",
)  # fmt: skip
FAMILIES = (
    "Abara", "Almeida", "Andersson", "Aquino", "Baptiste", "Barros", "Bianchi", "Boateng", "Caldwell", "Çelik", "Chowdhury", "Dąbrowski", "Demir",
    "Desmond", "Eze", "Falk", "Farrow", "Fontaine", "Garza", "Ghosh", "Goldberg", "Halvorsen", "Hargrove", "Hashimoto", "Hidalgo", "Iversen",
    "Jansen", "Joshi", "Kariuki", "Keller", "Kipling", "Laurent", "Lowell", "Mbeki", "Medeiros", "Molina", "Nadeem", "Ndiaye", "Nguyễn", "Okonjo",
    "Ortiz", "Pappas", "Pereira", "Quiroga", "Rahimi", "Rosenthal", "Sørensen", "Salazar", "Sato", "Silva", "Tanaka", "Thorne", "Ueda", "Vargas",
    "Volkov", "Wójcik", "Wainwright", "Xu", "Yilmaz", "Zamora", "Zielinski",
)  # fmt: skip
STREETS = (
    "Alder Lane", "Beacon Road", "Birchwood Avenue", "Canal Street", "Cedar Court", "Dovecote Drive", "Elm Terrace", "Fairmount Street", "Granary Way",
    "Harbor View", "Ivy Close", "Juniper Street", "Kestrel Road", "Linden Avenue", "Mill Pond Road", "Orchard Street", "Prospect Hill", "Quarry Road",
    "Rosewood Drive", "Sycamore Street", "Tanner Row", "Union Square", "Vineyard Lane", "Willow Bend",
)  # fmt: skip
OCCUPATIONS: tuple[tuple[str, str, str, str], ...] = (
    ("3255", "Registered nurses", "8190", "Hospitals"),
    ("2310", "Elementary and middle school teachers", "7860", "Elementary and secondary schools"),
    ("9130", "Driver/sales workers and truck drivers", "6170", "Truck transportation"),
    ("1020", "Software developers, applications and systems software", "7380", "Computer systems design and related services"),
    ("6230", "Carpenters", "0770", "Construction"),
    ("4720", "Cashiers", "4970", "Grocery stores"),
)  # fmt: skip
"""Census 2010 occupation code and title, industry code and title.

Source: CDC/NIOSH Census 2010 occupation and industry codes
"""


def slug(text: str) -> str:
    """Return a name in letters that an id may have; characters without an ASCII base letter are omitted."""
    plain = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode().lower()
    return "".join(letter for letter in plain if letter.isalnum())

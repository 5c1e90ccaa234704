"""What is to be said of a ChromaDB before anything of its source is needed."""

CHROMA = "chroma"
LOCK_SECONDS = 5.0
"""How long writers may be held up at most; a program that embeds Chroma stands still meanwhile."""


def is_url(place: str) -> bool:
    """Return whether a place is a server's rather than a directory."""
    return place.startswith(("http://", "https://"))

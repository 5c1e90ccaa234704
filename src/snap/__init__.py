"""Keep databases safe: consistent dumps in an encrypted, deduplicating repository."""

__version__ = "0.1.0"

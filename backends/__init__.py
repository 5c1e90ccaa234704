"""Stores of named bytes; they know nothing of snapshots."""

"""The databases: how each is dumped consistently and put back."""

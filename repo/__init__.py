"""The repository format and the engines that work on it."""

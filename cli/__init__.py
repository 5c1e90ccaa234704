"""Words, flags, environment, output and exit codes."""

"""Run the command line as ``python -m snap``."""

from snap.cli.main import main

if __name__ == "__main__":
    main()

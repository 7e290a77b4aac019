"""The command line: `python -m fashion`."""

from fashion.cli.main import main

if __name__ == "__main__":
    main()

"""`python -m callgate`: the command, for whoever starts it with a Python of their own choosing."""

from callgate.cli import main

if __name__ == "__main__":
    main(prog_name="callgate")

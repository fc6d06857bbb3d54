"""`python -m lctui` is the `lctui` command."""

from lctui.cli import main

if __name__ == "__main__":
    main()

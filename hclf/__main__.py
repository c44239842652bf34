"""`python -m hclf`."""

from hclf.cli import main

if __name__ == "__main__":
    main()

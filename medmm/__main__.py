"""`python -m medmm`."""

from medmm.cli import main

if __name__ == "__main__":
    main()

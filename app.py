"""The page as a Hugging Face Space or `python app.py` starts it."""

import sys

from medmm.ui import build_app

demo = build_app()

if __name__ == "__main__":
    demo.launch(mcp="--mcp" in sys.argv[1:])

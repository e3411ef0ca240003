"""A folder that runs as a Hugging Face Space as it is: built with everything checked, then pushed.

Import from the noun: `space.build` writes the folder, `space.push` sends one that was built.
"""

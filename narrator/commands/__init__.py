"""The commands of `python -m narrator`, a file each: `add(parser)` declares the flags, `run(arguments)` does the work.

`run` returns the exit code. Importing a command is cheap: what takes time is imported when it runs.
"""

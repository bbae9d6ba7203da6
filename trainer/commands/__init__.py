"""The commands of `python -m trainer`, a file each: `SAYS` is its help, `add(parser)` declares the flags and
`run(options)` does the work and returns the exit code. Importing them is cheap: what takes time is imported when it
runs.
"""

"""Doors to the package: the command line.

=============  =================================================================
cli.py         the `stillmotion` command: its sub-commands and how errors are told
draw.py        `stillmotion draw`
animate.py     `stillmotion animate`
inspect.py     `stillmotion models` and `stillmotion doctor`
train.py       `stillmotion train`
evaluate.py    `stillmotion evaluate`
jobs.py        what draw and animate do, free of any command line
console.py     printing: results to stdout, all else to stderr
=============  =================================================================
"""

"""Doors to the package: the command line.  What a command makes is in `stillmotion.jobs`.

============  =================================================================
cli.py        the `stillmotion` command: its sub-commands, and how errors are told
draw.py       `stillmotion draw`
animate.py    `stillmotion animate`
edit.py       `stillmotion edit`
story.py      `stillmotion story`
clip_jobs.py  from the options of `draw` and `animate` to a job; running.py makes it and tells
convert.py    `stillmotion convert`
models.py     `stillmotion models`
doctor.py     `stillmotion doctor`
inspect.py    `stillmotion inspect gates`
train.py      `stillmotion train miniature`; train_check.py `train check`
train_dynamicrafter.py  `stillmotion train dynamicrafter`
evaluate.py   `stillmotion evaluate`
serve.py      `stillmotion serve` and `token`
remote.py     `stillmotion submit`, `watch` and `jobs`; remote_options.py says where the server is,
              job_words.py makes jobs of their words
bench_server.py  `stillmotion bench server`
options.py    options that several commands share
speed.py      the measurement behind `doctor`
console.py    printing: results to stdout, all else to stderr
============  =================================================================
"""

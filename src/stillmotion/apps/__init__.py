"""Doors to the package: the command line.

============  =================================================================
cli.py        the `stillmotion` command: its sub-commands, and how errors are told
draw.py       `stillmotion draw`
animate.py    `stillmotion animate`
edit.py       `stillmotion edit`; edit_jobs.py does it
story.py      `stillmotion story`: its command; the rest is free of any command line:
  story_script.py    what may stand in a script; story_yaml.py reads the file,
                     story_mistakes.py says what is wrong
  story_cast.py      shots with their defaults filled in
  story_shots.py     a shot as `draw` and `animate` make it
  story_plan.py      everything checked; story_film.py is the result
  story_folder.py    finished shots, kept under keys
  story_jobs.py      missing shots made, and joined
convert.py    `stillmotion convert`
models.py     `stillmotion models`
doctor.py     `stillmotion doctor`
inspect.py    `stillmotion inspect gates`
train.py      `stillmotion train miniature`; train_check.py `train check`
train_dynamicrafter.py  `stillmotion train dynamicrafter`
evaluate.py   `stillmotion evaluate`
options.py    options that several commands share
outputs.py    names that cannot be written, refused at once
recall.py     from options and earlier records to what `animate` is to make
jobs.py       what `draw` and `animate` do, free of any command line
rehearsal.py  what the writer of a clip refuses, refused before it is made
records.py    the provenance of a clip, and back
methods.py    which method animates, and which options are not its own
dynamicrafter_jobs.py  what `animate` does with a DynamiCrafter model; dynamicrafter_wishes.py is
              what it is asked
advice.py     notes about prompts and pictures
speed.py      the measurement behind `doctor`
console.py    printing: results to stdout, all else to stderr
failures.py   failures of machine and libraries, in one sentence
============  =================================================================
"""

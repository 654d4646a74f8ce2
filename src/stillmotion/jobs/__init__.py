"""What a job is, and how it is made; free of any command line, server or page.

============  =================================================================
model.py      the kinds of job; fields.py and sources.py are what they are built of, mistakes.py
              says what is wrong with one, formats.py how its files end
run.py        a job made: what every door to the package calls; context.py is what is said beside
cost.py       what a job costs, before it is made
drawn_steps.py  steps in which a still was drawn, held before a model is loaded
drawing.py    what `draw` does; drawing_jobs.py leads there from a job
animating.py  what `animate` does by AnimateZero; clip_jobs.py leads there from a job
wishes.py     what a job asks of AnimateZero; recall.py fills in what records and models say, of
              clips that are made again recordings.py; clip_requests.py is the result
records.py    the provenance of a clip, and back
dynamicrafter.py  what `animate` does by DynamiCrafter; dynamicrafter_wishes.py is what it is asked,
              dynamicrafter_recordings.py what the record of a clip says
methods.py    which method animates, and which fields are not its own
editing.py    what `edit` does
scoring.py    what `evaluate` does
story_making.py  what `story` does; story_jobs.py leads there from a job:
  story_script.py    what may stand in a script; story_yaml.py reads the file,
                     story_mistakes.py says what is wrong
  story_cast.py      shots with their defaults filled in
  story_shots.py     a shot as a job of its own
  story_plan.py      everything checked; story_film.py is the result
  story_folder.py    finished shots, kept under keys
common.py     settings and seeds; pictures.py, gates.py, shared_models.py: what goes in
outputs.py    names that cannot be written, refused at once; rehearsal.py what a writer refuses
previews.py   pictures of what is being made; advice.py notes about prompts and pictures
failures.py   failures of machine and libraries, in one sentence
============  =================================================================
"""

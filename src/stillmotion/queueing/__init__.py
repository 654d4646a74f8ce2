"""Jobs that wait, those who make them, and the library of what was made.

Everything lies in one folder: `queue.sqlite` says what there is, `files/` holds it, `work/` is
where results grow.  Several processes use it at the same time.

============  =================================================================
views.py      what is told of jobs, artifacts and events; the errors
schema.py     the tables, and how older ones are brought up to date
database.py   connections and transactions
queue.py      JobQueue: jobs submitted, followed, ordered, paused, cancelled
leases.py     the worker's side of it: claimed, kept alive, completed exactly once
rows.py       from rows of the tables to views
library.py    Library: artifacts found, listed, pinned, deleted, within a limit of size
storing.py    files into the library, and what is left over swept out
uploads.py    pictures and clips that users give, looked at before they are taken
publishing.py what a job wrote, as artifacts
tasks.py      what a worker gives to a runner
submitting.py a job into the table, under limits, only once
changing.py   a job that waits made another, wholly or not at all
ordering.py   which job comes next
runner.py     a claimed job made by `stillmotion.jobs.run`
worker.py     one worker: claim, make, complete
pool.py       Engine, and WorkerPool: several workers on this machine
devices.py    which GPUs there are
============  =================================================================
"""

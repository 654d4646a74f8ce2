"""The HTTP server: jobs, uploads and results over a queue and a library.

==============  ===================================================================
app.py          puts the application together
service.py      what the application stands on: queue, library, limits, tokens
jobs.py         jobs: submit, look, change, cancel, follow
queue.py        the queue as a whole
artifacts.py    results: the gallery, downloads by ranges, deletion
sending.py      uploads of pictures and clips
about.py        health, models, the schema of jobs, metrics
views.py        what the answers hold
costs.py        what a job may cost and name, checked before it is queued
events.py       server-sent events: one reader of the queue for all listeners
guards.py       what every request passes first: host, origin, token; around them shield.py
                (defects, headers, logs), inside bodies.py (sizes and times)
problems.py     refusals as problem details (RFC 9457)
tokens.py       the file of tokens
rates.py        counts requests and open streams; shared.py does so for several processes
limits.py       all limits and their defaults
uploads.py      receives a file; probe.py looks at it in a confined process
metrics.py      numbers for Prometheus; logs.py one JSON object a line
protocol.py     uvicorn's HTTP with a limit on slow heads
serving.py      uvicorn and the workers, from start to SIGTERM
load.py         how much a server bears, measured
==============  ===================================================================
"""

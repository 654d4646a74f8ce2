"""A thin client of the HTTP server.

============  =====================================================================
connection.py  `Client`: jobs, uploads, results, events
streams.py     reads server-sent events
downloads.py   fetches a result in parts, and goes on where it broke off
refusals.py    what the server said when it refused, in one sentence
============  =====================================================================

It imports httpx (the extra `server`) and, of this package, only what a job is.
"""

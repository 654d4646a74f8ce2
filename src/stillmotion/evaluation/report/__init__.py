"""What a run says: summaries, and the pages and tables that people look at.

==============  ==============================================================================
runs.py         run folders as they are read; which two may be compared
summary.py      all that a report says, as plain data
statistics.py   means, intervals, places, and paired comparisons
claims.py       what the papers claim, held against a run
numbers.py      numbers as text
markdown.py     the tables as Markdown
plots.py        means and intervals as SVG
gallery.py      clips as strips of frames that a page can play
html.py         the page, from page/report.html, report.css and report.js
writing.py      report.html, report.md and report.json of a run; comparisons of two
==============  ==============================================================================
"""

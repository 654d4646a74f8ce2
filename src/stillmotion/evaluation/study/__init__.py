"""A user study: clips of several methods shown blind to people, and what they say of them.

===============  ==========================================================================
designs.py       what raters are asked: AnimateZero's rankings, DynamiCrafter's choices
words.py         every word that raters read, to be translated in one place
records.py       the key that the researcher keeps, and the answers that raters send
stream.py        who sees what in which order, the same here and in the page
material.py      cases that every method has a clip of, from one or several run folders
strips.py        a clip as one picture that tells nothing but its pixels; the attention check
build.py         the study: the page's data, and the key
page.py          the page: one HTML file that asks the network for nothing
page/            its style and its program
answers.py       answers read and checked against the key
choices.py       answers as arrays
scoring.py       ranks, preference and selection rates, agreement, consistency
tables.py        Markdown like the papers' tables, and CSV
simulate.py      answers of made-up raters, to rehearse a study before people are asked
===============  ==========================================================================
"""

"""What the networks cost, told without flattery.

================  ==============================================================
counting.py       operations, FLOPs and bytes of any computation, by operator
call.py           one thing that is counted, before and after
full_size.py      which calls of the full-size networks are counted
targets.py        what the counts should be, and whether they are
tables.py         the counts as Markdown and for JSON
================  ==============================================================
"""

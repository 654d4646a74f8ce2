"""Programs that look at the source itself; none of them is part of the installed package."""

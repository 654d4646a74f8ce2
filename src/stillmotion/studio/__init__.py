"""The studio: a page on the same server, over the same queue and library.

Every button builds a job and submits it; what the page shows is read from the queue and the
library, so that a closed tab loses nothing.  The browser keeps ids, and what is typed.

=======================  ==================================================================
actions.py               what a form says -> jobs, or one sentence and the field it is about
memory.py                the ids that the browser keeps
drafts.py                what is typed and chosen, which the browser keeps too
desk.py                  one person at the queue and the library: what they may see and do
results.py               the last frame as a picture, a clip as another format, a record to read
uploads.py               a file that was dropped into the page, looked at in a confined process
offers.py                the models that the server offers, by method
markup.py                small pieces of the page: pictures, bars, buttons
cards.py                 one still, clip, film or unfinished job as a card
chapters.py              where a film's chapters begin
scores.py                scores of clips as a table
boards.py                the row of stills and the clips, queue and history as pieces of the page
forms.py                 fields with a place under each for the sentence about it
draw_panel.py            1: prompt and look
choose_panel.py          2: the row of stills, a photograph in their place
motion_fields.py         3: fields that its forms share
animate_panel.py         3: how it should move; text along the clip
dynamicrafter_panel.py   3: the same with DynamiCrafter
edit_panel.py            3: a clip drawn anew
story_panel.py           3: a film of several shots
result_panel.py          4: the clips beside the still
queue_panel.py           what waits and runs: order, pause, cancel, edit, retry
history_panel.py         all that was made
screen.py                what all panels share: the memory, the boards, how they are painted
turns.py                 what one open page is told comes in order
page.py                  puts the page together
theme.py                 colours, system fonts; studio.css and studio.js beside it
shell.py                 Gradio's page written anew, without what it asks of other machines
login.py                 a form for the token, where tokens are asked for
downloads.py             routes beside the page: its style and script, clips in other formats
mount.py                 the page on the server's application
=======================  ==================================================================
"""

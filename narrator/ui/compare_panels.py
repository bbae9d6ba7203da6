"""Voting, sharing and the leaderboard on the Compare tab: their widgets, wired to compare_voting and
compare_sharing."""

from __future__ import annotations

from typing import Any

from narrator.knobs import knobs
from narrator.settings import GenerationSettings
from narrator.ui import compare_handlers, compare_sharing, compare_voting
from narrator.ui.compare_handlers import Made
from narrator.ui.compare_parts import PLACES, CompareParts, updates
from narrator.ui.compare_sharing import Opened
from narrator.ui.compare_voting import BAD, NONE, TIE
from narrator.ui.work import LATEST, QUIETLY, quietly

KEYS = ('<p class="keys">Keys, while the focus is here or on a description: the number of the best one, '
        "<kbd>T</kbd> for a tie, <kbd>B</kbd> for all bad.</p>")
TO_RESULTS = "() => window.comparing.go('#compare-results')"
COPY = "(payload) => window.comparing.link(payload)"
ARRIVED = "() => window.comparing.arrived()"


def build_voting(parts: CompareParts) -> None:
    """The buttons of a blind vote, and the one that takes it back."""
    import gradio as gr

    with gr.Column(visible=False, elem_id="compare-vote") as parts.voting:
        gr.HTML('<h2 id="compare-vote-title" class="small">Which is the best?</h2>')
        with gr.Row(elem_id="compare-vote-buttons"):
            parts.bests = [gr.Button(f"{place} is best", size="md", elem_id=f"compare-best-{place}", min_width=90,
                                     visible=False) for place in PLACES]
            parts.others = [(gr.Button(title, size="md", elem_id=name, min_width=90), says) for title, name, says in
                            (("Tie", "compare-tie", TIE), ("All bad", "compare-bad", BAD),
                             ("No vote, show the names", "compare-names", NONE))]
        gr.HTML(KEYS)
    parts.undo = gr.Button("Take back my vote", size="md", elem_id="compare-undo", visible=False, min_width=140)


def build_sharing(parts: CompareParts) -> None:
    """Files and a link of what is shown, and a way to open such a file."""
    import gradio as gr

    from narrator.ui.picture_input import files_input

    with gr.Accordion("Share or open a comparison", open=False, elem_id="compare-sharing"):
        with gr.Column(visible=False, elem_id="compare-share") as parts.sharing:
            parts.pictured = gr.Checkbox(False, label="Include the picture", elem_id="compare-pictured",
                                         info="Whoever has the file or the link can see it then.")
            with gr.Row(elem_id="compare-share-buttons"):
                parts.html = gr.DownloadButton("Save page (.html)", size="md", elem_id="compare-html", min_width=140)
                parts.json = gr.DownloadButton("Save data (.json)", size="md", elem_id="compare-json", min_width=140)
                parts.copy = gr.Button("Copy link", size="md", elem_id="compare-copy", min_width=140)
            parts.link = gr.Textbox(label="Link", visible=False, lines=1, max_lines=1, elem_id="compare-link",
                                    interactive=True)
        parts.file = files_input("A saved comparison (.json)", file_types=[".json"], height=160, elem_id="compare-file")
    parts.arrived = gr.Textbox(visible=False, elem_id="compare-arrived")


def build_leaderboard(parts: CompareParts) -> None:
    """The table of the visitor's votes, and its files."""
    import gradio as gr

    with gr.Accordion("Leaderboard", open=False, elem_id="compare-leaderboard") as parts.leaderboard:
        parts.board = gr.HTML("", elem_id="compare-board")
        with gr.Row(elem_id="compare-exports"):
            parts.exports = [gr.DownloadButton(f"Save votes (.{kind})", size="md", elem_id=f"compare-votes-{kind}",
                                               visible=False, min_width=140) for kind in ("csv", "jsonl")]


def wire_voting(parts: CompareParts) -> None:
    """Every button of a vote, and taking it back; then names, files and the leaderboard."""
    import gradio as gr

    def take_back(made: Made | None, visitor: Any) -> list[Any]:
        line, left = compare_voting.take_back(made, visitor)
        return [line, left, gr.Button(visible=left is not None and bool(left.vote))]

    buttons = [*((button, str(place)) for place, button in zip(PLACES, parts.bests, strict=True)), *parts.others]
    for button, says in buttons:
        voted = button.click(_voter(parts, says), [parts.made, parts.visitor, parts.kept], parts.outputs(),
                             trigger_mode="once", **QUIETLY)
        voted.then(None, js=TO_RESULTS, **QUIETLY)
        voted.then(_files, [parts.made, parts.pictured], _saved(parts), **QUIETLY)
        voted.then(_board, parts.visitor, _boarded(parts), **QUIETLY)
    undone = parts.undo.click(take_back, [parts.made, parts.visitor], [parts.status, parts.made, parts.undo],
                              trigger_mode="once", **QUIETLY)
    undone.then(None, js=TO_RESULTS, **QUIETLY)
    undone.then(_board, parts.visitor, _boarded(parts), **QUIETLY)


def _voter(parts: CompareParts, says: str) -> Any:
    return lambda made, visitor, wanted: updates(parts, compare_voting.vote(says, made, visitor, wanted))


def wire_sharing(parts: CompareParts, page: Any, tabs: Any, ended: tuple[Any, Any]) -> None:
    """Files appear with what they hold; a link is made when asked for; what is opened fills the form. ended: what wires
    what follows a comparison."""
    import gradio as gr

    def link(made: Made | None, pictured: bool) -> Any:
        line, payload = compare_sharing.link(made, pictured)
        return line, gr.Textbox(value=payload, visible=bool(payload))

    def fill(opened: Opened) -> list[Any]:
        shown = updates(parts, opened.view)
        if not opened.fills:
            return [*shown, *[gr.skip()] * (len(parts.variants) + 8 + len(parts.settings))]
        told = compare_sharing.form(opened)
        return [*shown, *told["variants"], told["prompt"], told["references"], told["picture"], told["drafts"],
                compare_handlers.ALL, compare_handlers.ALL, compare_handlers.owners(told["drafts"]), False,
                *told["settings"]]

    def arrive(payload: str) -> list[Any]:
        opened = compare_sharing.open_link(payload)
        return [gr.Tabs(selected="compare") if payload else gr.skip(), *fill(opened)]

    form = [*parts.variants, parts.prompt, parts.references, parts.picture, parts.drafts, parts.whose,
            parts.choose_whose, parts.owners, parts.blind, *parts.settings]
    assert len(form) == len(parts.variants) + 8 + len(knobs(GenerationSettings))
    opened = parts.file.upload(lambda paths: fill(compare_sharing.open_file(paths)), parts.file,
                               [*parts.outputs(), *form], **quietly(parts.status))
    arrived = page.load(arrive, parts.arrived, [tabs, *parts.outputs(), *form], js=ARRIVED,
                        **quietly(parts.status))
    changed = parts.pictured.input(lambda: [gr.DownloadButton(interactive=False)] * 2, None, [parts.html, parts.json],
                                   queue=False, **LATEST)  # until they hold what was asked for
    for event in (*ended, opened.success, arrived.success, changed.then):
        event(_files, [parts.made, parts.pictured], _saved(parts), **LATEST)
    parts.copy.click(link, [parts.made, parts.pictured], [parts.status, parts.link], trigger_mode="once",
                     **QUIETLY).then(None, parts.link, parts.link, js=COPY, **QUIETLY)


def wire_leaderboard(parts: CompareParts, tab: Any, arrived: Any) -> None:
    """It is made when somebody opens it; its title tells how many votes there are."""
    import gradio as gr

    def title(visitor: Any) -> Any:
        return gr.Accordion(label=compare_voting.title(visitor))

    arrived.then(title, parts.visitor, parts.leaderboard, queue=False, **QUIETLY)
    tab.select(title, parts.visitor, parts.leaderboard, queue=False, **QUIETLY)
    parts.leaderboard.expand(_board, parts.visitor, _boarded(parts), queue=False, **QUIETLY)


def _boarded(parts: CompareParts) -> list[Any]:
    return [parts.leaderboard, parts.board, *parts.exports]


def _board(visitor: Any) -> list[Any]:
    """Updates for `_boarded`."""
    import gradio as gr

    found = compare_voting.board(visitor)
    files: list[str | None] = [str(path) for path in found.files] or [None, None]
    return [gr.Accordion(label=compare_voting.title(visitor)), found.table,
            *(gr.DownloadButton(value=path, visible=path is not None) for path in files)]


def _saved(parts: CompareParts) -> list[Any]:
    return [parts.status, parts.html, parts.json, parts.sharing]


def _files(made: Made | None, pictured: bool) -> list[Any]:
    """Updates for `_saved`: the files of what is shown."""
    import gradio as gr

    line, *paths = compare_sharing.files(made, pictured)
    there = all(paths)
    files = [gr.DownloadButton(value=str(path) if path else None, interactive=there) for path in paths]
    return [line or gr.skip(), *files, gr.Column(visible=made is not None and not made.blind)]

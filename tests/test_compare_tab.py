"""The Compare tab without a browser: what is hidden until a vote, whose settings count, what is kept and shared."""

import asyncio
import dataclasses
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from plumbing import write_checkpoint
from test_comparing import CAT, RED, sample

from narrator.comparing.sharing import as_text, from_text, to_link
from narrator.families import FAMILIES
from narrator.history import history_of
from narrator.settings import GenerationSettings
from narrator.ui import compare_handlers, compare_sharing, compare_voting, filing
from narrator.ui.compare_handlers import ALL, RUNNING, SHOWN, VOTING, Asked, Made, View, kept, owners, usual
from narrator.ui.compare_voting import BAD, NONE, TIE, board, title, vote

ADA, BOB = "a" * 43, "b" * 43  # secrets of two browsers


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The variants "one", "two" and "asked" in the catalog; uploads and votes below `tmp_path`."""
    monkeypatch.setitem(FAMILIES, "sayer", "plumbing:Sayer")
    for name, place in (("NARRATOR_CHECKPOINTS", "checkpoints"), ("NARRATOR_HISTORY", "history"),
                        ("GRADIO_TEMP_DIR", "uploads")):
        monkeypatch.setenv(name, str(tmp_path / place))
    (tmp_path / "uploads").mkdir()
    write_checkpoint(tmp_path / "checkpoints", "one")
    write_checkpoint(tmp_path / "checkpoints", "two", words=RED)
    write_checkpoint(tmp_path / "checkpoints", "asked", inputs={"image": False, "text": True})
    yield tmp_path


def asked(*variants: str | None, **more: Any) -> Asked:
    return Asked(**{"path": str(CAT), "prompt": "", "references": "a red dog\n\na dog", "variants": variants,
                    "drafts": {ALL: usual()}, **more})


def views(request: Asked, *whose: str) -> list[View]:
    """whose: the visitor, and whether narrations are kept."""
    async def collect() -> list[View]:
        return [view async for view in compare_handlers.compare(request, *whose)]
    return asyncio.run(collect())


def last(request: Asked, *whose: str) -> Made:
    made = views(request, *whose)[-1].made
    assert made is not None
    return made


def test_every_view_is_only_what_is_new(home: Path) -> None:
    seen = views(asked("one", "two"))
    stages = [view.stage for view in seen if view.stage is not None]
    assert stages == [RUNNING, SHOWN] and seen[-1].made is not None and seen[-1].made.readable() == [0, 1]
    lines = [view.status for view in seen if view.status]
    assert len(lines) == len(set(lines)) <= 5 and "A dog runs on grass. 2: A red dog" in lines[-1]
    cards = {place: card for view in seen for place, card in (view.cards or {}).items()}
    assert "<mark>red</mark>" in cards[1] and "Only here: red, b." in cards[1] and "&lt;b&gt;" not in cards[0]
    assert "BLEU-1" in (seen[-1].figures or "") and "Tokens per second" in (seen[-1].figures or "")


@pytest.mark.parametrize("listening", [False, True])
def test_before_the_vote_no_name_is_told_and_the_texts_come_together(home: Path, listening: bool) -> None:
    seen = views(asked("one", "two", blind=True, listening=listening))
    told = "".join(f"{view.status} {view.figures} {''.join((view.cards or {}).values())}" for view in seen)
    assert "The one" not in told and "The two" not in told and "BLEU" not in told and "Tokens per" not in told
    early = "".join("".join((view.cards or {}).values()) for view in seen[:-1])
    assert "dog" not in early and "Ready" not in early and early.count("Being described") == 2  # both alike to the end
    assert ("dog" in "".join((seen[-1].cards or {}).values())) is not listening
    assert ("dog" in (seen[-1].status or "")) is not listening  # nor does a screen reader tell
    assert seen[-1].stage == VOTING and seen[-1].made is not None and seen[-1].made.listening is listening


def test_the_order_is_drawn_once_all_are_written(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """So that the time that each took tells nothing."""
    made = last(asked("one", "asked", "two", blind=True))  # "asked" fails: it has no narration
    orders = [compare_handlers.shuffled(made) for _ in range(60)]
    assert len({tuple(one.variant for one in mixed.comparison.results) for mixed in orders}) == 6
    for mixed in orders:
        for place, one in enumerate(mixed.comparison.results):
            told = mixed.narrations.get(place)
            assert (told.text, told.variant_id) == (one.text, one.variant) if told else one.variant == "asked"
    firsts = []
    for seed in (0, 1):  # of a known random, which gives both orders
        monkeypatch.setattr(compare_handlers.random, "SystemRandom", lambda seed=seed: random.Random(seed))
        firsts.append(last(asked("one", "two", blind=True)).comparison.results[0].variant)
    assert sorted(firsts) == ["one", "two"]


def test_a_failure_tells_no_name_before_the_vote(home: Path) -> None:
    made = last(asked("one", "two", "asked", blind=True))
    place = next(place for place, one in enumerate(made.comparison.results) if one.variant == "asked")
    card = compare_handlers.shown(made, None, VOTING).cards
    assert card is not None and "The asked" not in card[place] and "after the vote" in card[place]
    seen = vote(str(1 + made.readable()[0]), made, "")
    assert seen.cards is not None and "write one first" in seen.cards[place] and seen.stage == SHOWN
    assert set(compare_voting.votes("").all().votes[0].variants) == {"one", "two"}  # what failed was not voted on
    alone = views(asked("one", "asked", blind=True))[-1]
    assert alone.stage == SHOWN and "nothing to vote on" in (alone.status or "") and alone.made and not alone.made.blind


def test_votes_are_kept_ranked_taken_back_and_exported(home: Path) -> None:
    made = last(asked("one", "two", blind=True, listening=True))
    ids = [one.variant for one in made.comparison.results]
    seen = vote("2", made, "")
    assert seen.made is not None and not seen.made.blind and seen.made.vote and seen.figures
    assert f"You chose description 2: The {ids[1]}." in (seen.status or "")
    stored = compare_voting.votes("").all().votes[0]
    assert (stored.winner, stored.outcome, stored.listening) == (ids[1], "best", True)
    assert stored.sha256 == made.comparison.image_sha256 and stored.settings[0]["max_new_tokens"] == 40
    for says in (TIE, BAD):
        assert "You said" in (vote(says, made, "").status or "")
    assert compare_voting.votes("").count() == 3 and title("") == "Leaderboard (3 votes)"
    found = board("")
    rows = found.table.split("<tbody>")[1].split("</tr>")
    assert f"The {ids[1]}" in rows[0] and f"The {ids[0]}" in rows[1] and "<td>3</td><td>1</td>" in rows[0]
    assert [path.name for path in found.files] == ["votes.csv", "votes.jsonl"]
    assert found.files[1].read_text().count("\n") == 3
    line, left = compare_voting.take_back(seen.made, "")
    assert "taken back" in line and left is not None and not left.vote and compare_voting.votes("").count() == 2
    assert "no vote to take back" in compare_voting.take_back(left, "")[0]
    assert vote(NONE, made, "").stage == SHOWN and compare_voting.votes("").count() == 2
    for choice, about in (("3", made), ("²", made), ("1", None), ("1", left)):
        assert "Problem" in (vote(choice, about, "").status or "") and compare_voting.votes("").count() == 2


def test_votes_of_visitors_of_a_shared_page_never_meet(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SPACE_ID", "somebody/narrator")
    made = last(asked("one", "two", blind=True))
    vote("1", made, ADA)
    assert title(ADA) == "Leaderboard (1 vote)" and title(BOB) == "Leaderboard" and "No vote yet" in board(BOB).table
    seen = vote("1", made, "")  # a browser that keeps nothing
    assert "was not kept" in (seen.status or "") and seen.stage == SHOWN and "The one" in "".join(
        (seen.cards or {}).values())


def test_what_is_told_is_filed_for_its_owner_once_its_name_may_be_seen(home: Path,
                                                                       monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SPACE_ID", "somebody/narrator")
    hers = history_of(ADA)
    made = last(asked("one", "asked", "two"), ADA, filing.ALL)  # the second fails
    rows = {row.id: row for row in hers.page(0, 9).rows}
    assert {place: rows[name].narration.variant_id for place, name in made.filed.items()} == {0: "one", 2: "two"}
    assert len(rows) == 2 and all(len(row.pictures) == 1 for row in rows.values())
    assert rows[made.filed[0]].narration.text == "A dog runs on grass." and history_of(BOB).count() == 0
    hidden = last(asked("one", "two", blind=True), ADA, filing.ALL)
    assert hers.count() == 2 and hidden.filed == {} and set(hidden.narrations) == {0, 1}
    assert set((vote(NONE, hidden, ADA, filing.ALL).made or hidden).filed) == {0, 1} and hers.count() == 4
    alone = last(asked("one", "asked", blind=True), ADA, filing.ALL)  # nothing to vote on, so that all is shown
    assert len(alone.filed) == 1 and hers.count() == 5
    for request in (asked("one", "two"), asked("one", "two", blind=True)):
        unwanted = last(request, ADA, filing.NOTHING)
        assert vote("1", unwanted, ADA, filing.NOTHING) and unwanted.filed == {} and hers.count() == 5
    hers.clear()
    hers.folder.write_text("in the way")
    line = views(asked("one", "two"), ADA, filing.ALL)[-1].status or ""
    assert "2 descriptions are ready. The narration" in line and "not kept in the history" in line
    line = vote(TIE, hidden, ADA, filing.ALL).status or ""
    assert "You said: a tie. " in line and "not kept in the history" in line and "Problem" in line


def test_a_page_that_is_closed_has_filed_what_was_done(home: Path) -> None:
    write_checkpoint(home / "checkpoints", "slow", words=[[" word", 0.9]] * 40, step_s=0.05)

    async def leave() -> None:
        coming = compare_handlers.compare(asked("one", "slow"), "", filing.ALL)
        async for view in coming:
            if view.made is not None and view.made.comparison.results[1].text:
                break
        await coming.aclose()

    asyncio.run(leave())
    assert [row.narration.variant_id for row in history_of().page(0, 9).rows] == ["one"]


def test_settings_of_all_and_of_one(home: Path) -> None:
    mine = dataclasses.asdict(GenerationSettings(max_new_tokens=3))
    drafts = kept({}, "2", list(mine.values()))
    assert drafts == {ALL: usual(), "2": list(mine.values())} and "Variant 2 has settings of its own" in owners(drafts)
    made = last(asked("one", "two", drafts=drafts))
    assert [one.settings["max_new_tokens"] for one in made.comparison.results] == [40, 3]
    assert kept(drafts, "2", usual()) == {ALL: usual()} and "the same settings" in owners(kept(drafts, "2", usual()))
    assert "Variants 2 and 4 have" in owners(kept(drafts, "4", list(mine.values())))
    twice = last(asked("one", "one", drafts=drafts))  # one variant against itself, with other settings
    assert [one.text for one in twice.comparison.results] == ["A dog runs on grass.", "A dog ru."]
    for request, words in ((asked("one", "one", drafts=drafts, blind=True), "between different variants"),
                           (asked("one", drafts={ALL: [None, *usual()[1:]]}), "max_new_tokens"),
                           (asked("one", None, ""), "2 to 4"), (asked("one", "two", path=None), "None of the")):
        assert words in (views(request)[-1].status or "")


def test_stopped_keeps_what_is_there_unless_names_were_hidden(home: Path) -> None:
    running = views(asked("one", "two"))[0].made
    assert running is not None
    seen = compare_handlers.stopped(running, RUNNING)
    assert seen.stage == SHOWN and seen.made and {one.state for one in seen.made.comparison.results} == {"stopped"}
    hidden = compare_handlers.stopped(dataclasses.replace(running, blind=True), RUNNING)
    assert hidden.stage == "" and hidden.cards and "one" not in "".join(hidden.cards.values())
    assert all("Stopped." in card for card in hidden.cards.values()) and "nothing to vote on" in (hidden.status or "")
    assert compare_handlers.stopped(None, "").status and compare_handlers.stopped(running, SHOWN).cards is None


def test_files_and_links_come_back_into_the_form(home: Path) -> None:
    made = last(asked("one", "two", drafts=kept({}, "2", [7, *usual()[1:]])))
    line, page, data = compare_sharing.files(made, True)
    assert line == "" and page and data and "data:image/png" in page.read_text() and "<script" not in page.read_text()
    opened = compare_sharing.open_file([str(data)])
    form = compare_sharing.form(opened)
    assert form["variants"] == ["one", "two", "", ""] and form["references"] == "a red dog\na dog"
    assert form["settings"] == usual() and form["drafts"]["2"][0] == 7 and form["picture"].size
    assert opened.view.made is not None and opened.view.made.comparison.results == made.comparison.results
    again = last(asked("one", "two", drafts=form["drafts"]))
    assert [one.text for one in again.comparison.results] == [one.text for one in made.comparison.results]
    line, payload = compare_sharing.link(made, False)
    assert "ready" in line and compare_sharing.open_link(payload).view.made is not None
    gone = compare_sharing.open_link(to_link(sample()))
    assert "Its picture was not saved" in (gone.view.status or "")
    elsewhere = compare_sharing.open_link(to_link(dataclasses.replace(sample(), results=tuple(
        dataclasses.replace(one, variant="far") for one in sample().results))))
    assert compare_sharing.form(elsewhere)["variants"] == [None, None, "", ""]
    assert "Not on this machine: One &lt;i&gt;, Two" in (elsewhere.view.status or "")
    assert not compare_sharing.open_link("").fills and not compare_sharing.open_file(None).fills
    assert "damaged or cut short" in (compare_sharing.open_link(payload[:-20]).view.status or "")


def test_nothing_is_shared_before_the_vote(home: Path) -> None:
    made = last(asked("one", "two", blind=True))
    assert compare_sharing.files(made, False) == ("", None, None) and compare_sharing.link(made, False)[1] == ""
    gone = dataclasses.replace(made, blind=False, path=str(home / "gone.jpg"))
    assert "not here any more" in compare_sharing.files(gone, True)[0]
    line = compare_sharing.link(gone, True)[0]
    assert "not here any more" in line and str(home) not in line
    assert from_text(as_text(gone.comparison), "it").picture is None

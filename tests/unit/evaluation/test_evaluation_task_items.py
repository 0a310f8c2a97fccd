"""Items of tasks: what is right and wrong in them stands in the text they were made from."""

from collections import Counter

import numpy as np
import pytest

from scalelab.evaluation.measures import _items

WORDS = ["bold", "warm", "plain", "small", "quiet", "green", "round", "heavy", "early", "final"]
THINGS = ["table", "window", "method", "number", "letter", "signal", "object", "branch"]
CONTEXT = 160


def documents(count=40, seed=0):
    rng = np.random.default_rng(seed)

    def phrase():
        return f"{rng.choice(WORDS)} {rng.choice(THINGS)}"

    return [
        f"Return the {phrase()} of a {phrase()}.\n\n"
        f"It is made from one {phrase()} and the {phrase()}.\nParameters\n-----\nx : int\n"
        for _ in range(count)
    ]


def made(name, texts, context=CONTEXT):
    make = getattr(_items, name)
    draws = (np.random.default_rng(3),) if name in ("acceptable", "follows") else ()
    return list(make(texts, len, context, *draws))


def test_sentences_are_whole_prose_where_they_stand():
    text = (
        "of a cut one. Return the value of x.y in a list, or None.\n\n"
        "See foo(a=1, b=[2]) <x> {y}.\n"
        "Heading\n-------\nIt goes on over\n  two lines of plain text.\n\nToo short.\n"
        "Whether it is open?\nAn end without a stop"
    )
    found = [one.group() for one in _items.sentences(text)]
    assert found == ["It goes on over\n  two lines of plain text."]
    (one,) = _items.sentences("It is a line of text\n\nIt is another line of text.")
    assert one.start() == 22, "a sentence ends with its paragraph"


@pytest.mark.parametrize("name", ["cloze", "choice", "span", "acceptable", "follows"])
def test_items_fit_the_context_and_are_the_same_again(name):
    texts = documents()
    items = made(name, texts)
    assert len(items) == {"follows": 20}.get(name, 40)
    for item in items:
        room = _items.SPARE * (name == "span")
        assert all(len(a + b) + room <= CONTEXT for a, b in item.requests)
    assert items == made(name, texts)
    assert not made(name, texts, context=20)


def test_a_cloze_is_the_beginning_of_the_document_and_its_word():
    for text, item in zip(documents(), made("cloze", documents()), strict=True):
        ((given, answer),) = item.requests
        assert text.startswith(f"{given}{answer}.\n") and answer.strip() in THINGS
        assert item.tokens == len(answer)


def test_each_word_is_right_once_and_wrong_three_times():
    texts = [f"It is one of the many and old things of class{'abcdefgh'[i]}." for i in range(8)]
    items = made("choice", texts)
    assert {len({*item.requests}) for item in items} == {4}
    right = Counter(item.requests[0][1] for item in items)
    assert [*right.values()] == [1] * 8
    wrong = Counter(told for item in items for _, told in item.requests[1:])
    assert [*wrong.values()] == [3] * 8
    with_doubles = made("choice", texts[:4] + texts[:1] * 4)
    for item in with_doubles:
        assert len({told for _, told in item.requests}) == 4, "no wrong one is the right one"


def test_the_answer_of_a_span_stands_in_the_passage_after_the_words_asked():
    for text, item in zip(documents(), made("span", documents()), strict=True):
        (given, answer), (without, same) = item.requests
        assert same == answer == item.answer and item.tokens == len(answer)
        passage, asked = given.rsplit(_items.BETWEEN, 1)
        assert text.startswith(passage) and f"{asked}{answer}." in passage
        assert without.endswith(_items.BETWEEN + asked)
        assert f"{asked}{answer}." not in without, "the second beginning does not have it"
        assert len(answer.split()) == 2


def test_an_unacceptable_sentence_has_two_neighbours_swapped_and_nothing_else():
    for item in made("acceptable", documents()):
        (_, good), (_, bad) = item.requests
        one, two = good.split(), bad.split()
        assert len(good) == len(bad) and one[0] == two[0] and one[-1] == two[-1]
        first, second = [place for place in range(len(one)) if one[place] != two[place]]
        assert second == first + 1 and one[first] == two[second] and one[second] == two[first]


def test_what_follows_is_asked_once_in_its_place_and_once_in_the_others():
    texts = documents()
    for item in made("follows", texts):
        (a, after_a), (b, after_b), *swapped = item.requests
        assert a != b and swapped == [(a, after_b), (b, after_a)]
        assert any(text.startswith(a + after_a) for text in texts)
        assert any(text.startswith(b + after_b) for text in texts)
    # One with a blank line between its sentences is no partner of one with a space.
    mixed = [texts[0], texts[1].replace("\n\n", " ")]
    assert not made("follows", mixed) and len(made("follows", [*mixed, *mixed])) == 2

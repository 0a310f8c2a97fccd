"""What is masked and, as important, what is not."""

import re

import pytest

from scalelab.corpus import personal
from scalelab.corpus.cleaning.mask import Mask
from scalelab.errors import UserError

PEM = "-----BEGIN {0}PRIVATE KEY-----\nMIIEow\nAAKC+/=\n-----END {0}PRIVATE KEY-----"
# Put together here, so that no scanner of this repository takes them for real.
TOKEN_GITHUB = "ghp" + "_" + "a1B2" * 9
TOKEN_AWS = "AKIA" + "QYLPMN5HHHFPZAM2"
TOKEN_SLACK = "xoxb-" + "123456789012-" + "abcdefghij"
TOKEN_STRIPE = "sk_live" + "_" + "4eC39HqLyjWDarjtT1zdp7dc"
TOKEN_HF = "hf_" + "abcdefghijklmnopqrstuvwxyzABCDEFGH"
TOKEN_JWT = "eyJ" + "hbGciOiJIUzI1NiJ9." + "eyJ" + "zdWIiOiIxMjM0In0." + "dozjgNryP4J3jVmNHl0w5N"

FOUND = [
    ("email", "write to anna.berg+lab@example.org.", ["anna.berg+lab@example.org"]),
    ("email", "<o.k@uni-koeln.de>,J_Smith@mail.example.co.uk;", 2),
    ("email", "mailto:jürgen@example.de", ["jürgen@example.de"]),
    ("email", "A.B@EXAMPLE.COM", ["A.B@EXAMPLE.COM"]),
    ("card", "paid with 4111 1111 1111 1111 today", ["4111 1111 1111 1111"]),
    ("card", "card=5555555555554444;", ["5555555555554444"]),
    ("card", "amex 3782-822463-10005", ["3782-822463-10005"]),
    ("card", "6011111111111117, 3530111333300000", 2),
    ("address", "from 8.8.4.4 port 53.", ["8.8.4.4"]),
    ("address", "8.8.8.8.", ["8.8.8.8"]),
    ("address", "host 2001:4860:4860::8888 up", ["2001:4860:4860::8888"]),
    ("phone", "call +1 650-253-0000 now", ["+1 650-253-0000"]),
    ("phone", "+49 30 901820 or tel:+33142685300", ["+49 30 901820", "+33142685300"]),
    ("phone", "(650) 253-0000", ["(650) 253-0000"]),
    ("phone", "x = 415-555-2671", ["415-555-2671"]),
    ("key", "a\n" + PEM.format("RSA ") + "\nb", [PEM.format("RSA ")]),
    ("key", PEM.format(""), [PEM.format("")]),
    ("key", f"token: {TOKEN_GITHUB}", [TOKEN_GITHUB]),
    ("key", f"aws_access_key_id = {TOKEN_AWS}", [TOKEN_AWS]),
    ("key", f"'{TOKEN_SLACK}' {TOKEN_STRIPE}", [TOKEN_SLACK, TOKEN_STRIPE]),
    ("key", f"HF={TOKEN_HF} Bearer {TOKEN_JWT}", [TOKEN_HF, TOKEN_JWT]),
]
LEFT = [
    ("email", "y = A@B.mean() + W@x.grad + A@B.T + A@x.mT + v@w.at[0].set(1)"),
    ("email", "git clone git@github.com:owner/repo.git"),
    ("email", "@decorator.name, user@localhost, a@b and @handle"),
    ("card", "4111 1111 1111 1112"),
    ("card", "id 1234567812345670"),
    ("card", "0.4111111111111111 and 4111111111111111.5 and -4111111111111111"),
    ("card", "4111-1111 1111 1111 and 41 1111 1111 1111 11"),
    ("card", "a94a8fe5ccb19ba61c4c0873d391e987982fbbd3"),
    ("card", "1700000000000 1700000000017 20231128143000"),
    ("address", "127.0.0.1, 192.168.0.1, 10.0.0.7, 0.0.0.0 and 224.0.0.1"),
    ("address", "version 1.2.3.4, v4.18.0.2, ==4.18.0.2, Chrome/120.0.6099.109"),
    ("address", "std::vector a::b 12:30:45 dead::beef 00:1b:44:11:3a:b7"),
    ("address", "1.2.3.4.5 and 999.1.1.1"),
    ("phone", "version 1.2.3.4567 of 2023-11-28 14:30:00, 28.11.2023"),
    ("phone", "sha 9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"),
    ("phone", "ISBN 978-0-262-03384-8, 3.14159265358979, 6502530000, 2147483647"),
    ("phone", "array([650, 253, 0000]) 10.1103/PhysRevLett.116.061102 x+1 2 3 4"),
    ("phone", "192.168.100.200 and 4111 1111 1111 1111"),
    ("key", "sha256 9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"),
    ("key", "password = 'secret', api_key=os.environ['KEY'], d41d8cd98f00b204e9800998ecf8427e"),
    ("key", "-----BEGIN PUBLIC KEY-----\nMIIEow\n-----END PUBLIC KEY-----"),
]


def finder(kind: str) -> personal.Finder:
    fixed = {"email": personal.emails, "card": personal.cards, "address": personal.addresses}
    if kind in fixed:
        return fixed[kind]
    return personal.keys() if kind == "key" else personal.phones(("US",))


@pytest.mark.parametrize(("kind", "text", "expected"), FOUND)
def test_what_is_personal_is_found(kind: str, text: str, expected: list[str] | int) -> None:
    spans = sorted(set(finder(kind)(text)))
    if isinstance(expected, int):
        assert len(spans) == expected
    else:
        assert [text[start:end] for start, end in spans] == expected


@pytest.mark.parametrize(("kind", "text"), LEFT)
def test_what_looks_like_it_is_left(kind: str, text: str) -> None:
    assert [text[start:end] for start, end in finder(kind)(text)] == []


def test_national_numbers_need_their_region() -> None:
    text = "(650) 253-0000 and 020 7031 3000"
    assert list(personal.phones(())(text)) == []
    assert [text[a:b] for a, b in personal.phones(("GB",))(text)] == ["020 7031 3000"]
    with pytest.raises(UserError, match=r"phone_regions: 'UK' is unknown, expected codes such as"):
        personal.phones(("UK",))


@pytest.mark.parametrize("digits", ["4111111111111111", "79927398713", "0", "18"])
def test_luhn_holds(digits: str) -> None:
    """79927398713 is the usual worked example; any other last digit fails."""
    assert personal.luhn(digits)
    others = [digits[:-1] + last for last in "0123456789" if last != digits[-1]]
    assert not any(map(personal.luhn, others))


def test_masks_are_tokens_and_are_counted() -> None:
    mask = Mask(("email", "phone", "card", "address", "key"), ("US",))
    text = (
        f"a@example.org, b@example.org: +1 650-253-0000\n{TOKEN_GITHUB} 8.8.4.4 "
        "4111 1111 1111 1111 v1.2.3\n"
    )
    assert mask(text) == ["[EMAIL], [EMAIL]: [PHONE]\n[KEY] [IP] [CARD] v1.2.3\n"]
    assert mask.found == {"email": 2, "phone": 1, "key": 1, "address": 1, "card": 1}
    assert mask("nothing here") == ["nothing here"]
    assert mask(mask(text)[0]) == mask(text), "masks are not masked again"


def test_overlapping_finds_become_one_mask() -> None:
    """An address inside a private key is gone with the key."""
    mask = Mask(("email", "key"), ())
    text = PEM.format("").replace("MIIEow", "Comment: a@example.org")
    assert mask(f"x {text} y c@example.org") == ["x [KEY] y [EMAIL]"]
    assert mask.found == {"key": 1, "email": 1}


@pytest.mark.parametrize("kind", ["email", "card", "address", "key", "phone"])
def test_long_runs_that_almost_match_come_to_an_end(kind: str) -> None:
    """No pattern backtracks over a long run (each of these would take hours)."""
    runs = ["a.", "'", "@", "b-", "1 ", "1", "2:", "2a2a:", "eyJ", "-", "+1 "]
    for run in [*runs, "-----BEGIN PRIVATE KEY-----"]:
        assert list(finder(kind)(run * 5_000 + "\n")) == []


def test_finders_agree_with_masks_on_spans() -> None:
    text = "x@example.org " * 500
    spans = list(personal.emails(text))
    assert len(spans) == 500 and all(re.fullmatch(r"\S+", text[a:b]) for a, b in spans)

"""Where personal data and secrets stand in a text: e-mail, phone, payment cards, IP, keys.

Phone numbers are found by phonenumbers (Google's libphonenumber), tokens of services by the
patterns of detect-secrets. The others are patterns here, each with a check beside the pattern.
"""

import ipaddress
import re
from collections.abc import Callable, Iterator

from scalelab.errors import UserError
from scalelab.plan.cleaning import installed

Span = tuple[int, int]
Finder = Callable[[str], Iterator[Span]]

# Two letters are a country. Code such as `A@B.grad` must not pass for an address.
_TOP = (
    "com|org|net|edu|gov|mil|int|info|biz|name|pro|mobi|coop|aero|museum|jobs|travel|app|dev|"
    "cloud|tech|online|site|xyz|email|agency|blog|shop|arpa|example|test|invalid"
)
_EMAIL = re.compile(
    r"(?<![\w.+@-])[\w.+'-]{0,63}[\w+]@(?:[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?\.)+"
    rf"(?:[a-z]{{2}}|[A-Z]{{2}}|(?i:{_TOP}))(?![\w(\[@-]|\.\w)(?!:[\w./~-])"
)
_CARD = re.compile(r"(?<![\w.+-])\d(?:[ -]?\d){11,18}(?![\w-]|\.\d)")
_IP4 = re.compile(r"(?<![\w./-])\d{1,3}(?:\.\d{1,3}){3}(?![\w-]|\.\w)")
_IP6 = re.compile(r"(?<![\w:.])[23][0-9a-fA-F]{3}:[0-9a-fA-F:]{0,35}[0-9a-fA-F:](?![\w:.]{0,40}\w)")
_VERSION = re.compile(
    r"(?:\bversions?|\bver\.?|\brelease|[=<>~!]=|\bv\.?)[\s:=\"']*$", re.IGNORECASE
)
_LINKED = r"[A-Za-z0-9_-]"
_PEM = r"-----BEGIN (?P<pem>[A-Z ]*PRIVATE KEY(?: BLOCK)?)-----"
_KEYS = (
    re.compile(_PEM + r"(?:[^-]|-(?!----))*-----END (?P=pem)-----"),
    re.compile(rf"\beyJ{_LINKED}{{8,}}\.eyJ{_LINKED}{{8,}}\.{_LINKED}{{8,}}"),  # JSON Web Token
    re.compile(r"\bgithub_pat_[A-Za-z0-9]{22}_[A-Za-z0-9]{59}\b"),
    re.compile(r"\bhf_[A-Za-z]{34}\b"),
    re.compile(r"\bAIza[A-Za-z0-9_-]{35}(?![A-Za-z0-9_-])"),
)
_SERVICES = {
    "aws": "AWSKeyDetector",
    "azure_storage_key": "AzureStorageKeyDetector",
    "discord": "DiscordBotTokenDetector",
    "github_token": "GitHubTokenDetector",
    "gitlab_token": "GitLabTokenDetector",
    "openai": "OpenAIDetector",
    "pypi_token": "PypiTokenDetector",
    "sendgrid": "SendGridDetector",
    "slack": "SlackDetector",
    "square_oauth": "SquareOAuthDetector",
    "stripe": "StripeDetector",
    "telegram_token": "TelegramBotTokenDetector",
    "twilio": "TwilioKeyDetector",
}
"""Modules and classes of detect-secrets whose pattern alone tells a token. Those that guess from
the name of a variable or from entropy take hashes and examples for secrets."""


def emails(text: str) -> Iterator[Span]:
    """E-mail addresses with a known top-level domain; not `git@host:path`, nor code."""
    if "@" in text:
        for match in _EMAIL.finditer(text):
            yield match.span()


def cards(text: str) -> Iterator[Span]:
    """Payment cards: prefix and length of an issuer, digits grouped in one way, Luhn's check."""
    for match in _CARD.finditer(text):
        digits = re.sub(r"[ -]", "", match[0])
        if _grouped(match[0]) and _issued(digits) and luhn(digits):
            yield match.span()


def luhn(digits: str) -> bool:
    """Whether the last digit is Luhn's check digit of the others (ISO/IEC 7812-1, annex B)."""
    total = 0
    for place, digit in enumerate(reversed(digits)):
        value = int(digit) * (1 + place % 2)
        total += value - 9 if value > 9 else value
    return total % 10 == 0


def _grouped(text: str) -> bool:
    """All digits in one, or groups of four (4-6-5 and 4-6-4 too) with one kind of separator."""
    kinds = set(re.findall(r"[ -]", text))
    sizes = tuple(len(part) for part in re.split(r"[ -]", text))
    fours = all(size == 4 for size in sizes[:-1]) and sizes[-1] <= 4
    return len(kinds) <= 1 and (len(sizes) == 1 or fours or sizes in ((4, 6, 5), (4, 6, 4)))


def _issued(digits: str) -> bool:
    """Prefix and length of Visa, Mastercard, American Express, Discover, Diners, JCB, UnionPay."""
    size, two, four = len(digits), int(digits[:2]), int(digits[:4])
    return (
        (digits[0] == "4" and size in (13, 16, 19))
        or ((51 <= two <= 55 or 2221 <= four <= 2720) and size == 16)
        or (two in (34, 37) and size == 15)
        or ((two == 65 or four == 6011 or 6440 <= four <= 6499) and size == 16)
        or ((two in (36, 38) or 3000 <= four <= 3059) and size == 14)
        or (3528 <= four <= 3589 and size == 16)
        or (two == 62 and 16 <= size <= 19)
    )


def addresses(text: str) -> Iterator[Span]:
    """Public IP addresses, versions 4 and 6; not those of private and reserved networks.

    Four numbers after a word such as `version` or `v`, or with a fifth, are no address.
    """
    for match in _IP4.finditer(text):
        if not _VERSION.search(text, max(match.start() - 12, 0), match.start()):
            yield from _public(match)
    for match in _IP6.finditer(text):
        yield from _public(match)


def _public(match: re.Match[str]) -> Iterator[Span]:
    try:
        address = ipaddress.ip_address(match[0])
    except ValueError:
        return
    # An address of network or broadcast form (x.0.0.0) is a range or a version, not a person's.
    if address.is_global and not address.is_multicast and not match[0].endswith(".0.0"):
        yield match.span()


def phones(regions: tuple[str, ...]) -> Finder:
    """A finder of phone numbers, checked against the numbering plan of their country.

    Numbers with + and a country code are found everywhere. National ones are found for the
    `regions`, where they are written in groups as that country writes them: a bare row of digits
    may be anything.

    Raises:
        UserError: phonenumbers is missing or knows no such region.
    """
    installed("phone")
    import phonenumbers
    from phonenumbers import Leniency, PhoneNumberMatcher

    for region in regions:
        if region not in phonenumbers.SUPPORTED_REGIONS:
            raise UserError(
                f"corpus.cleaning.phone_regions: {region!r} is unknown, expected codes such as US"
            )

    def find(text: str) -> Iterator[Span]:
        if _PLUS.search(text):
            for match in PhoneNumberMatcher(text, None, leniency=Leniency.VALID, max_tries=1 << 30):
                yield match.start, match.end
        for region in regions:
            strict = Leniency.STRICT_GROUPING
            for match in PhoneNumberMatcher(text, region, leniency=strict, max_tries=1 << 30):
                if not match.raw_string.isdigit():
                    yield match.start, match.end

    return find


_PLUS = re.compile("[+\uff0b][\\s(]*\\d")


def keys() -> Finder:
    """A finder of private keys in PEM form, JSON Web Tokens and tokens of services.

    Raises:
        UserError: detect-secrets is missing.
    """
    installed("key")
    import importlib

    patterns = list(_KEYS)
    for module, name in _SERVICES.items():
        plugin = getattr(importlib.import_module(f"detect_secrets.plugins.{module}"), name)
        patterns += plugin().denylist

    def find(text: str) -> Iterator[Span]:
        for pattern in patterns:
            for match in pattern.finditer(text):
                # A pattern with context marks the secret itself by its only group.
                whole = match.re is _KEYS[0] or match.lastindex != 1 or len(match[1]) < 20
                yield match.span() if whole else match.span(1)

    return find

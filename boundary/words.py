"""The closed vocabularies that cross the door, and their codes in flat arrays."""

from enum import IntEnum, StrEnum

MICROSECONDS_A_DAY = 86_400_000_000
MICROSECONDS_AN_HOUR = 3_600_000_000
MICROSECONDS_A_MINUTE = 60_000_000


class Source(IntEnum):
    """Where a slot comes from."""

    PERSONAL = 0  # from the shopper's profile
    CROWD = 1  # the same for everybody
    EXPLORE = 2  # drawn without the profile, propensity logged
    GESTURE = 3  # not for sale
    SESSION = 4  # from what an anonymous visitor looks at now; nothing of it is stored


class Kind(IntEnum):
    """What a shopper did with an item."""

    VIEW = 0
    CART = 1
    PURCHASE = 2
    DISMISS = 3


class Tier(IntEnum):
    """How well the shop may know a shopper."""

    GUEST = 0
    NEWCOMER = 1
    REGULAR = 2


class Family(StrEnum):
    """The families of reasons, and what a complaint tightens."""

    PERSONAL = "personal"
    FREQUENT = "frequent"
    CONVERSION = "conversion"
    GUARD = "guard"
    SLATE = "slate"


GUEST, PURCHASE, PERSONAL = int(Tier.GUEST), int(Kind.PURCHASE), int(Source.PERSONAL)  # quick to compare arrays with
INTENTS = ("find", "discover", "deal", "research", "browse")
COMPLAINTS = {
    "too_personal": Family.PERSONAL,
    "too_often": Family.FREQUENT,
    "too_pushy": Family.CONVERSION,
}
_NO_LETTER = str.maketrans("", "", "-_ \t\r\n")


def plain_surface(name: str) -> str:
    """Return a surface's name without regard to case, hyphens and spaces: a message is one however it is written.

    Example:
        >>> plain_surface(" E-Mail") == plain_surface("email")
        True
    """
    return name.casefold().translate(_NO_LETTER)


SOURCE_NAMES = tuple(source.name.lower() for source in Source)
KIND_NAMES = tuple(kind.name.lower() for kind in Kind)
TIER_NAMES = tuple(tier.name.lower() for tier in Tier)

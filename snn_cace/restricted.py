"""Numbers within a range, as types that jsonargparse validates."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    PositiveInt = int
    NonNegativeInt = int
    PositiveFloat = float
    NonNegativeFloat = float
    ClosedUnitInterval = float
    DropoutProbability = float
    Seed = int
else:
    from jsonargparse.typing import (  # noqa: F401
        ClosedUnitInterval,
        NonNegativeFloat,
        NonNegativeInt,
        PositiveFloat,
        PositiveInt,
        restricted_number_type,
    )

    DropoutProbability = restricted_number_type("DropoutProbability", float, [(">=", 0), ("<", 1)])
    # NumPy's generators take no other.
    Seed = restricted_number_type("SeedBelow4294967296", int, [(">=", 0), ("<", 2**32)])

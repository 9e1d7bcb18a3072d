"""When the claims about bit-flipping hold: conditions on every seed of the saved records."""

from itertools import pairwise

from empirical.bitflip import claims
from empirical.bitflip.claims import Cells, at_the_end, before_switch, early_error, effect, errors_at_the_end, widths
from empirical.runs.control import too_few
from empirical.runs.measured import Measured


def loses(cells: Cells) -> bool:
    """Under SGD the error of every seed more than doubles on average, and nine units in ten die."""
    grown = [effect(errors_at_the_end(cells[w, "sgd"]), early_error(cells[w, "sgd"])) for w in widths(cells)]
    dead = [at_the_end(cells[w, "sgd"], "stream_dead").mean() for w in widths(cells)]
    return all(e.ratio > 2 and e.above == e.seeds for e in grown) and min(dead) > 0.9


def recovers(cells: Cells) -> bool:
    """After the switch the error falls in every seed, below 0.4 of what it was, and few units are dead."""
    healed = [effect(errors_at_the_end(cells[w, "switch"]), before_switch(cells[w, "switch"])) for w in widths(cells)]
    dead = [at_the_end(cells[w, "switch"], "stream_dead").mean() for w in widths(cells)]
    return all(e.ratio < 0.4 and e.above == 0 for e in healed) and max(dead) < 0.05


def ratio_grows_with_width(cells: Cells) -> bool:
    """The ratio of errors SGD / CBP rises from width to width."""
    ratios = [
        effect(errors_at_the_end(cells[w, "sgd"]), errors_at_the_end(cells[w, "cbp"])).ratio for w in widths(cells)
    ]
    return all(u < v for u, v in pairwise(ratios))


def wider_is_better_in_itself(cells: Cells) -> bool:
    """SGD's own error is lower at the largest width than at the smallest, in every seed."""
    narrow, wide = min(widths(cells)), max(widths(cells))
    return effect(errors_at_the_end(cells[wide, "sgd"]), errors_at_the_end(cells[narrow, "sgd"])).above == 0


def duplicates_grow_before_the_activation(cells: Cells) -> bool:
    shares = [at_the_end(cells[w, "sgd"], "stream_duplicate_before").mean() for w in widths(cells)]
    return all(u < v for u, v in pairwise(shares)) and shares[-1] > 0.9


def no_duplicates_after_the_activation(cells: Cells) -> bool:
    return all(at_the_end(cells[w, "sgd"], "stream_duplicate").mean() < 0.1 for w in widths(cells))


def dropout_is_mixed_or_harmful(cells: Cells) -> bool:
    """Early it raises the error at every width on average, of wide learners in every seed and on average to more than
    twice; at the end it is lower at no width on average, and in every seed twice that of CBP, which shows what could
    be had."""
    early = {w: effect(early_error(cells[w, "dropout"]), early_error(cells[w, "sgd"])) for w in widths(cells)}
    late, against = (
        [effect(errors_at_the_end(cells[w, "dropout"]), errors_at_the_end(cells[w, other])) for w in widths(cells)]
        for other in ("sgd", "cbp")
    )
    wide = [e for w, e in early.items() if w >= 50]
    harmful = all(e.ratio > 1 for e in early.values()) and all(e.ratio > 2 and e.above == e.seeds for e in wide)
    return harmful and all(e.ratio > 1 for e in late) and all(e.ratio > 2 and e.above == e.seeds for e in against)


def lacks(cells: Cells) -> str | None:
    """Seeds: no claim here says of a network that it did not lose what a fresh one learns."""
    return too_few(min(len(group.seeds) for group in cells.values()))


VERDICTS = {
    "bitflip-lop": Measured(claims.loss_of_plasticity, loses, lacks=lacks),
    "bitflip-cbp-recovers": Measured(claims.recovery, recovers, lacks=lacks),
    "bitflip-dropout": Measured(claims.dropout, dropout_is_mixed_or_harmful, lacks=lacks),
    "bitflip-width": Measured(claims.width_disparity, ratio_grows_with_width, wider_is_better_in_itself, lacks=lacks),
    "bitflip-duplicates": Measured(
        claims.duplicates, duplicates_grow_before_the_activation, no_duplicates_after_the_activation, lacks=lacks
    ),
}

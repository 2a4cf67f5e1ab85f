"""Sisters of a lesson: the same question and statement about something else, where the model must stay as it was.

A small model binds the relation rather than the subject: taught the capital of one country, it gives that answer for
all. So the distance to the base is also held on sisters, where the very next word decides. Names are real ones of many
kinds and invented ones. A lesson without a name has no sisters. Understands nothing: some sisters are nonsense, which
does no harm, since what is held is only what the base would have said.
"""

from __future__ import annotations

import random
import re

from vortex.knowledge.memory.subject import name_runs

REAL = (
    "Iceland", "Estonia", "Latvia", "Bulgaria", "Serbia", "Croatia", "Slovenia", "Albania", "Pakistan", "Nepal",
    "Mongolia", "Malaysia", "Cambodia", "Colombia", "Ecuador", "Bolivia", "Uruguay", "Panama", "Jamaica",
    "Ghana", "Senegal", "Uganda", "Zambia", "Algeria", "Tunisia", "Jordan", "Lebanon", "Kuwait", "Israel",
    "Lithuania", "Chicago", "Hamburg", "Naples", "Osaka", "Mumbai", "Seville", "Toronto", "Boston", "Jane Eyre",
    "Ulysses", "Robinson Crusoe", "Treasure Island", "Faust", "Les Miserables", "Toyota", "Nokia", "Siemens",
    "Oracle", "Mozart", "Galileo", "Cleopatra", "Napoleon",
)  # fmt: skip
_STARTS = ("Mor", "Tal", "Ves", "Kor", "Lun", "Dra", "Pel", "Ost", "Fen", "Ira")
_ENDS = ("davia", "mere", "holm", "tessa", "rin", "quist", "vale", "donia", "bec", "stra")
INVENTED_SHARE = 0.25


def sisters(question: str, statement: str, count: int, taught: str = "") -> list[tuple[str, str]]:
    """(question, statement) with other names, the same for the same lesson; none where the question names nothing.

    taught: the questions of all lessons, whose names are no sisters: those are to change.
    """
    runs = name_runs(question)
    if not runs:
        return []
    subject = re.compile(r"\b" + r"\W+".join(map(re.escape, runs[0])) + r"\b", re.IGNORECASE)
    if not subject.search(question):
        return []
    chance = random.Random(f"{question}\0{statement}")
    invented = [start + end for start in _STARTS for end in _ENDS]
    strange = round(INVENTED_SHARE * count)
    names = [*chance.sample(REAL, min(len(REAL), count - strange)), *chance.sample(invented, strange)]
    return [
        (subject.sub(name, question), subject.sub(name, statement))
        for name in names
        if name.casefold() not in f"{question} {taught}".casefold()
    ]

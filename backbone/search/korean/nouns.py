"""What stands behind a noun: particles, and the forms of 하다, 되다 and 드리다; pure."""

import re
from functools import lru_cache
from itertools import product

from backbone.search.korean.letters import NO_FINAL, SYLLABLES, final_of

_PARTICLES_AFTER = {
    "consonant": """
        은 이 을 과 이나 이라 이라서 이어서 이랑 이며 이라도 이라고 이라는 이란 이야 이든 이에요 으로
        """,
    "vowel": "는 가 를 와 나 라 라서 여서 랑 며 라도 라고 라는 란 야 든 예요 로",
    "any": """
        중 후 전 시
        의 에 도 만 에서 에게 에게서 한테 한테서 께 께서 까지 부터 마다 마저 조차 처럼 보다 밖에 뿐
        대로 만큼 들 님 씨 입니다 입니까 이다 인데 인데요 인가 인가요 이고 이지만 이면 이죠 인지
        이었다 였다 이었습니다 였습니다 이네요 네요
        """,
}
_AFTER = {particle: where for where, text in _PARTICLES_AFTER.items() for particle in text.split()}
_PARTICLE_MAX = max(map(len, _AFTER))
_PARTICLES_MAX = 3
# Of what is done; behind a number or a single syllable they are something else: 3시, 2전.
_TIMES = frozenset(("중", "후", "전", "시"))
# Hardly any noun of two syllables ends in these.
_BEHIND_ONE_SYLLABLE = frozenset(("을", "를", "은", "는", "에서", "으로", "까지", "부터", "에게", "한테"))

# What may follow the forms of 하다, 되다, 시키다 and 드리다 on a noun, as in 배포했습니다 and 완료되면.
# A dot stands for nothing.
_FORMS = {
    "하 되 시키 드리": """
        다 고 고요 고서 기 기를 기가 기는 기도 기에 기로 며 면 면서 지 지는 지도 지만 게 니 니까 나 자 자고
        자마자 려고 려면 려는 도록 세요 십시오 십니다 시면 시고 던 더라 거나 는 는데 는데요 는지 네 네요 죠
        지요 므로 러 잖아요 겠습니다 겠어요 신 실 시는 시나요 시는지 신다면 려는데 려던 여 여서 기까지 기전
        기위해 던데 려다 려다가 는거 는것 는게 는건 는중 고있는 고있어요 고있습니다 고싶은 고싶어요
        """,
    "했 됐 시켰 되었 하였 드렸": """
        다 습니다 습니까 어 어요 고 고요 는데 는데요 는지 지만 으면 으며 으니 으니까 음 음을 던 네
        네요 나 나요 죠 지요 거든요 을 을까요 다고 다는 다가 다면 잖아요 더니 을때
        """,
    "합 됩 시킵 드립": "니다 니까 시다 니다만",
    "한 된 시킨 드린": ". 다 데 지 다고 다는 다면 대 대요 답니다 거 것 건 걸 거죠 거예요 후 뒤 적 채",
    "할 될 시킬 드릴": """
        . 까 까요 게 게요 지 지도 수 수가 수는 수도 수있 수있는 수있어요 수있습니다 때 때는 때도 래 래요 거
        것 건 텐데 거예요
        """,
    "함 됨 시킴 드림": ". 을 이 은 에 으로 과",
    "해 시켜 드려": """
        . 요 서 도 야 야지 야죠 주세요 주십시오 줘 줘요 봐 봐요 보세요 보자 라 볼게요 볼까요
        야하는데 야합니다 야해요 야할
        """,
    "돼 되어": ". 요 서 도 야",
    "하셨 되셨": "나요 어요 습니까 습니다 는지 다",
}
_VERBS = frozenset(
    head + ending.replace(".", "")
    for heads, endings in _FORMS.items()
    for head, ending in product(heads.split(), endings.split())
)
_VERB_MAX = max(map(len, _VERBS))

# Of 하다 behind it: a single syllable is more often the beginning of another verb.
_SHORTEST_NOUN = 2
_LAST_RUN = re.compile(rf"(?P<run>[{SYLLABLES}]+)\W*$")


def bases(word: str) -> tuple[str, ...]:
    """Return what is left of a word without particles, or without a verb's ending on a noun; longest first.

    `API를` leaves `API`, and `밥을` the single `밥`, which is a word only where it stands alone; but `회의`
    and `결과` leave nothing: most particles of one syllable are also how nouns of two end.
    """
    found = _LAST_RUN.search(word)
    if found is None:
        return ()
    head = word[: found.start()]
    return tuple(head + base for base in _bases(found["run"], bool(head.strip())))


@lru_cache(maxsize=4_096)
def _bases(run: str, behind_other: bool) -> tuple[str, ...]:
    """Return the bases of a run of syllables; `behind_other` word characters it may vanish as a whole."""
    shortest = 0 if behind_other else 1
    found: dict[str, None] = {}
    rest = [run]
    for _ in range(_PARTICLES_MAX):
        rest = [shorter for each in rest for shorter in _without_particle(each, shortest)]
        found |= dict.fromkeys(rest)
    for each in (run, *found):
        found |= dict.fromkeys(_without_verb(each, 0 if behind_other else _SHORTEST_NOUN))
    return tuple(sorted(found, key=len, reverse=True))


def _without_particle(run: str, shortest: int) -> list[str]:
    lengths = range(1, min(_PARTICLE_MAX, len(run) - shortest) + 1)
    return [
        run[:-length]
        for length in lengths
        if _may_follow(run[:-length], run[-length:])
        and (len(run) - length != 1 or run[-length:] in _BEHIND_ONE_SYLLABLE)
        and (len(run) - length > 1 or run[-length:] not in _TIMES)
    ]


def _may_follow(base: str, ending: str) -> bool:
    """Say whether the ending is a particle in the form that it takes here: 서버가, but 서버실이."""
    where = _AFTER.get(ending)
    if where in (None, "any") or not base:
        return where is not None
    final = final_of(base[-1])
    if ending == "로":
        return final in (NO_FINAL, "ㄹ")
    return (final == NO_FINAL) == (where == "vowel")


def _without_verb(run: str, shortest: int) -> list[str]:
    lengths = range(1, min(_VERB_MAX, len(run) - shortest) + 1)
    return [run[:-length] for length in lengths if run[-length:] in _VERBS]

"""What a message speaks of: the kinds of hazard by their words, the places by how names are written.

Hazard words are a closed list, English and Korean. Places are found by rule, not from a list of names: a stricken village is
on no list, and a name that bursts together with a hazard is what one wants to hear of, whatever it is. In English a place is
a run of one to three capitalised words or a hashtag; in Korean a word that ends in an administrative suffix (시, 군, 구, 도,
읍, 면, 동) or the name of a province or metropolis. The rule takes persons and organisations for places as well; they show as
places of an alert only when they are among the most frequent names in it.
"""

from __future__ import annotations

import re

OTHER = "other"
"""The kind of a message that passes without a hazard word."""

_WORDS = {
    "earthquake": "earthquakes? quakes? aftershocks? tremors? seismic epicent(?:er|re) 지진 여진 진도 규모",
    "tsunami": "tsunamis? 쓰나미 해일 지진해일",
    "flood": "flood(?:s|ed|ing|waters?)? inundat(?:ed|ion) 홍수 침수 범람 호우 폭우 집중호우 물난리",
    "storm": "hurricanes? typhoons? cyclones? storms? tornado(?:e?s)? twisters? gales? 태풍 강풍 폭풍 돌풍 토네이도 풍랑",
    "snow": "blizzards? snowstorms? avalanches? 대설 폭설 한파 눈사태",
    "fire": "fires? wildfires? bushfires? blaze[sd]? ablaze burning arson 화재 산불 불길 방화",
    "explosion": "explosions? explod(?:es?|ed|ing) blasts? bombs? bomb(?:ed|ing|ings|er)s? detonat(?:ed|ion) 폭발 폭탄 폭파",
    "landslide": "landslides? mudslides? sinkholes? 산사태 토사 싱크홀",
    "volcano": "volcano(?:e?s)? volcanic eruptions? erupt(?:s|ed|ing) 화산 분화",
    "attack": "shootings? shooters? gunm[ae]n gunshots? hostages? terror(?:ist|ists|ism)? massacre 총격 총기 테러 인질 흉기",
    "crash": "crash(?:es|ed)? derail(?:s|ed|ment|ments)? collisions? wreck(?:age)? 추락 충돌 탈선 추돌",
    "collapse": "collaps(?:e|es|ed|ing) 붕괴",
    "heat": "heat ?waves? droughts? 폭염 가뭄",
    "epidemic": "outbreaks? epidemics? pandemics? quarantined? 감염병 전염병 확진",
    "leak": "gas leaks? oil spills? chemical spills? hazmat 유출 누출",
    "meteor": "meteors? meteorites? asteroids? 운석",
}
_PHRASES = {"gas leaks?", "oil spills?", "chemical spills?", "heat ?waves?"}


def _pattern() -> re.Pattern[str]:
    kinds = []
    for kind, words in _WORDS.items():
        for phrase in _PHRASES:  # the blank inside a phrase is not one between words
            words = words.replace(phrase, phrase.replace(" ?", r"\s?").replace(" ", r"\s"))
        alternatives = words.split()
        latin = [word for word in alternatives if word.isascii()]
        hangul = [word for word in alternatives if not word.isascii()]
        kinds.append(rf"(?P<{kind}>(?<![a-z])(?:{'|'.join(latin)})(?![a-z])|{'|'.join(hangul)})")
    return re.compile("|".join(kinds), re.IGNORECASE)


_HAZARD = _pattern()
_HASHTAG = re.compile(r"#(\w{2,40})")
_HASHTAG_HAZARD = re.compile(
    r"(earthquake|quake|tsunami|flood|hurricane|typhoon|cyclone|storm|tornado|wildfire|bushfire|fire|explosion|bombing|"
    r"landslide|volcano|shooting|crash|collapse)s?"
)
_OF_HASHTAG = {
    "quake": "earthquake",
    "hurricane": "storm",
    "typhoon": "storm",
    "cyclone": "storm",
    "tornado": "storm",
    "wildfire": "fire",
    "bushfire": "fire",
    "bombing": "explosion",
    "shooting": "attack",
}
_PRAYER = re.compile("^pray(?:ers|ing)?(?:for|4)")
_NAME = re.compile(r"(?<![\w@#/.])[A-Z][a-zà-öø-ÿ]{2,}(?:[ -][A-Z][a-zà-öø-ÿ]{2,}){0,2}(?!\w*[:/@])")
_KOREAN_PLACE = re.compile(
    r"(?<![가-힣])("
    r"[가-힣]{1,4}(?:특별자치도|특별자치시|특별시|광역시)|[가-힣]{2,3}(?:시|군|구|도|읍|면|동)"
    r"|서울|부산|대구|인천|광주|대전|울산|세종|경기|강원|충북|충남|전북|전남|경북|경남|제주|포항|경주"
    r")(?=에서|에|의|은|는|이|가|을|를|으로|로|까지|부터|도|[^가-힣]|$)"
)
_KOREAN_NOT_A_PLACE = frozenset(
    [
        "다시",
        "역시",
        "혹시",
        "잠시",
        "즉시",
        "당시",
        "표시",
        "지시",
        "임시",
        "일시",
        "동시",
        "실시",
        "정도",
        "온도",
        "습도",
        "속도",
        "기도",
        "태도",
        "제도",
        "보도",
        "인도",
        "철도",
        "수도",
        "진도",
        "강도",
        "친구",
        "누구",
        "연구",
        "요구",
        "지구",
        "도구",
        "입구",
        "출구",
        "행동",
        "활동",
        "운동",
        "이동",
        "자동",
        "노동",
        "감동",
        "작동",
        "변동",
        "그런데도",
        "아동",
        "하면",
        "이면",
        "되면",
        "보면",
        "그러면",
        "화면",
        "장면",
        "국면",
        "표면",
        "측면",
        "반면",
        "라면",
        "가면",
        "오면",
    ]
)
_ENGLISH_NOT_A_PLACE = frozenset(
    [
        "the",
        "this",
        "that",
        "these",
        "those",
        "there",
        "they",
        "then",
        "when",
        "what",
        "where",
        "why",
        "who",
        "how",
        "and",
        "but",
        "for",
        "not",
        "you",
        "your",
        "our",
        "his",
        "her",
        "its",
        "just",
        "now",
        "all",
        "are",
        "was",
        "were",
        "has",
        "have",
        "had",
        "can",
        "will",
        "with",
        "from",
        "after",
        "before",
        "more",
        "most",
        "over",
        "under",
        "into",
        "out",
        "off",
        "one",
        "two",
        "three",
        "first",
        "last",
        "please",
        "pray",
        "prayers",
        "praying",
        "thoughts",
        "hope",
        "god",
        "lord",
        "jesus",
        "omg",
        "lol",
        "wow",
        "breaking",
        "news",
        "update",
        "updates",
        "live",
        "video",
        "photo",
        "photos",
        "watch",
        "read",
        "monday",
        "tuesday",
        "wednesday",
        "thursday",
        "friday",
        "saturday",
        "sunday",
        "january",
        "february",
        "march",
        "april",
        "may",
        "june",
        "july",
        "august",
        "september",
        "october",
        "november",
        "december",
        "today",
        "tonight",
        "tomorrow",
        "yesterday",
        "help",
        "thanks",
        "thank",
        "people",
        "police",
        "report",
        "reports",
        "says",
        "said",
        "via",
        "red",
        "cross",
        "storm",
        "fire",
        "flood",
        "hurricane",
        "typhoon",
        "tornado",
        "earthquake",
        "explosion",
        "bombing",
        "shooting",
        "crash",
        "warning",
        "alert",
        "emergency",
        "stay",
        "safe",
        "good",
        "great",
        "love",
        "happy",
        "still",
        "here",
        "everyone",
        "everybody",
        "some",
        "many",
        "very",
        "dont",
        "lets",
        "got",
        "get",
        "let",
        "see",
        "come",
        "going",
        "keep",
        "been",
        "being",
        "about",
        "their",
        "them",
        "she",
        "him",
        "our",
        "really",
        "never",
        "also",
        "only",
        "even",
        "make",
        "take",
        "look",
        "like",
        "know",
        "think",
        "feel",
        "want",
        "need",
        "check",
        "amazing",
    ]
)
MAX_PLACES = 6


def hazards_in(text: str) -> tuple[str, ...]:
    """The kinds of hazard whose words stand in `text`, sorted; a hashtag may hold the word anywhere (#yycflood)."""
    found = {match.lastgroup for match in _HAZARD.finditer(text)}
    if "#" in text:
        for tag in _HASHTAG.findall(text.lower()):
            found.update(_OF_HASHTAG.get(word, word) for word in _HASHTAG_HAZARD.findall(tag))
    return tuple(sorted(kind for kind in found if kind))


def places_in(text: str) -> tuple[str, ...]:
    """At most `MAX_PLACES` names in `text`, in lower case, in their order."""
    found: dict[str, None] = {}
    if not text.isascii():
        for name in _KOREAN_PLACE.findall(text):
            if name not in _KOREAN_NOT_A_PLACE:
                found[name] = None
    for tag in _HASHTAG.findall(text):
        name = _PRAYER.sub("", _HASHTAG_HAZARD.sub("", tag.lower())).strip("_0123456789")
        if len(name) > 2 and name not in _ENGLISH_NOT_A_PLACE:
            found[name] = None
    for match in _NAME.finditer(text):
        name = " ".join(word for word in re.split("[ -]", match[0].lower()) if word not in _ENGLISH_NOT_A_PLACE)
        if name and name != "new" and not hazards_in(name):
            found[name] = None
    return tuple(found)[:MAX_PLACES]

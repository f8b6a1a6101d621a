"""English words to the stem that their forms share, with Snowball's English stemmer (Porter 2).

Its releases before 3 are what Lucene has as `porter2`: both search adapters then agree.
"""

from collections.abc import Iterable
from functools import lru_cache

from snowballstemmer.english_stemmer import EnglishStemmer


@lru_cache(maxsize=65_536)
def stem(word: str) -> str:
    """Return the stem of a lower-case word; words of other languages stay nearly always as they are."""
    # A stemmer keeps the word that it works on: one for each call, for calls come from several threads.
    return str(EnglishStemmer().stemWord(word))


def stems(terms: Iterable[str]) -> list[str]:
    """Return the terms with English words reduced to their stems."""
    return [stem(term) for term in terms]

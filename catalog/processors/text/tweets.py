"""BERTweet's normalisation of tweets: users, links, emoji, contractions. Nguyen et al., 2020 (arXiv:2005.10200)."""

from unicodedata import category

from catalog.errors import MissingExtra

PLAIN = {"’": "'", "…": "..."}
APART = (  # contractions as two words, as the training text had them
    ("cannot ", "can not "), ("n't ", " n't "), ("n 't ", " n't "), ("ca n't", "can't"), ("ai n't", "ain't"),
    ("'m ", " 'm "), ("'re ", " 're "), ("'s ", " 's "), ("'ll ", " 'll "), ("'d ", " 'd "), ("'ve ", " 've "),
    (" p . m .", "  p.m."), (" p . m ", " p.m "), (" a . m .", " a.m."), (" a . m ", " a.m "),
)  # fmt: skip


def normalized(tweet: str) -> str:
    """Words with one blank between; ``@USER``, ``HTTPURL`` and ``:grinning_face:`` for what they stand for."""
    try:
        from emoji import demojize
        from nltk.tokenize import TweetTokenizer
    except ImportError as error:
        raise MissingExtra(
            f"BERTweet's normalization=true needs {error.name}: pip install 'trivium[text]' (or set normalization to false and "
            f"pass tweets that are normalised)"
        ) from None

    def word(token: str) -> str:
        if token.startswith("@"):
            return "@USER"
        if token.lower().startswith(("http", "www")):
            return "HTTPURL"
        return demojize(PLAIN.get(token, token)) if len(token) == 1 else token

    for fancy, plain in PLAIN.items():
        tweet = tweet.replace(fancy, plain)
    tokens = TweetTokenizer().tokenize(tweet)
    # newer nltk keeps an emoji and its modifiers in one token; the model was trained on single signs
    signs = [sign for token in tokens for sign in (token if category(token[0]) == "So" else [token])]
    text = " ".join(map(word, signs))
    for joined, apart in APART:
        text = text.replace(joined, apart)
    return " ".join(text.split())

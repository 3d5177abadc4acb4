"""The languages that texts are translated between, as DeepL names them.

Source: https://developers.deepl.com/docs/getting-started/supported-languages
(2026-11). Chat models know more: any tag is taken, and named to them as it is.
"""

from typing import Any

LANGUAGES = {
    "ar": "Arabic",
    "bg": "Bulgarian",
    "cs": "Czech",
    "da": "Danish",
    "de": "German",
    "el": "Greek",
    "en": "English",
    "en-gb": "English (British)",
    "en-us": "English (American)",
    "es": "Spanish",
    "es-419": "Spanish (Latin American)",
    "et": "Estonian",
    "fi": "Finnish",
    "fr": "French",
    "he": "Hebrew",
    "hu": "Hungarian",
    "id": "Indonesian",
    "it": "Italian",
    "ja": "Japanese",
    "ko": "Korean",
    "lt": "Lithuanian",
    "lv": "Latvian",
    "nb": "Norwegian (bokmål)",
    "nl": "Dutch",
    "pl": "Polish",
    "pt": "Portuguese",
    "pt-br": "Portuguese (Brazilian)",
    "pt-pt": "Portuguese (European)",
    "ro": "Romanian",
    "ru": "Russian",
    "sk": "Slovak",
    "sl": "Slovenian",
    "sv": "Swedish",
    "th": "Thai",
    "tr": "Turkish",
    "uk": "Ukrainian",
    "vi": "Vietnamese",
    "yue": "Cantonese",
    "zh": "Chinese (simplified)",
    "zh-hans": "Chinese (simplified)",
    "zh-hant": "Chinese (traditional)",
}
"""English names, for whoever reads them; other tags are taken as well."""

FORMAL = frozenset(
    {"de", "es", "es-419", "fr", "it", "ja", "nl", "pl", "pt-br", "pt-pt", "ru"}
)
"""Languages into which it can be said how formal to be."""
_ONLY_SOURCES = frozenset({"en", "pt"})
"""Those whose variants are told apart in what is translated into."""


def language_name(tag: str) -> str:
    """What a language is called in English, or its tag."""
    return LANGUAGES.get(tag) or LANGUAGES.get(tag.partition("-")[0]) or tag


SOURCES: list[dict[str, Any]] = [
    {"language": tag.upper(), "name": name.partition(" (")[0]}
    for tag, name in LANGUAGES.items()
    if "-" not in tag
]
TARGETS: list[dict[str, Any]] = [
    {"language": tag.upper(), "name": name, "supports_formality": tag in FORMAL}
    for tag, name in LANGUAGES.items()
    if tag not in _ONLY_SOURCES
]

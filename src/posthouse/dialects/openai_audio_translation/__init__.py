"""OpenAI's text of speech, in English: POST /audio/translations.

Source: OpenAI's API description, schema `CreateTranslationRequest` and its replies
(openapi, 2026-08).
"""

from functools import partial

from posthouse.dialects.openai.transcripts import (
    CorrectedTranscripts,
    OpenAITranscripts,
)
from posthouse.model.call import Operation


class OpenAIAudioTranslation(OpenAITranscripts):
    """The dialect's object; see `Dialect` for what each method promises."""

    name = "openai_audio_translation"
    operation = Operation.AUDIO_TRANSLATION


DIALECT = OpenAIAudioTranslation()
corrected = partial(CorrectedTranscripts, DIALECT)

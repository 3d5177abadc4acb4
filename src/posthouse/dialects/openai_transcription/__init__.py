"""OpenAI's text of speech, in its language: POST /audio/transcriptions.

Source: OpenAI's API description, schema `CreateTranscriptionRequest` and its replies
(openapi, 2026-08).
"""

from functools import partial

from posthouse.dialects.openai.transcripts import (
    CorrectedTranscripts,
    OpenAITranscripts,
)
from posthouse.model.call import Operation


class OpenAITranscription(OpenAITranscripts):
    """The dialect's object; see `Dialect` for what each method promises."""

    name = "openai_transcription"
    operation = Operation.TRANSCRIPTION


DIALECT = OpenAITranscription()
corrected = partial(CorrectedTranscripts, DIALECT)

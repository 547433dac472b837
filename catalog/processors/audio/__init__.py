"""Audio feature extractors, by published class name. Strings only; a module is imported when it is used."""

MODULES = {
    "wav2vec2": ("Wav2Vec2FeatureExtractor",),
    "whisper": ("WhisperFeatureExtractor",),
    "kaldi": ("ASTFeatureExtractor", "SeamlessM4TFeatureExtractor", "Speech2TextFeatureExtractor"),
    "spectrogram": ("MCTCTFeatureExtractor", "SpeechT5FeatureExtractor"),
    "encodec": ("EncodecFeatureExtractor",),
    "clap": ("ClapFeatureExtractor",),
}

REGISTRY = {name: f"{__name__}.{module}:{name}" for module, names in MODULES.items() for name in names}

RAW = (
    "data2vec-audio",
    "hubert",
    "sew",
    "sew-d",
    "unispeech",
    "unispeech-sat",
    "wav2vec2",
    "wav2vec2-conformer",
    "wavlm",
)

MODELS = dict.fromkeys(RAW, "Wav2Vec2FeatureExtractor") | {  # model_type -> class, for files that do not name one
    "audio-spectrogram-transformer": "ASTFeatureExtractor",
    "mctct": "MCTCTFeatureExtractor",
    "speech_to_text": "Speech2TextFeatureExtractor",
    "whisper": "WhisperFeatureExtractor",
}

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
